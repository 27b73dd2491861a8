"""What it holds: memory at rest and under many streams, how late a chunk is then, and what one long stream leaves."""

import time
from collections.abc import Iterator
from statistics import median

from tests.bench import processes
from tests.bench.host import Host, Seen, hosting
from tests.bench.processes import Peer
from tests.bench.relay import STAMP
from tests.bench.report import Bar, Figure, percentile

WIRE = "anthropic_messages"

LEVELS = ((1, 100, 10_000), (100, 60, 50_000), (1000, 15, 400_000))
"""Streams at once, events of each, µs between them: never more events than one core can serve."""

FAST_LEVELS = ((1, 30_000), (100, 300), (1000, 30))
"""Streams at once, events of each, as fast as they go."""

LONG_EVENTS = 200_000


def many() -> Iterator[Figure]:
    """Measure memory, lateness and throughput by the number of streams at once."""
    with processes.serving() as server, processes.peers(server.port, "httpx2") as peers, hosting(server.port) as host:
        host.ping()
        idle_mb = processes.memory_mb(host.pid)
        yield Figure(what="memory, idle after a ping", value=idle_mb, unit="MB", bars=(Bar(30),))
        host.run(WIRE, n=10)
        chat_mb = processes.memory_mb(host.pid)
        yield Figure(what="memory after a first chat", value=chat_mb, unit="MB")
        for streams, events, us in LEVELS:
            yield from _paced(host, peers["httpx2"], chat_mb, streams, events, us)
        for streams, events in FAST_LEVELS:
            start = time.monotonic()
            host.finish({host.chat(WIRE, n=events) for _ in range(streams)})
            rate = streams * events / (time.monotonic() - start)
            yield Figure(what=f"throughput of {streams} streams", value=rate, unit="events/s")


def _paced(host: Host, peer: Peer, chat_mb: float, streams: int, events: int, us: int) -> Iterator[Figure]:
    theirs = peer.run(WIRE, n=events, us=us, streams=streams)
    start = time.monotonic()
    lines = host.finish({host.chat(WIRE, n=events, us=us, together=streams) for _ in range(streams)})
    begun_s = all_begun(lines) - start
    late_ms = late_ms_of(lines, start + begun_s)
    # Every level is higher than the one before it, so the highest ever is that of this one.
    added_mb = processes.memory_mb(host.pid, "VmHWM") - chat_mb
    bars = (Bar(150),) if streams == 1000 else ()
    yield Figure(what=f"memory added by {streams} streams", value=added_mb, unit="MB", bars=bars)
    yield Figure(
        what=f"first chunks of {streams} streams",
        value=begun_s * 1e3,
        unit="ms",
        beside={"httpx2": theirs.all_first_s * 1e3},
    )
    for name, percent in (("p50", 50), ("p99", 99)):
        yield Figure(
            what=f"a chunk is on its way, {streams} streams, {name}",
            value=percentile(late_ms, percent),
            unit="ms",
            beside={"httpx2": percentile(theirs.late_ms, percent)},
        )


def all_begun(lines: list[Seen]) -> float:
    """Return when every stream had begun."""
    firsts: dict[int, float] = {}
    for seen in lines:
        if seen.kind == "content":
            firsts.setdefault(seen.id, seen.at)
    return max(firsts.values())


def late_ms_of(lines: list[Seen], since: float) -> list[float]:
    """Return how long each chunk that was sent after *since* was on its way: its text is the moment of that."""
    late = []
    for seen in lines:
        stamp = STAMP.search(seen.line) if seen.kind == "content" else None
        if stamp and (sent := int(stamp[1]) / 1e9) > since:
            late.append((seen.at - sent) * 1e3)
    return late


def long() -> Iterator[Figure]:
    """Measure what a long stream adds to memory, beside its own message."""
    with processes.serving() as server, hosting(server.port) as host:
        host.run(WIRE, n=1000)
        before_mb = processes.memory_mb(host.pid)
        request_id = host.chat(WIRE, n=LONG_EVENTS)
        under_way: list[float] = []
        done = None
        while done is None:
            for seen in host.read():
                if seen.kind == "done" and seen.id == request_id:
                    done = seen
            under_way.append(processes.memory_mb(host.pid))
        message_mb = len(done.line) / 2**20
        highest_mb = processes.memory_mb(host.pid, "VmHWM")
    beside = {"its last line": message_mb}
    what = f"memory added by {LONG_EVENTS:,} events"
    yield Figure(what=f"{what}, median", value=median(under_way) - before_mb, unit="MB", beside=beside)
    yield Figure(what=f"{what}, highest", value=highest_mb - before_mb, unit="MB", beside=beside)
