"""The command `python -m sidecar.kit`: reads the command line, runs scenarios, prints the table."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import anyio

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
    # Whoever ends the kit ends what it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Return the exit code."""
    options = _make_parser().parse_args(arguments)
    scenarios = list_scenarios(options.only)
    if options.quick:
        scenarios = [each for each in scenarios if not each.expect.slow]
    if not scenarios:
        return _fail("no scenario has such a name; --list shows all")
    if options.list:
        print(list_names(scenarios))
        return PASSED
    if not options.command:
        return _fail("which host? Give the command that starts its driver; --help has examples")
    try:
        return _test(scenarios, options)
    except KeyboardInterrupt:
        return INTERRUPTED


def _test(scenarios: list[Scenario], options: argparse.Namespace) -> int:
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def show(result: Result) -> None:
        print(describe(result, colours=colours), flush=True)
        if options.trace and result.problems:
            print(trace(result), flush=True)

    began = time.monotonic()
    host = Host(command=options.command, env=os.environ, patience=options.patience)
    try:
        results = anyio.run(run_all, scenarios, host, options.jobs, show)
    except ExceptionGroup as group:
        if group.split(OSError)[1]:
            raise
        return _fail(f"the command {options.command[0]} cannot be started")
    seconds = time.monotonic() - began
    print(summarize(results, seconds))
    if options.junit:
        options.junit.write_text(write_junit(results, seconds), encoding="utf-8")
    return FAILED if any(result.problems for result in results) else PASSED


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
