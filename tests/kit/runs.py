"""What tests of the kit need: a scenario, a drive and processes, made by hand."""

from typing import Any

import msgspec

from sidecar.kit.contract import Operation
from sidecar.kit.driver import AT_END, Drive, Moment
from sidecar.kit.launcher import Entry, Start
from sidecar.kit.run import Result
from sidecar.kit.scenario import Expectation, HostStep, Scenario


def make_scenario(script: list[dict[str, Any]] | None = None, **expect: Any) -> Scenario:
    """Return a scenario without operations."""
    expectation = msgspec.convert({"title": "A host does it.", "hint": "Do it."} | expect, Expectation)
    return Scenario(name="001_made_up", host=[], script=script or [], expect=expectation)


def make_drive(*moments: dict[str, Any], **rest: Any) -> Drive:
    """Return a drive of operations and reports, ten milliseconds apart, that has ended well."""
    told: list[Moment] = []
    for number, moment in enumerate(moments):
        if "op" in moment:
            step: HostStep = msgspec.convert(moment, Operation)
            told.append(Moment(at_ms=number * 10, told=step))  # type: ignore[arg-type]  # of both, it is an operation
        elif "bad" in moment:
            told.append(Moment(at_ms=number * 10, bad=moment["bad"]))
        else:
            told.append(Moment(at_ms=number * 10, report=moment))
    drive: dict[str, Any] = {"waiting_for": AT_END, "exit_code": 0} | rest
    return Drive(moments=told, **drive)


def make_start(*entries: dict[str, Any], number: int = 1, running: bool = False) -> Start:
    """Return a process with the *entries* of its log, ten milliseconds apart."""
    log = [msgspec.convert({"at_ms": at * 10} | entry, Entry) for at, entry in enumerate(entries)]
    return Start(number=number, entries=log, running=running)


def wrote(*lines: Any, taken: bool = True) -> list[dict[str, Any]]:
    """Return the entries of lines that the host wrote."""
    entries: list[dict[str, Any]] = []
    for number, line in enumerate(lines):
        text = line if isinstance(line, str) else msgspec.json.encode(line).decode()
        entries.append({"event": "line", "text": text})
        entries += [{"event": "taken", "number": number}] if taken else []
    return entries


def make_result(scenario: Scenario, drive: Drive, *starts: Start, problems: Any = ()) -> Result:
    """Return a result."""
    return Result(scenario=scenario, problems=[*problems], seconds=0.25, drive=drive, starts=[*starts])
