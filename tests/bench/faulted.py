"""A thousand streams of which some go wrong: whether each ends as it should, and what the others notice of it."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tests.bench import load, processes
from tests.bench.host import TERMINAL, Host, Seen, hosting
from tests.bench.processes import EndedError
from tests.bench.report import Bar, Figure, percentile


class Fault(NamedTuple):
    """One way for a reply to go wrong, as `tests.bench.server` plays it."""

    name: str
    code: str | None
    """How its request must end; None: well, when asked again."""


FAULTS = (
    Fault("rate limit", None),
    Fault("outage", "provider_overloaded"),
    Fault("reset", "stream_interrupted"),
    Fault("truncation", "stream_interrupted"),
    Fault("malformed", "provider_error"),
    Fault("stall", "timeout"),
)

STREAMS, EVENTS, PAUSE_US = 1000, 20, 400_000

EVERY = 20
"""One of so many goes wrong: 5 %."""

STALL_MS = 1000
"""The idle limit of a stream that stalls. Any other may wait for the last to begin for as long as that takes."""

MEMORY_MB = 150
ADDED_MS = 50


def faulted() -> Iterator[Figure]:
    """Measure 1,000 streams, 5 % of which go wrong, beside the same load with no fault and without the sidecar."""
    with processes.serving() as server, processes.peers(server.port, "httpx2") as peers, hosting(server.port) as host:
        host.run(load.WIRE, n=10)
        before_mb = processes.memory_mb(host.pid)
        bare = peers["httpx2"].run(load.WIRE, n=EVENTS, us=PAUSE_US, streams=STREAMS)
        sound = _run(host, [0] * STREAMS)
        sound_mb = processes.memory_mb(host.pid, "VmHWM") - before_mb
        broken = _run(host, [(at // EVERY % len(FAULTS) + 1) * (at % EVERY == 0) for at in range(STREAMS)])
        broken_mb = processes.memory_mb(host.pid, "VmHWM") - before_mb
    yield Figure(what="streams that end otherwise than they should", value=broken.wrong, unit="", bars=(Bar(0),))
    yield Figure(what="memory added", value=broken_mb, unit="MB", beside={"no fault": sound_mb}, bars=(Bar(MEMORY_MB),))
    for name, percent in (("p50", 50), ("p99", 99)):
        late, reference = percentile(broken.late_ms, percent), percentile(bare.late_ms, percent)
        beside = {"no fault": percentile(sound.late_ms, percent), "httpx2": reference}
        yield Figure(what=f"a chunk is on its way, {name}", value=late, unit="ms", beside=beside)
        bars = (Bar(ADDED_MS),) if percent == 99 else ()
        yield Figure(what=f"added to that of httpx2, {name}", value=late - reference, unit="ms", bars=bars)


class _Run(NamedTuple):
    wrong: int
    late_ms: list[float]


def _run(host: Host, faults: list[int]) -> _Run:
    """Run a stream for each of *faults*, numbers from 1 in FAULTS, 0 being none."""
    together = sum(fault == 0 or FAULTS[fault - 1].name != "outage" for fault in faults)
    expected = {
        host.chat(load.WIRE, n=EVENTS, us=PAUSE_US, together=together, fault=fault, idle_ms=_idle_ms(fault)): fault
        for fault in faults
    }
    lines = _read_to_the_ends(host, set(expected))
    ends = {seen.id: seen for seen in lines if seen.kind in TERMINAL}
    wrong = sum(not _is_right(ends[each], fault) for each, fault in expected.items())
    return _Run(wrong, load.late_ms_of(lines, load.all_begun(lines)))


def _idle_ms(fault: int) -> int:
    return STALL_MS if fault and FAULTS[fault - 1].name == "stall" else 60_000


def _read_to_the_ends(host: Host, open_ids: set[int]) -> list[Seen]:
    """Return every line until each id has had one that is terminal.

    Raises: EndedError when one comes after that.
    """
    lines, ended = list[Seen](), Counter[int]()
    while open_ids - ended.keys():
        for seen in host.read():
            lines.append(seen)
            if ended[seen.id]:
                raise EndedError(f"after its end: {seen.line[:300]!r}")
            ended[seen.id] += seen.kind in TERMINAL
            if not ended[seen.id]:
                del ended[seen.id]
    return lines


def _is_right(end: Seen, fault: int) -> bool:
    code = FAULTS[fault - 1].code if fault else None
    return end.kind == "done" if code is None else end.kind == "failed" and end.content["error"]["code"] == code
