"""What the kit finds wrong, from drives and logs made by hand."""

from typing import Any

import pytest

from sidecar.kit.judge import judge
from tests.kit.runs import make_drive, make_scenario, make_start, wrote

REQUEST = {"op": "request", "id": "a", "action": "generate"}
READY = {"event": "ready", "protocol_version": 1}
DONE = {"event": "done", "id": "a", "data": {}}
CHUNK = {"event": "chunk", "id": "a", "data": {"type": "content", "content": "x"}}
CLOSE = {"op": "close"}
INITIALIZE = {"id": 1, "action": "initialize"}
GOOD = make_start({"event": "start"}, *wrote(INITIALIZE))


def find(drive: Any = None, *starts: Any, scenario: Any = None) -> list[tuple[str, str]]:
    """Return what is expected and what came, of each problem."""
    drive = drive or make_drive(READY, CLOSE)
    found = judge(scenario or make_scenario(), drive, [*(starts or (GOOD,))])
    return [(problem.expected, problem.came) for problem in found]


def test_a_good_run_has_no_problem() -> None:
    expected = [{"id": "a", "reports": [CHUNK, {"event": "done"}]}]
    scenario = make_scenario(requests=[{**each, "reports": [_bare(CHUNK), _bare(DONE)]} for each in expected])
    assert find(make_drive(READY, REQUEST, CHUNK, DONE, CLOSE), scenario=scenario) == []


def _bare(report: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in report.items() if key != "id"}


@pytest.mark.parametrize(
    ("moments", "expected", "came"),
    [
        ([READY, REQUEST, CLOSE], "one `done` or `error` for 'a'", "none"),
        ([READY, REQUEST, DONE, DONE], "nothing more for 'a', which has ended", "done"),
        ([READY, REQUEST, DONE, CHUNK], "nothing more for 'a', which has ended", "content"),
        ([READY, DONE], "reports of the ids that the driver was given", "done"),
        ([READY, {"bad": "half a report"}], "reports as", "half a report"),
        ([], "among the reports that belong to no request, as number 1", "nothing"),
        ([READY, READY], "among the reports that belong to no request, nothing more", "ready"),
    ],
)
def test_reports_that_are_wrong_in_every_scenario(moments: list[Any], expected: str, came: str) -> None:
    (problem, *_) = find(make_drive(*moments))
    assert problem[0].startswith(expected)
    assert came in problem[1]


def test_an_id_of_another_type_is_another_id() -> None:
    drive = make_drive(READY, {**REQUEST, "id": 1}, {**DONE, "id": "1"})
    assert [problem[0][:10] for problem in find(drive)] == ["reports of", "one `done`"]


def test_what_an_id_must_get_and_when() -> None:
    scenario = make_scenario(requests=[{"id": "a", "not_before_ms": 50, "reports": [{"event": "done"}]}])
    drive = make_drive(READY, REQUEST, DONE, CLOSE)
    assert find(drive, scenario=scenario) == [("the end of 'a' after 50 ms", "it came after 10")]
    ((expected, came),) = find(make_drive(READY, REQUEST, CHUNK, DONE), scenario=scenario)
    assert expected.startswith("among the reports for 'a', as number 1")
    assert 'event is "chunk"' in came


def test_an_exit_after_close_needs_no_place_among_the_reports() -> None:
    ended = {"event": "exit", "code": 0, "restarting": False}
    assert find(make_drive(READY, CLOSE, ended)) == []
    assert find(make_drive(READY, ended, CLOSE)) != []


