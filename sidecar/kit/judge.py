"""Whether what came of a scenario is what must come of it. [pure]"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from sidecar.kit.contract import Close, Request
from sidecar.kit.driver import AT_END, Drive
from sidecar.kit.launcher import Start
from sidecar.kit.patterns import expand, find_sequence_mismatch, fits, is_equal, show
from sidecar.kit.rules import Problem, check_end, check_reports, check_starts, decode
from sidecar.kit.scenario import Expected, Scenario
from sidecar.kit.script import choose_section

LEAST_GRACE_MS = 800
MOST_GRACE_MS = 6000
"""How long a host waits between the end of stdin and SIGTERM, and between that and SIGKILL: about two seconds."""


LEAST_STARTS = 4
"""How many processes it takes to tell whether the pauses between them grow: a busy machine delays some."""


def judge(scenario: Scenario, drive: Drive, starts: list[Start]) -> list[Problem]:
    """Return everything that the host has done wrong, what led to the rest first."""
    steps = [len(choose_section(scenario.script, start.number)) for start in starts]
    problems = [
        *check_reports(drive),
        *check_expected(scenario, drive),
        *check_written(scenario, starts),
        *check_processes(scenario, starts),
        *check_starts(starts, steps),
    ]
    # What was waited for in vain is the first thing that went wrong.
    return [*problems, *check_end(drive)] if drive.waiting_for == AT_END else [*check_end(drive), *problems]


def check_expected(scenario: Scenario, drive: Drive) -> Iterator[Problem]:
    """Yield what is wrong with the reports."""
    for each in scenario.expect.requests:
        yield from _check_request(each, drive)
    found = [
        moment.report for moment in _before_close(drive) if moment.report is not None and "id" not in moment.report
    ]
    if scenario.expect.events is None:
        return
    if mismatch := find_sequence_mismatch(expand(scenario.expect.events, {}), found):
        expected, came = mismatch
        yield Problem(f"among the reports that belong to no request, {expected}", came)


def _before_close(drive: Drive) -> list[Any]:
    """Return the moments without the `exit` that may follow `close`."""
    closed = next((at for at, moment in enumerate(drive.moments) if isinstance(moment.told, Close)), len(drive.moments))
    after = [m for m in drive.moments[closed:] if m.report is None or m.report["event"] != "exit"]
    return drive.moments[:closed] + after


def _check_request(expected: Expected, drive: Drive) -> Iterator[Problem]:
    mine = [m for m in drive.moments if m.report is not None and is_equal(m.report.get("id"), expected.id)]
    found = [{key: value for key, value in m.report.items() if key != "id"} for m in mine if m.report is not None]
    if mismatch := find_sequence_mismatch(expand(expected.reports, {}), found):
        wanted, came = mismatch
        yield Problem(f"among the reports for {expected.id!r}, {wanted}", came)
    elif expected.not_before_ms and mine:
        told = next(m.at_ms for m in drive.moments if isinstance(m.told, Request) and m.told.id == expected.id)
        took = mine[-1].at_ms - told
        if took < expected.not_before_ms:
            yield Problem(f"the end of {expected.id!r} after {expected.not_before_ms} ms", f"it came after {took:.0f}")


def check_written(scenario: Scenario, starts: list[Start]) -> Iterator[Problem]:
    """Yield what is wrong with the lines that the host has written."""
    names: dict[str, Any] = {}
    lines: list[Any] = []
    for start in starts:
        for entry in start.entries:
            names |= entry.names
        lines += [decode(entry) for entry in start.entries if entry.event == "line"]
    at = 0
    for pattern in scenario.expect.written:
        try:
            wanted = expand(pattern, names)
        except KeyError:
            yield Problem(f"a line {show(pattern)}", "the request that it belongs to was never written")
            continue
        found = next((place for place in range(at, len(lines)) if fits(wanted, lines[place])), None)
        if found is None:
            yield Problem(f"a line {show(wanted)}", f"lines of {show([_name_action(line) for line in lines])}")
        else:
            at = found + 1
    for pattern in scenario.expect.unwritten:
        unwanted = [line for line in lines if fits(expand(pattern, names), line)]
        if unwanted:
            yield Problem(f"no line {show(pattern)}", show(unwanted[0]))


def _name_action(line: Any) -> Any:
    return line.get("action") if isinstance(line, dict) else line


def check_processes(scenario: Scenario, starts: list[Start]) -> Iterator[Problem]:
    """Yield what is wrong with how often, and when, the host starts and ends processes."""
    expect = scenario.expect
    least, most = expect.starts
    if not least <= len(starts) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        yield Problem(f"{wanted} processes of the sidecar in all", f"{len(starts)}")
    if expect.slower_restarts and len(starts) >= LEAST_STARTS:
        pauses = [
            later.entries[0].at_ms - earlier.entries[-1].at_ms
            for earlier, later in pairwise(starts)
            if earlier.entries and later.entries
        ]
        if pauses[-1] <= pauses[0]:
            shown = ", ".join(f"{pause:.0f}" for pause in pauses)
            yield Problem("longer and longer pauses before restarts", f"pauses of {shown} ms")
    if expect.endings and starts:
        yield from _check_endings(expect.endings, starts[-1])


def _check_endings(endings: list[str], start: Start) -> Iterator[Problem]:
    moments = [(e.event, e.at_ms) for e in start.entries if e.event in ("eof", "term")]
    found = [event for event, _ in moments]
    wanted = [each for each in endings if each != "kill"]
    if found != wanted:
        yield Problem(f"for the sidecar first {' and then '.join(endings)}", f"{' and then '.join(found) or 'nothing'}")
        return
    for (before, first), (after, second) in pairwise(moments):
        if not LEAST_GRACE_MS <= second - first <= MOST_GRACE_MS:
            yield Problem(f"about two seconds from {before} to {after}", f"{second - first:.0f} ms")
