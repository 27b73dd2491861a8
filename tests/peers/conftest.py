"""`make peers` alone collects these tests: it installs what they need and says where. A table ends them."""

import os
from collections import defaultdict

import pytest

if "SIDECAR_PEERS" not in os.environ:
    collect_ignore = ["test_aimock.py"]

OUTCOMES: dict[str, dict[str, str]] = defaultdict(dict)
"""Endpoint → case → outcome."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what became of one case at one endpoint."""
    properties = dict(report.user_properties)
    if report.when == "call" and "endpoint" in properties:
        outcome = "n/a" if report.skipped else "FAIL" if report.failed else str(properties.get("departs", "ok"))
        OUTCOMES[str(properties["endpoint"])][str(properties["case"])] = outcome


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print endpoint × case → outcome."""
    if not OUTCOMES:
        return
    cases = list(dict.fromkeys(case for row in OUTCOMES.values() for case in row))
    width = max(map(len, OUTCOMES))
    terminalreporter.section("endpoint × case (~: as the mock departs from the real service)")
    terminalreporter.write_line(" ".join([" " * width, *cases]))
    for name, row in OUTCOMES.items():
        terminalreporter.write_line(
            " ".join([name.ljust(width), *(row.get(case, "").center(len(case)) for case in cases)])
        )
