"""What holds in every scenario: of reports, of the lines that a host writes, of the processes that it starts. [pure]"""

from collections.abc import Iterator
from typing import Any

import msgspec

from protocol.requests import ACTIONS
from sidecar.kit.contract import Request
from sidecar.kit.driver import AT_END, Drive
from sidecar.kit.launcher import Entry, Start
from sidecar.kit.patterns import show
from sidecar.kit.script import AUTOMATIC

MAX_ID_CHARS = 128


class Problem(msgspec.Struct, frozen=True):
    """Something that a host does wrong."""

    expected: str
    came: str


def check_reports(drive: Drive) -> Iterator[Problem]:
    """Yield what is wrong with the reports, whatever the scenario."""
    for moment in drive.moments:
        if moment.bad:
            yield Problem("reports as `protocol/KIT.md` has them", moment.bad)
    open_ids: set[tuple[type, int | str]] = set()
    known: set[tuple[type, int | str]] = set()
    for moment in drive.moments:
        if isinstance(moment.told, Request):
            open_ids.add(_key(moment.told.id))
            known.add(_key(moment.told.id))
        elif moment.report is not None and "id" in moment.report:
            key = _key(moment.report["id"])
            if key not in known:
                yield Problem("reports of the ids that the driver was given", show(moment.report))
            elif key not in open_ids:
                yield Problem(f"nothing more for {key[1]!r}, which has ended", show(moment.report))
            elif moment.report["event"] != "chunk":
                open_ids.discard(key)
    for _, open_id in sorted(open_ids, key=str):
        yield Problem(f"one `done` or `error` for {open_id!r}", "none")


def check_end(drive: Drive) -> Iterator[Problem]:
    """Yield what is wrong with the end of the driver."""
    if drive.time_over:
        yield Problem(f"{drive.waiting_for}, within the time limit", _describe_last(drive))
    elif drive.exit_code != 0:
        yield Problem("a driver that ends with the code 0 after `close`", f"the code {drive.exit_code}")
    elif drive.waiting_for != AT_END:
        yield Problem(drive.waiting_for, _describe_last(drive))


def _describe_last(drive: Drive) -> str:
    reports = [moment.report for moment in drive.moments if moment.report is not None]
    return f"after {len(reports)} reports nothing; the last was {show(reports[-1])}" if reports else "no report at all"


def check_starts(starts: list[Start], steps: list[int]) -> Iterator[Problem]:
    """Yield what is wrong with the processes, of which each had as many *steps* to play."""
    for start, count in zip(starts, steps, strict=True):
        which = f"sidecar {start.number}" if len(starts) > 1 else "the sidecar"
        events = {entry.event for entry in start.entries}
        if start.running:
            yield Problem(f"{which} ended when the driver had ended", "it still ran")
        if "time_over" in events:
            yield Problem(f"{which} ended by the host in time", "it ended by itself when its time was over")
        done = max((entry.number for entry in start.entries if entry.event == "step"), default=0)
        if done < count and not events & {"exit", "die"}:
            yield Problem(f"all {count} steps of {which}'s script played", f"step {done + 1} was never done")
        yield from _check_lines(start, which)


def _check_lines(start: Start, which: str) -> Iterator[Problem]:
    lines = [entry for entry in start.entries if entry.event == "line"]
    taken = {entry.number for entry in start.entries if entry.event == "taken"}
    # A host may write to a sidecar that dies before it has noticed.
    died = any(entry.event in ("die", "time_over") or entry.code for entry in start.entries)
    for number, entry in enumerate(lines):
        value = decode(entry)
        if problem := find_line_problem(value):
            yield Problem(f"request lines to {which} that are requests", f"{problem}: {show(entry.text)}")
        elif number == 0 and value["action"] != "initialize":
            yield Problem(f"`initialize` as the first line to {which}", show(entry.text))
        elif number not in taken and not died and value["action"] not in AUTOMATIC:
            yield Problem(f"no such line to {which}", show(entry.text))


def decode(entry: Entry) -> Any:
    """Return the JSON of a line that the host has written; None if it is none."""
    try:
        return msgspec.json.decode(entry.text.encode("utf-8", "surrogateescape"))
    except (msgspec.DecodeError, UnicodeError):
        return None


def find_line_problem(value: Any) -> str | None:
    """Return what keeps *value* from being a request; None if it is one."""
    if not isinstance(value, dict):
        return "it is no JSON object in UTF-8"
    if not _is_id(value.get("id")):
        return "`id` is no string of at most 128 characters, and no 64-bit integer"
    if value.get("action") not in ACTIONS:
        return "`action` is none of the protocol's"
    if not isinstance(value.get("params") or {}, dict):
        return "`params` is no object"
    return None


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_ID_CHARS
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _key(value: int | str) -> tuple[type, int | str]:
    """Return what tells `1` from `"1"`."""
    return type(value), value
