"""The command `python -m sidecar.kit`: reads the command line, runs scenarios, prints the table."""

import argparse
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from sidecar.core import platforms
from sidecar.kit.output import describe, list_names, summarize, trace, write_junit
from sidecar.kit.run import Host, Result, run_all
from sidecar.kit.scenario import Scenario, list_scenarios

PASSED, FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""

EPILOG = """\
examples:
  python -m sidecar.kit node build/driver.js
  python -m sidecar.kit --only cancel --trace ./driver

exit codes: 0 every scenario passed, 1 some failed, 2 nothing could be run.
protocol/KIT.md says what a driver must do."""


def main() -> None:
    """Run the command line, and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Return the exit code."""
    options = _make_parser().parse_args(arguments)
    scenarios = list_scenarios(options.only)
    if options.quick:
        scenarios = [each for each in scenarios if not each.expect.slow]
    if not scenarios:
        return _fail("no scenario has such a name; --list shows all")
    if not (options.command or options.list):
        return _fail("which host? Give the command that starts its driver; --help has examples")
    if options.jobs < 1 or not 0 < options.patience < math.inf:
        return _fail("--jobs and --patience are numbers above 0")
    try:
        if not options.list:
            return _test(scenarios, options)
        _print(list_names(scenarios))
    except (KeyboardInterrupt, BrokenPipeError):
        return INTERRUPTED
    return PASSED


def _test(scenarios: list[Scenario], options: argparse.Namespace) -> int:
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def show(result: Result) -> None:
        text = describe(result, colours=colours)
        _print(f"{text}\n{trace(result)}" if options.trace and result.problems else text)

    began = time.monotonic()
    host = Host(command=options.command, env=os.environ, patience=options.patience)
    try:
        results = anyio.run(_run_until_told, scenarios, host, options.jobs, show)
    except ExceptionGroup as group:
        if group.subgroup(BrokenPipeError):
            return INTERRUPTED
        if group.split(OSError)[1]:
            raise
        return _fail(f"the command {options.command[0]} cannot be started")
    if results is None:
        return INTERRUPTED
    seconds = time.monotonic() - began
    _print(summarize(results, seconds))
    if options.junit:
        try:
            options.junit.write_text(write_junit(results, seconds), encoding="utf-8")
        except OSError as error:
            return _fail(f"{options.junit} cannot be written: {error.strerror}")
    return FAILED if any(result.problems for result in results) else PASSED


async def _run_until_told(
    scenarios: list[Scenario], host: Host, jobs: int, show: Callable[[Result], None]
) -> list[Result] | None:
    """Return the results; None: SIGTERM has ended the run, and all that it had started."""
    results = None
    async with anyio.create_task_group() as group:
        if not platforms.WINDOWS:
            group.start_soon(_cancel_at_sigterm, group.cancel_scope)
        results = await run_all(scenarios, host, jobs, show)
        group.cancel_scope.cancel()
    return results


async def _cancel_at_sigterm(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


def _print(text: str) -> None:
    """Print, until nobody reads any more.

    Raises: BrokenPipeError then: there is no reason to go on.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What is still in the buffer must go somewhere when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise


def _fail(message: str) -> int:
    print(f"sidecar.kit: {message}.", file=sys.stderr)
    return UNUSABLE


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sidecar.kit",
        description="Plays the sidecar to a host, and says what the host does wrong.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    jobs = max(4, 2 * (os.cpu_count() or 1))
    add("--only", action="append", metavar="TEXT", help="run the scenarios that have TEXT in their name")
    add("--quick", action="store_true", help="leave out the scenarios that wait for seconds")
    add("--list", action="store_true", help="list the scenarios and run none")
    add("--trace", action="store_true", help="show all that happened in a scenario that failed")
    add("--junit", type=Path, metavar="FILE", help="write the results as JUnit's XML")
    add("--jobs", type=int, default=jobs, metavar="N", help="how many scenarios run at a time")
    add("--patience", type=float, default=1.0, metavar="N", help="multiply all limits of time, for a slow machine")
    add("command", nargs=argparse.REMAINDER, metavar="COMMAND ...", help="what starts the driver of the host")
    return parser


if __name__ == "__main__":
    main()
