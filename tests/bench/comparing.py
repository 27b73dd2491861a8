"""What branches cost: the models of one `compare` beside as many streams, and the end of one branch among them."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench import paced, processes
from tests.bench.host import COMMAND, Host, branch_key, hosting
from tests.bench.processes import EndedError, Run, Server
from tests.bench.report import Bar, Figure

WIRE = "anthropic_messages"

MODELS = 8

LOADS = (
    ("as fast as they go", 20_000, 0),
    ("one each 2 ms", 700, paced.PAUSE_US),
)
"""Events of each stream, and µs between them."""

REPEATS = 5
"""Each is run so often, in turn with the other, and its least counts: a busy machine only ever adds."""

CANCELS = 20

HEDGES = 10

AFTER_MS = 200
"""When the second model is asked, the first being silent."""

CONFIG = """
[providers.anthropic]
base_url = "http://127.0.0.1:{port}"
api_key = "k-test"
"""


def compared() -> Iterator[Figure]:
    """Measure CPU per event of a comparison beside as many streams, and the cancelling of a branch."""
    with processes.serving() as server, hosting(server.port) as host:
        host.run(WIRE, n=10)
        for what, events, us in LOADS:
            runs: dict[str, list[Run]] = {"compare": [], "streams": []}
            for _ in range(REPEATS):
                runs["streams"].append(_measure(host, events, us, _start_streams))
                runs["compare"].append(_measure(host, events, us, _start_branches))
            # Two ways that are alike differ by a few percent from run to run.
            yield Figure(
                what=f"CPU per event of {MODELS} models, {what}",
                value=paced.least_us(runs["compare"]),
                unit="µs",
                beside={"streams": paced.least_us(runs["streams"])},
                bars=(Bar(1.05, "streams"),),
            )
        closed_ms = [_cancel_one(host, server) for _ in range(CANCELS)]
        for name, value in (("median", median(closed_ms)), ("highest", max(closed_ms))):
            yield Figure(what=f"cancel of a branch: socket closed, {name}", value=value, unit="ms", bars=(Bar(250),))


def hedged() -> Iterator[Figure]:
    """Measure how much later than a plain chat the first content of a hedge comes, once the hedge is asked."""
    with processes.serving() as server, TemporaryDirectory() as folder:
        config = Path(folder, "config.toml")
        config.write_text(CONFIG.format(port=server.port), encoding="utf-8")
        with hosting(server.port, *COMMAND, "--config", str(config)) as host:
            host.run(WIRE, n=10)
            plain_ms = [_first_ms(host, "n=100,us=2000", {}) for _ in range(HEDGES)]
            hedge = {"hedge": {"after_ms": AFTER_MS, "models": ["anthropic/n=100,us=2000"]}}
            hedged_ms = [_first_ms(host, "n=0,hang=1", hedge) - AFTER_MS for _ in range(HEDGES)]
        for name, values in (("median", sorted(hedged_ms)[HEDGES // 2]), ("highest", max(hedged_ms))):
            yield Figure(
                what=f"first content of a hedge, {name}",
                value=values,
                unit="ms",
                beside={"a plain chat": median(plain_ms)},
                bars=(Bar(50),),
            )


def _first_ms(host: Host, model: str, options: dict[str, Any]) -> float:
    """Return the milliseconds from a chat to its first content."""
    params = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "options": options}
    start = time.monotonic()
    request_id = host.send("stream_chat", provider="anthropic", params=params)
    first = host.wait(request_id, "content").at - start
    host.wait(request_id, "done")
    return first * 1e3


def _start_streams(host: Host, events: int, us: int) -> set[int]:
    return {host.chat(WIRE, n=events, us=us) for _ in range(MODELS)}


def _start_branches(host: Host, events: int, us: int) -> set[int]:
    return {host.compare(WIRE, MODELS, n=events, us=us)}


def _measure(host: Host, events: int, us: int, start: Callable[[Host, int, int], set[int]]) -> Run:
    """Run it once and return what it has cost the sidecar."""
    cpu, began = processes.cpu_s(host.pid), time.monotonic()
    lines = host.finish(start(host, events, us))
    wall_s, cpu_s = time.monotonic() - began, processes.cpu_s(host.pid) - cpu
    count = sum(seen.kind == "content" for seen in lines)
    if count != MODELS * events:
        raise EndedError(f"{count} of {MODELS * events} events came")
    return Run(cpu_s=cpu_s, wall_s=wall_s, first_s=0.0, events=count)


def _cancel_one(host: Host, server: Server) -> float:
    """Return the milliseconds from the cancel of one of several branches to the provider's socket closed."""
    request_id = host.compare(WIRE, MODELS, n=100_000, us=paced.PAUSE_US)
    host.wait(request_id, "content")
    start = time.monotonic()
    host.send("cancel", params={"id": request_id, "branch": 0})
    host.wait(request_id, "branch_error")
    closed_at = server.closed_at(branch_key(request_id, 0))
    host.send("cancel", params={"id": request_id})
    host.wait(request_id, "failed")
    if closed_at is None:
        raise EndedError("the socket of the cancelled branch stays open")
    return (closed_at - start) * 1e3