def test_a_driver_that_does_not_end_in_time_or_ends_badly() -> None:
    late = make_drive(READY, time_over=True, waiting_for="X")
    ((expected, came),) = find(late)
    assert expected == "X, within the time limit"
    assert came.startswith("after 1 reports nothing")
    ((_, came),) = find(make_drive(READY, exit_code=3))
    assert came == "the code 3"
    ((expected, came),) = find(make_drive(READY, waiting_for="Y"))
    assert (expected, came[:23]) == ("Y", "after 1 reports nothing")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "no JSON object"),
        ("[]", "no JSON object"),
        ('"\udcff"', "no JSON object"),
        ({"id": True, "action": "ping"}, "`id` is"),
        ({"id": 2**63, "action": "ping"}, "`id` is"),
        ({"id": "x" * 129, "action": "ping"}, "`id` is"),
        ({"action": "ping"}, "`id` is"),
        ({"id": 1, "action": "pong"}, "`action` is"),
        ({"id": 1, "action": "ping", "params": [1]}, "`params` is"),
    ],
)
def test_a_line_that_is_no_request(line: Any, problem: str) -> None:
    entries = wrote(INITIALIZE, "") if line == '"\udcff"' else wrote(INITIALIZE, line)
    ((expected, came),) = find(None, make_start({"event": "start"}, *entries))
    assert expected == "request lines to the sidecar that are requests"
    assert problem in came


def test_lines_that_nobody_expects() -> None:
    chat = {"id": 2, "action": "generate"}
    assert find(None, make_start(*wrote(chat)))[0][0] == "`initialize` as the first line to the sidecar"
    untaken = make_start(*wrote(INITIALIZE), *wrote(chat, taken=False))
    assert find(None, untaken)[0][0] == "no such line to the sidecar"


def test_lines_that_must_and_must_not_be_written() -> None:
    start = make_start(
        {"event": "step", "number": 0, "names": {"a": 7}}, *wrote(INITIALIZE, {"id": 7, "action": "ping"})
    )
    assert find(None, start, scenario=make_scenario(written=[{"action": "ping", "id": "$a"}])) == []
    missing = make_scenario(written=[{"action": "ping"}, {"action": "initialize"}])
    assert find(None, start, scenario=missing)[0][0].startswith('a line {"action": "initialize"}')
    unbound = make_scenario(written=[{"id": "$b"}])
    assert "never written" in find(None, start, scenario=unbound)[0][1]
    unwanted = make_scenario(unwritten=[{"action": "ping"}])
    assert find(None, start, scenario=unwanted)[0][0] == 'no line {"action": "ping"}'


def test_a_script_that_was_not_played_to_its_end() -> None:
    scenario = make_scenario(script=[{"expect": {}}, {"pause_ms": 1}])
    played = make_start(*wrote(INITIALIZE), {"event": "step", "number": 1})
    assert find(None, played, scenario=scenario) == [
        ("all 2 steps of the sidecar's script played", "step 2 was never done")
    ]


def test_processes_that_are_left_or_end_by_themselves() -> None:
    ((_, came),) = find(None, make_start(*wrote(INITIALIZE), running=True))
    assert came == "it still ran"
    ((_, came),) = find(None, make_start(*wrote(INITIALIZE), {"event": "time_over"}))
    assert came == "it ended by itself when its time was over"


def test_too_many_processes() -> None:
    second = make_start(*wrote(INITIALIZE), number=2)
    assert find(None, GOOD, second) == [("1 processes of the sidecar in all", "2")]
    assert find(None, GOOD, second, scenario=make_scenario(starts=[1, 3])) == []


@pytest.mark.parametrize(("waits", "good"), [([100, 200, 400], True), ([300, 300, 300], False), ([300, 100], True)])
def test_pauses_before_restarts_grow(waits: list[int], good: bool) -> None:
    starts, at = [], 0
    for number, wait in enumerate([0, *waits], start=1):
        at += wait
        starts.append(
            make_start({"event": "start", "at_ms": at}, *({**e, "at_ms": at} for e in wrote(INITIALIZE)), number=number)
        )
    found = find(None, *starts, scenario=make_scenario(starts=[1, 4], slower_restarts=True))
    assert (found == []) is good


@pytest.mark.parametrize(
    ("events", "problems"),
    [
        ([("eof", 0), ("term", 2000)], 0),
        ([("eof", 0), ("term", 100)], 1),
        ([("eof", 0), ("term", 9000)], 1),
        ([("term", 0)], 1),
        ([], 1),
    ],
)
def test_a_process_is_given_time_to_end(events: list[tuple[str, int]], problems: int) -> None:
    start = make_start(*wrote(INITIALIZE), *({"event": event, "at_ms": at} for event, at in events))
    assert len(find(None, start, scenario=make_scenario(endings=["eof", "term", "kill"]))) == problems
