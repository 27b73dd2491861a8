"""The command: measure all of it, or what is named, and print each figure beside its bar."""

import argparse
import compileall
import sys
import time
from collections.abc import Callable, Iterator

from tests.bench import (
    comparing,
    completions,
    faulted,
    formats,
    load,
    paced,
    processes,
    report,
    start,
    stops,
    stream,
    vectors,
    vocabulary,
)
from tests.bench.report import Figure

MEASURES: dict[str, Callable[[], Iterator[Figure]]] = {
    "ready": start.ready,
    "cold": start.cold,
    "warm": start.warm,
    "cpu": stream.cpu,
    "paced": paced.paced,
    "compared": comparing.compared,
    "hedged": comparing.hedged,
    "completions": completions.completions,
    "many": load.many,
    "faulted": faulted.faulted,
    "long": load.long,
    "cancel": stops.cancel,
    "leave": stops.leave,
    "stall": stops.stall,
    "ping": start.ping,
    "vocabulary": vocabulary.vocabulary,
    "formats": formats.formats,
    "vectors": vectors.vectors,
}


def main() -> int:
    """Measure and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURES)}; default: all")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    parser.add_argument("--stall-seconds", type=float, default=5, metavar="S", help="how long the host does not read")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(MEASURES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if not sys.platform.startswith("linux"):
        parser.error("memory and CPU of other processes are read as Linux tells them")

    processes.raise_file_limit()
    # As an installed package is: nothing is compiled when it starts.
    for package in ("protocol", "sidecar"):
        compileall.compile_dir(processes.ROOT / package, quiet=2)
    missed, begun = 0, time.monotonic()
    for name in arguments.names or MEASURES:
        measure = MEASURES[name]
        print(f"\n{name}: {measure.__doc__}", flush=True)
        figures = stops.stall(arguments.stall_seconds) if measure is stops.stall else measure()
        for figure in report.attempt(name, figures):
            missed += figure.missed
            print(report.line(figure), flush=True)
    print(f"\n{missed} missed, {time.monotonic() - begun:.0f} s")
    return int(arguments.check and missed > 0)


if __name__ == "__main__":
    sys.exit(main())
