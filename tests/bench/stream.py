"""What an event costs: CPU from the provider's socket to the host's pipe, beside other clients on the same stream."""

from collections.abc import Iterator

from tests.bench import processes
from tests.bench.host import Host, hosting
from tests.bench.processes import Peer, Run
from tests.bench.report import Bar, Figure, attempt
from tests.bench.streams import STREAMS

FAST_EVENTS = 20_000
PACED_EVENTS = 600
PACED_US = 1_000

SDK_EVENTS = 5_000
"""Enough for a cost that many times ours."""

REPEATS = 4
"""Each is run so often, in turn with the others, and its least counts: a busy machine only ever adds."""


def cpu() -> Iterator[Figure]:
    """Measure each wire, the provider fast and the provider slow."""
    with processes.serving() as server, processes.peers(server.port, "httpx2", "openai", "anthropic") as peers:
        for wire in STREAMS:
            with hosting(server.port) as host:
                yield from attempt(f"CPU per event, {wire}", _wire(wire, host, peers))


def _wire(wire: str, host: Host, peers: dict[str, Peer]) -> Iterator[Figure]:
    provider = STREAMS[wire].provider
    # Every wire has a bar that counts in the cost of one and the same SDK, on the wire that it speaks.
    sdks = {provider: wire, "openai": wire if provider == "openai" else "openai_chat"}
    host.run(wire, n=100)
    for name, spoken in {"httpx2": wire, **sdks}.items():
        peers[name].run(spoken, n=100, us=0)

    runs: dict[str, list[Run]] = {name: [] for name in ("sidecar", "httpx2", *sdks)}
    for _ in range(REPEATS):
        runs["sidecar"].append(host.run(wire, n=FAST_EVENTS))
        runs["httpx2"].append(peers["httpx2"].run(wire, n=FAST_EVENTS, us=0))
        for name, spoken in sdks.items():
            runs[name].append(peers[name].run(spoken, n=SDK_EVENTS, us=0))
    costs = {name: _least_us(each) for name, each in runs.items()}
    yield Figure(
        what=f"CPU per event, {wire}, fast",
        value=costs.pop("sidecar"),
        unit="µs",
        beside=costs,
        bars=(Bar(1, "httpx2"), Bar(0.25, "openai")),
        note=f"{max(run.events / run.wall_s for run in runs['sidecar']):,.0f} events/s",
    )

    runs = {"sidecar": [], "httpx2": []}
    for _ in range(REPEATS):
        runs["sidecar"].append(host.run(wire, n=PACED_EVENTS, us=PACED_US))
        runs["httpx2"].append(peers["httpx2"].run(wire, n=PACED_EVENTS, us=PACED_US))
    yield Figure(
        what=f"CPU per event, {wire}, one a ms",
        value=_least_us(runs["sidecar"]),
        unit="µs",
        beside={"httpx2": _least_us(runs["httpx2"])},
        bars=(Bar(2, "httpx2"),),
    )


def _least_us(runs: list[Run]) -> float:
    return min(run.cpu_s / run.events for run in runs) * 1e6
