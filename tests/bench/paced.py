"""What an event costs when events come one at a time, as models send them: each is a wake-up of its own."""

import time
from collections.abc import Iterator
from statistics import median

from tests.bench import load, processes
from tests.bench.host import Host, hosting
from tests.bench.processes import Peer, Run
from tests.bench.relay import WIRE
from tests.bench.report import Bar, Figure, percentile

PAUSE_US = 2_000

LEVELS = (
    (1, 700, ("httpx2", "openai", "relay"), (Bar(0.6, "httpx2"), Bar(0.2, "openai"))),
    (20, 300, ("httpx2", "openai", "relay"), (Bar(0.5, "httpx2"), Bar(0.4, "openai"))),
)
"""Streams at once, one event each PAUSE_US; events of each; who is measured beside; the bars."""

REPEATS = 3
"""Each is run so often, in turn with the others, and its least counts: a busy machine only ever adds."""

MANY, MANY_EVENTS, MANY_PAUSE_US = 1000, 100, 50_000
"""Twenty events a second on each of a thousand streams."""

IDEAL_S = MANY_EVENTS * MANY_PAUSE_US / 1e6


def paced() -> Iterator[Figure]:
    """Measure CPU per event where each comes alone, beside other clients and beside the least that any relay does."""
    with (
        processes.serving() as server,
        processes.peers(server.port, "httpx2", "openai", "relay") as peers,
        hosting(server.port) as host,
    ):
        for streams, events, beside, bars in LEVELS:
            yield from _level(host, peers, streams, events, beside, bars)
        yield from _many(host, peers)


def _level(
    host: Host, peers: dict[str, Peer], streams: int, events: int, beside: tuple[str, ...], bars: tuple[Bar, ...]
) -> Iterator[Figure]:
    runs: dict[str, list[Run]] = {name: [] for name in ("sidecar", *beside)}
    _stream(host, streams, 10)
    for name in beside:
        peers[name].run(WIRE, n=10, us=PAUSE_US, streams=streams, counted=1)
    for _ in range(REPEATS):
        runs["sidecar"].append(_stream(host, streams, events))
        for name in beside:
            runs[name].append(peers[name].run(WIRE, n=events, us=PAUSE_US, streams=streams, counted=1))
    costs = {name: least_us(each) for name, each in runs.items()}
    what = f"CPU per event, one each {PAUSE_US // 1000} ms on {streams} stream{'s' * (streams > 1)}"
    yield Figure(what=what, value=costs.pop("sidecar"), unit="µs", beside=costs, bars=bars)


def _stream(host: Host, streams: int, events: int) -> Run:
    """Stream so many chats at once and return what they have cost the sidecar."""
    cpu, start = processes.cpu_s(host.pid), time.monotonic()
    lines = host.finish({host.chat(WIRE, n=events, us=PAUSE_US) for _ in range(streams)})
    wall_s, cpu_s = time.monotonic() - start, processes.cpu_s(host.pid) - cpu
    count = sum(seen.kind == "content" for seen in lines)
    return Run(cpu_s=cpu_s, wall_s=wall_s, first_s=0.0, events=count)


def least_us(runs: list[Run]) -> float:
    """Return the microseconds of CPU per event of the cheapest of *runs*."""
    return min(run.cpu_s / run.events for run in runs) * 1e6


def _many(host: Host, peers: dict[str, Peer]) -> Iterator[Figure]:
    before_mb = processes.memory_mb(host.pid)
    runs, late_ms = [], list[float]()
    theirs = {
        name: peers[name].run(WIRE, n=MANY_EVENTS, us=MANY_PAUSE_US, streams=MANY, counted=1)
        for name in ("relay", "httpx2")
    }
    for _ in range(2):
        cpu, start = processes.cpu_s(host.pid), time.monotonic()
        lines = host.finish({host.chat(WIRE, n=MANY_EVENTS, us=MANY_PAUSE_US) for _ in range(MANY)})
        wall_s, cpu_s = time.monotonic() - start, processes.cpu_s(host.pid) - cpu
        runs.append(Run(cpu_s=cpu_s, wall_s=wall_s, first_s=0.0, events=MANY * MANY_EVENTS))
        late = load.late_ms_of(lines, load.all_begun(lines))
        late_ms = min(late_ms or late, late, key=median)
    # The load alone takes much of both cores: what it makes late is late for the least of relays too.
    relay = peers["relay"].run(WIRE, n=MANY_EVENTS, us=MANY_PAUSE_US, streams=MANY, stamped=1).late_ms
    added_mb = processes.memory_mb(host.pid, "VmHWM") - before_mb
    rate = 1_000_000 // MANY_PAUSE_US
    what = f"{MANY:,} streams, {rate} events a second each"
    yield Figure(
        what=f"CPU per event, {what}",
        value=least_us(runs),
        unit="µs",
        beside={name: least_us([run]) for name, run in theirs.items()},
    )
    yield Figure(
        what=f"… until all are done, of {IDEAL_S:g} s",
        value=min(run.wall_s for run in runs),
        unit="s",
        beside={"ideal": IDEAL_S} | {name: run.wall_s for name, run in theirs.items()},
        bars=(Bar(1.2, "ideal"),),
    )
    note = f"of the {len(late_ms):,} chunks that came once all had begun"
    for percent in (50, 99):
        bars = (Bar(20),) if percent == 99 else ()
        what = f"… a chunk is on its way, p{percent}"
        beside = {"relay": percentile(relay, percent)}
        yield Figure(what=what, value=percentile(late_ms, percent), unit="ms", beside=beside, bars=bars, note=note)
    yield Figure(what="… memory added", value=added_mb, unit="MB", bars=(Bar(60),))
