"""Run the tests of the catalogue of faults and print what became of each case: `make faults`.

`ARGS="-m ''"` runs the slow ones too; any other arguments go to pytest as they are.
"""

# ruff: noqa: T201 - a command that reports on a terminal

import sys
from collections import defaultdict

import pytest

from tests.e2e.faults.registry import CASES, PARTS, covering, reasons

WIRES = "tests/generation/faults/test_wires.py"
SIX = {
    "again_when_it_says": ("429", "503"),
    "after_the_first_text": ("truncation", "disconnect", "malformed", "stall"),
}
"""Part of a test's name → the faults that are its parameters."""


class Outcomes:
    """What became of each test: the worst of its parametrized runs."""

    RANK = ("passed", "skipped", "failed")

    def __init__(self) -> None:
        self.of: dict[str, str] = {}
        self.by_run: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note *report*."""
        if report.when == "call" or report.outcome != "passed":
            test = report.nodeid.partition("[")[0]
            self.by_run[report.nodeid] = report.outcome
            self.of[test] = max(self.of.get(test, "passed"), report.outcome, key=self.RANK.index)


def main(arguments: list[str]) -> int:
    """Run everything and return the exit code of pytest."""
    cases = covering()
    nodes = sorted({name for names in cases.values() for name in names})
    outcomes = Outcomes()
    code = pytest.main(["-q", "--no-header", *arguments, *nodes], plugins=[outcomes])
    _print_cases(cases, outcomes)
    _print_wires(outcomes)
    return int(code)


def _print_cases(cases: dict[str, list[str]], outcomes: Outcomes) -> None:
    excused = reasons()
    count: dict[str, int] = defaultdict(int)
    for part, (subject, _) in PARTS.items():
        print(f"\n{part}  {subject}")
        for case in (each for each in CASES if each[0] == part):
            run = [outcomes.of[name] for name in cases.get(case, []) if name in outcomes.of]
            outcome = max(run, key=Outcomes.RANK.index) if run else "not run" if case in cases else "no test"
            count[outcome] += 1
            note = excused.get(case) or ", ".join(name.partition("::")[2] for name in cases.get(case, []))
            print(f"  {case}  {outcome:8} {note[:150]}")
    print("\n" + ", ".join(f"{number} {outcome}" for outcome, number in sorted(count.items())))


def _print_wires(outcomes: Outcomes) -> None:
    faults = [(part, fault) for part, names in SIX.items() for fault in names]
    table: dict[str, dict[str, str]] = defaultdict(dict)
    for node, outcome in outcomes.by_run.items():
        for part, fault in faults:
            if node.startswith(WIRES) and part in node and f"{fault}-" in node.partition("[")[2]:
                wire = node.partition("[")[2].rstrip("]").rpartition("-")[2]
                table[wire][fault] = outcome
    print("\n" + "".join(f"{title:>20}" for title in ("", *(fault for _, fault in faults))))
    for wire, row in sorted(table.items()):
        print(f"{wire:>20}" + "".join(f"{row.get(fault, ''):>20}" for _, fault in faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
