"""How it stops: a request that is cancelled, a process that is told to leave, a host that does not read."""

import time
from collections.abc import Iterator
from statistics import median

from tests.bench import processes
from tests.bench.host import TERMINAL, Host, hosting
from tests.bench.processes import EndedError, Server
from tests.bench.report import Bar, Figure

WIRE = "anthropic_messages"

STREAMS_AT_ONCE = 50

ENDLESS = 10_000_000
"""Events that no stream comes to the end of here."""

STALL_EVENTS = 4_000
"""Events of each stream while the host does not read: together far more than may be held."""


CANCELLED = {
    "slow": {"n": 100_000, "us": 2_000},
    "silent": {"n": 1, "us": 1_000, "hang": 1},
    "fast": {"n": ENDLESS},
}


def cancel() -> Iterator[Figure]:
    """Measure a cancel: to its terminal line, and to the provider's socket closed."""
    with processes.serving() as server:
        with hosting(server.port) as host:
            for name, load in CANCELLED.items():
                bars = {"last line": (Bar(50), Bar(50)), "socket closed": (Bar(250), Bar(250))}
                yield from _cancels(f"cancel of a {name} stream", host, server, load, bars)
        with hosting(server.port) as host:
            for _ in range(STREAMS_AT_ONCE):
                host.chat(WIRE, n=ENDLESS)
            what, bars = f"cancel beside {STREAMS_AT_ONCE} fast ones", {"last line": (Bar(30), Bar(80))}
            yield from _cancels(what, host, server, CANCELLED["slow"], bars, samples=50)


def _cancels(
    what: str, host: Host, server: Server, load: dict[str, int], bars: dict[str, tuple[Bar, Bar]], *, samples: int = 20
) -> Iterator[Figure]:
    """Measure *samples* cancels; *bars* are those of the median and of the highest."""
    found = [_cancel(host, server, load) for _ in range(samples)]
    for index, end in enumerate(("last line", "socket closed")):
        values = [sample[index] for sample in found]
        for at, (of, value) in enumerate((("median", median(values)), ("highest", max(values)))):
            kept = bars[end][at : at + 1] if end in bars else ()
            yield Figure(what=f"{what}: {end}, {of}", value=value, unit="ms", bars=kept)


def _cancel(host: Host, server: Server, load: dict[str, int]) -> tuple[float, float]:
    request_id = host.chat(WIRE, **load)
    host.wait(request_id, "content")
    start = time.monotonic()
    host.send("cancel", params={"id": request_id})
    end = host.wait(request_id, "failed")
    closed_at = server.closed_at(request_id)
    if closed_at is None or end.content["error"]["code"] != "cancelled":
        raise EndedError(f"cancelled, it ended in {end.line[:300]!r}; socket closed: {closed_at is not None}")
    return (end.at - start) * 1e3, (closed_at - start) * 1e3


def leave() -> Iterator[Figure]:
    """Measure a SIGTERM while many streams are under way."""
    with processes.serving() as server, hosting(server.port) as host:
        ids = {host.chat(WIRE, n=100_000, us=5_000) for _ in range(STREAMS_AT_ONCE)}
        for request_id in ids:
            host.wait(request_id, "content", "start")
        start = time.monotonic()
        host.terminate()
        ended: dict[int, float] = {}
        while len(ended) < len(ids):
            ended |= {seen.id: seen.at for seen in host.read() if seen.kind in TERMINAL}
        lines_ms = (max(ended.values()) - start) * 1e3
        code = processes.wait(host.process)
        exit_ms = (time.monotonic() - start) * 1e3
    yield Figure(what=f"SIGTERM to the last lines of {len(ids)} streams", value=lines_ms, unit="ms", bars=(Bar(500),))
    yield Figure(what="SIGTERM to exit", value=exit_ms, unit="ms", bars=(Bar(2000),), note=f"exit code {code}")


def stall(seconds: float = 5) -> Iterator[Figure]:
    """Measure a host that does not read for *seconds* while many fast streams come."""
    with processes.serving() as server, hosting(server.port) as host:
        host.run(WIRE, n=100)
        before_mb = processes.memory_mb(host.pid)
        # Its provider is still sending when it is cancelled: it never ends, and it has begun.
        cancelled = host.chat(WIRE, n=ENDLESS)
        host.wait(cancelled, "content")
        ids = {host.chat(WIRE, n=STALL_EVENTS) for _ in range(STREAMS_AT_ONCE)}
        time.sleep(seconds / 2)
        start = time.monotonic()
        cancel_id = host.send("cancel", params={"id": cancelled})
        closed_at = server.closed_at(cancelled, seconds=max(2.0, seconds / 2))
        time.sleep(max(0.0, seconds / 2 - (time.monotonic() - start)))
        held_mb = processes.memory_mb(host.pid, "VmHWM") - before_mb

        resumed = time.monotonic()
        lines = host.finish(ids)
        answer = next((seen for seen in lines if seen.id == cancel_id), None)
        counts = dict.fromkeys(ids, 0)
        for seen in lines:
            if seen.kind == "content" and seen.id in counts:
                counts[seen.id] += 1
    yield Figure(what=f"memory added by {seconds:g} s without reading", value=held_mb, unit="MB", bars=(Bar(64),))
    closed_ms = (closed_at - start) * 1e3 if closed_at else float("inf")
    yield Figure(what="cancel meanwhile, to the socket closed", value=closed_ms, unit="ms", bars=(Bar(250),))
    answered_ms = (answer.at - resumed) * 1e3 if answer else float("inf")
    yield Figure(what="… reading again, to its answer", value=answered_ms, unit="ms")
    missing = sum(STALL_EVENTS - count for count in counts.values())
    yield Figure(what=f"events missing of {STALL_EVENTS * len(ids):,}", value=missing, unit="", bars=(Bar(0),))
