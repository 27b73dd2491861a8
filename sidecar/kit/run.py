"""Runs scenarios: one in a private folder of its own, many side by side."""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import msgspec

from sidecar.kit.driver import Drive, drive, end_group
from sidecar.kit.judge import judge
from sidecar.kit.launcher import Start, end_all, prepare, read_starts
from sidecar.kit.rules import Problem
from sidecar.kit.scenario import Scenario

BACKOFF_MS = 100
"""How long a client should wait before the first restart, so that a run is quick."""

LEFT_SECONDS = 1.5
"""How long a played sidecar may run on when its driver has ended."""

MORE_MS = 5000
"""How much longer than its scenario a played sidecar may run, should the kit be killed."""


class Host(msgspec.Struct, frozen=True):
    """What is tested."""

    command: list[str]
    env: Mapping[str, str]
    """The environment of the driver, without the variables of the kit."""
    patience: float = 1.0
    """A factor for all limits of time."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a scenario."""

    scenario: Scenario
    problems: list[Problem]
    seconds: float
    drive: Drive
    starts: list[Start]


async def run_scenario(scenario: Scenario, host: Host) -> Result:
    """Run one scenario; nothing of it is left afterwards.

    Raises: OSError if the driver cannot be started.
    """
    began = time.monotonic()
    limit_ms = int(scenario.expect.limit_ms * host.patience)
    with tempfile.TemporaryDirectory(prefix="sidecar-kit-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        launcher = prepare(folder, scenario, limit_ms + MORE_MS)
        env = {**host.env, "SIDECAR_COMMAND": str(launcher), "SIDECAR_BACKOFF_MS": str(BACKOFF_MS)}
        try:
            driven = await drive(host.command, env, scenario.host, limit_ms)
            starts = await _wait_for_end(folder)
            end_group(driven.pid)
        finally:
            end_all(folder)
    problems = judge(scenario, driven, starts)
    seconds = time.monotonic() - began
    return Result(scenario=scenario, problems=problems, seconds=seconds, drive=driven, starts=starts)


async def _wait_for_end(folder: Path) -> list[Start]:
    """Return the processes of *folder* when the last of them has ended, or has had time to."""
    with anyio.move_on_after(LEFT_SECONDS):
        while any(start.running for start in read_starts(folder)):  # noqa: ASYNC110 - locks of files report nothing
            await anyio.sleep(0.02)
    return read_starts(folder)


async def run_all(scenarios: list[Scenario], host: Host, jobs: int, show: Callable[[Result], None]) -> list[Result]:
    """Return the results in the order of the scenarios, of which *jobs* run at a time; each is shown when it is there.

    Raises: OSError if the driver cannot be started.
    """
    results: dict[str, Result] = {}
    turns = anyio.Semaphore(jobs)

    async def run_in_turn(scenario: Scenario) -> None:
        async with turns:
            results[scenario.name] = await run_scenario(scenario, host)
        show(results[scenario.name])

    async with anyio.create_task_group() as group:
        # What may take longest begins first.
        for scenario in sorted(scenarios, key=lambda each: (not each.expect.slow, -each.expect.limit_ms)):
            group.start_soon(run_in_turn, scenario)
    return [results[scenario.name] for scenario in scenarios]
