"""What people and build servers read: a table, the course of a scenario, JUnit's XML. [pure]"""

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

import msgspec

from sidecar.kit.driver import Drive
from sidecar.kit.patterns import show
from sidecar.kit.run import Result
from sidecar.kit.scenario import Scenario

GREEN, RED, DIM, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m"

MOST_PROBLEMS = 4
"""How many problems of one scenario are shown: the first ones cause the others."""

STDERR_LINES = 8

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def describe(result: Result, *, colours: bool) -> str:
    """Return the row of the table, and what is wrong below it."""
    word, colour = ("FAIL", RED) if result.problems else ("ok", GREEN)
    word = f"{colour}{word:<4}{PLAIN}" if colours else f"{word:<4}"
    row = f"{word}  {result.scenario.name:<34}{result.seconds:>7.2f} s"
    return "\n".join([row, *(f"      {line}" for line in _list_details(result))])


def _list_details(result: Result) -> Iterator[str]:
    if not result.problems:
        return
    yield f"{result.scenario.expect.title}"
    for problem in result.problems[:MOST_PROBLEMS]:
        yield f"expected: {problem.expected}"
        yield f"came:     {problem.came}"
    if (more := len(result.problems) - MOST_PROBLEMS) > 0:
        yield f"and {more} more"
    yield f"hint:     {result.scenario.expect.hint}"
    for line in _list_stderr(result.drive)[-STDERR_LINES:]:
        yield f"stderr:   {line}"


def _list_stderr(drive: Drive) -> list[str]:
    return [show(line)[1:-1] for line in drive.stderr.decode("utf-8", "replace").splitlines()]


def summarize(results: list[Result], seconds: float) -> str:
    """Return the last line of the table."""
    failed = sum(bool(result.problems) for result in results)
    return f"{len(results) - failed} passed, {failed} failed, in {seconds:.1f} s"


def list_names(scenarios: list[Scenario]) -> str:
    """Return the scenarios, one a line."""
    return "\n".join(f"{each.name:<34}{'slow' if each.expect.slow else '':<6}{each.expect.title}" for each in scenarios)


def trace(result: Result) -> str:
    """Return everything that happened, in the order of time: milliseconds, who, what."""
    moments: list[tuple[float, str, str]] = []
    for moment in result.drive.moments:
        if moment.told is not None:
            moments.append((moment.at_ms, "kit -> driver", msgspec.json.encode(moment.told).decode()))
        else:
            text = msgspec.json.encode(moment.report).decode() if moment.report is not None else moment.bad
            moments.append((moment.at_ms, "driver -> kit", text))
    for start in result.starts:
        who = f"sidecar {start.number}"
        for entry in start.entries:
            text = f"{entry.event} {entry.text or entry.number or ''}"
            moments.append((entry.at_ms, who, text))
    first = min((at for at, _, _ in moments), default=0)
    return "\n".join(f"      {at - first:>8.0f}  {who:<14}{show(text)[1:-1]}" for at, who, text in sorted(moments))


def write_junit(results: list[Result], seconds: float) -> str:
    """Return the results in the XML of JUnit."""
    failed = sum(bool(result.problems) for result in results)
    cases = "\n".join(_write_case(result) for result in results)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuite name="sidecar.kit" tests="{len(results)}" failures="{failed}" errors="0" time="{seconds:.3f}">\n'
        f"{cases}\n</testsuite>\n"
    )


def _write_case(result: Result) -> str:
    head = f'  <testcase classname="sidecar.kit" name={quoteattr(result.scenario.name)} time="{result.seconds:.3f}"'
    if not result.problems:
        return f"{head}/>"
    message = quoteattr(_NOT_XML.sub("?", result.scenario.expect.title))
    text = escape(_NOT_XML.sub("?", "\n".join(_list_details(result))))
    return f"{head}>\n    <failure message={message}>{text}</failure>\n  </testcase>"
