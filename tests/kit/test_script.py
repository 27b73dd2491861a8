"""The player, without a process: lines go in, actions come out."""

import json
from typing import Any

import pytest

from sidecar.kit.script import (
    Close,
    Exit,
    Finished,
    Ignore,
    Pause,
    Player,
    Read,
    Wait,
    Write,
    WriteError,
    choose_section,
    cut,
)


def play(steps: list[dict[str, Any]], *lines: Any) -> tuple[Player, list[Any]]:
    """Return a player that has taken the lines, and what it did."""
    player = Player(steps)
    done: list[Any] = []
    for line in (*lines, None):
        done = [each for each in done if not isinstance(each, (Wait, Finished))]
        while not done or not isinstance(done[-1], (Wait, Finished)):
            done.append(player.advance())
        if line is not None:
            player.receive(line if isinstance(line, bytes) else json.dumps(line).encode())
    return player, done


def written(actions: list[Any]) -> list[Any]:
    data = b"".join(b"".join(action.pieces) for action in actions if isinstance(action, Write))
    return [json.loads(line) for line in data.splitlines()]


def test_a_script_waits_for_its_line_and_answers_with_its_id() -> None:
    steps: list[dict[str, Any]] = [{"expect": {"action": "generate"}, "as": "a"}, {"send": {"id": "$a", "data": 1}}]
    player, actions = play(steps)
    assert actions == [Wait()]
    player, actions = play(steps, {"id": 7, "action": "generate"})
    assert written(actions) == [{"id": 7, "data": 1}]
    assert actions[-1] == Finished()
    assert player.taken == [0]
    assert player.names == {"a": 7}


def test_lines_may_come_in_another_order_than_the_script_takes_them() -> None:
    steps: list[dict[str, Any]] = [
        {"expect": {"params": {"n": 1}}, "as": "a"},
        {"expect": {"params": {"n": 2}}, "as": "b"},
        {"send": ["$a", "$b"]},
    ]
    player, actions = play(steps, {"id": "y", "params": {"n": 2}}, {"id": "x", "params": {"n": 1}})
    assert written(actions) == [["x", "y"]]
    assert player.taken == [1, 0]


def test_requests_that_no_step_waits_for_are_answered_by_themselves() -> None:
    steps: list[dict[str, Any]] = [{"expect": {"action": "generate"}}]
    player, actions = play(steps, {"id": 1, "action": "initialize"}, {"id": 2, "action": "ping"})
    assert [line["id"] for line in written(actions)] == [1, 2]
    assert actions[-1] == Wait()
    assert not player.told_to_exit
    player, _ = play([], {"id": 3, "action": "shutdown"})
    assert player.told_to_exit


def test_a_script_may_answer_by_itself() -> None:
    _, actions = play([{"automatic": []}, {"expect": {"action": "generate"}}], {"id": 1, "action": "initialize"})
    assert actions == [Wait()]
    steps: list[dict[str, Any]] = [{"expect": {"action": "generate"}}, {"expect": {"action": "cancel"}}]
    _, actions = play(steps, {"id": 1, "action": "cancel"})
    assert actions == [Wait()]


def test_a_line_that_is_no_json_is_kept_and_never_taken() -> None:
    player, actions = play([{"expect": {"action": "generate"}}], b"{", b"[1]", {"id": 1, "action": "generate"})
    assert actions == [Finished()]
    assert player.taken == [2]


@pytest.mark.parametrize(
    ("step", "action"),
    [
        ({"write": "ä\n"}, Write([b"\xc3\xa4\n"])),
        ({"write": "ä\n", "cuts": [1], "pause_us": 5}, Write([b"\xc3", b"\xa4\n"], 5)),
        ({"write_hex": "ff0a"}, Write([b"\xff\n"])),
        ({"send": {"n": 1}, "end": "\r\n"}, Write([b'{"n":1}\r\n'])),
        ({"send": {"n": "$n"}, "times": 2, "first": 5}, Write([b'{"n":5}\n', b'{"n":6}\n'])),
        ({"send_all": [1, 2], "cuts": [3]}, Write([b"1\n2", b"\n"])),
        ({"stderr": "ab", "times": 2}, WriteError(b"abab")),
        ({"pause_ms": 5}, Pause(5)),
        ({"read": False}, Read(on=False)),
        ({"ignore": ["eof"]}, Ignore(["eof"])),
        ({"close": "stdout"}, Close("stdout")),
        ({"exit": 2}, Exit(2)),
        ({"die": True}, Exit(None)),
    ],
)
def test_a_step_becomes_an_action(step: dict[str, Any], action: Any) -> None:
    _, actions = play([step])
    assert actions == [action, Finished()]


@pytest.mark.parametrize("cuts", [None, [], [1], [1, 2, 5], "bytes"])
def test_cutting_loses_no_byte(cuts: Any) -> None:
    pieces = cut(b"abcdef", cuts)
    assert b"".join(pieces) == b"abcdef"
    assert len(pieces) == (6 if cuts == "bytes" else len(cuts or []) + 1)


def test_later_processes_play_the_last_section() -> None:
    steps: list[dict[str, Any]] = [{"exit": 1}, {"start": 2}, {"exit": 2}, {"start": 4}, {"exit": 4}]
    codes = [choose_section(steps, number)[0]["exit"] for number in (1, 2, 3, 4, 9)]
    assert codes == [1, 2, 2, 4, 4]
