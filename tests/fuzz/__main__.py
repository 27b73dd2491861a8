"""Bends recorded replies, or requests, at random, and checks what the program makes of them.

    python -m tests.fuzz replies 1000000
    python -m tests.fuzz requests 1000000

A number after that is the seed. The first reply or line that breaks a promise ends the run, and is shown.
"""

# ruff: noqa: T201 - a command that reports on a terminal

import sys
import time

from tests.fuzz import replies, requests

RUNS = {"replies": replies.run, "requests": requests.run}


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    if len(arguments) not in (2, 3) or arguments[0] not in RUNS:
        print(__doc__)
        return 2
    started = time.monotonic()
    found = RUNS[arguments[0]](*map(int, arguments[1:]))
    print(f"{arguments[1]} mutations in {time.monotonic() - started:.0f} s: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
