"""What an installation adds to Python's modules: this package alone, with the program inside it.

The program imports `sidecar` and `protocol`, names that other distributions use too. In an installation both packages
are here, where nobody else's imports find them. In a checkout they are beside `pyproject.toml`.
"""

import os
import sys


def main() -> None:
    """Run the program."""
    _find_ours_first()
    from sidecar.__main__ import main as run

    run()


def check_host() -> None:
    """Run the conformance kit."""
    _find_ours_first()
    from sidecar.kit.__main__ import main as run

    run()


def _find_ours_first() -> None:
    sys.path.insert(0, os.path.dirname(__file__))  # noqa: PTH120 - `pathlib` would be a part of every start
