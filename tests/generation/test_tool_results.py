"""Results that belong to nothing, limits over all rounds, and loops that nobody could go on with."""

from typing import Any

import pytest

from tests.generation.test_tool_loop import TOOLS, begin, calling, give, wait_for_round
from tests.outputs.streams import chunks, text_of
from tests.support.fake_provider import STALL, Provider
from tests.support.lines import ABSENT, Object
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC


@pytest.mark.parametrize(
    ("params", "param", "reason"),
    [
        ({"id": 999}, "params.id", "no_such_request"),
        ({"results": [{"id": "z"}]}, "params.results[0].id", "unknown_call"),
        ({"results": [{"id": "a"}, {"id": "a"}]}, "params.results[1].id", "duplicate_result"),
        ({"results": []}, "params.results", None),
        ({"results": [{"id": 7}]}, "params.results[0].id", None),
        ({"results": [{"content": "x"}]}, "params.results[0].id", None),
        ({"results": [{"id": "a", "content": [{"type": "reasoning", "content": "x"}]}]}, None, None),
        ({"results": [{"id": "a", "content": [{"type": "image"}]}]}, "params.results[0].content[0]", None),
    ],
    ids=["request", "call", "twice", "nothing", "number", "no id", "part", "image"],
)
def test_a_result_that_belongs_to_nothing_is_refused_and_changes_nothing(
    sidecar: Program, provider: Provider, params: Object, param: str | None, reason: str | None
) -> None:
    provider.play_in_turn("m", calling("a"), ANTHROPIC.answer("Done."))
    request_id = begin(sidecar)
    wait_for_round(sidecar, request_id)
    error = sidecar.ask("tool_result", {"id": request_id, "results": [{"id": "a"}]} | params)["error"]
    assert (error["code"], error.get("reason")) == ("invalid_request", reason)
    assert param in (None, error["param"])
    assert give(sidecar, request_id, "a")["data"] == {"missing": []}
    assert sidecar.stream(request_id)[-1].data["data"]["finish_reason"] == "stop"


def test_a_result_is_taken_once(sidecar: Program, provider: Provider) -> None:
    provider.play("m", calling("a", "b"))
    request_id = begin(sidecar)
    wait_for_round(sidecar, request_id)
    give(sidecar, request_id, "a")
    assert give(sidecar, request_id, "a")["error"]["reason"] == "duplicate_result"
    assert give(sidecar, request_id, stop=True)["data"] == {"missing": ["b"]}
    assert give(sidecar, request_id, "b")["error"]["reason"] in ("not_waiting", "no_such_request")


def test_a_stream_that_is_not_waiting_takes_no_results(sidecar: Program, provider: Provider) -> None:
    provider.play("m", [*ANTHROPIC.begun("Hm."), STALL])
    request_id = begin(sidecar)
    sidecar.chunk(request_id, 1)
    assert give(sidecar, request_id, "a")["error"]["reason"] == "not_waiting"
    sidecar.ask("cancel", {"id": request_id})
    assert sidecar.reply(request_id)["error"]["code"] == "cancelled"


@pytest.mark.parametrize(("action", "more"), [("generate", {}), ("resume", {"method": "restart"})])
def test_only_a_stream_can_tell_of_calls(sidecar: Program, provider: Provider, action: str, more: Object) -> None:
    asked = sidecar.params("m") | more
    asked["options"] |= {"tools": TOOLS, "tool_loop": {}}
    error = sidecar.ask(action, asked, provider="anthropic")["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "params.options.tool_loop")
    assert provider.calls("m") == []


def test_a_loop_needs_an_id_that_results_can_name(sidecar: Program) -> None:
    asked = sidecar.params("m")
    asked["options"] |= {"tool_loop": {}}
    error = sidecar.ask("stream_chat", asked, provider="anthropic", id=ABSENT)["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "id")


@pytest.mark.parametrize(
    ("options", "reached"), [({"token_limit": 10}, "token_limit"), ({"budget_usd": "0.0037"}, "budget_usd")]
)
def test_the_limits_of_a_request_hold_for_all_its_rounds(
    sidecar: Program, provider: Provider, options: dict[str, Any], reached: str
) -> None:
    """A round has 7 tokens of output; its prompt, by the estimate, takes most of the budget."""
    model = "claude-opus-4-8"
    provider.play(model, calling("a"))
    asked = sidecar.params(model)
    asked["options"] |= {"tools": TOOLS, "tool_loop": {}, **options}
    request_id = sidecar.send("stream_chat", asked, provider="anthropic")
    wait_for_round(sidecar, request_id)
    give(sidecar, request_id, "a")
    done = sidecar.stream(request_id)[-1].data["data"]
    assert (done["finish_reason"], done["provider_finish_reason"]) == ("length", reached)
    assert [each["role"] for each in done["messages"]][:2] == ["assistant", "tool"]
    assert 1 <= len(provider.calls(model)) <= 2


def test_each_round_has_files_of_its_own(sidecar: Program, provider: Provider) -> None:
    """A file that a round leaves open ends with it; numbers and texts go on."""
    first = "a.py\n```python\nx = 1\n```\nb.py\n```python\ny ="
    provider.play_in_turn("m", calling("a", said=first), ANTHROPIC.answer("a.py\n```python\nx = 2\n```\n"))
    request_id = begin(sidecar, options={"output": {"type": "files"}})
    wait_for_round(sidecar, request_id)
    give(sidecar, request_id, "a")
    lines = sidecar.stream(request_id)
    ends = [(each["file"], each["path"], each["complete"]) for each in chunks(lines, "file_end")]
    assert ends == [(0, "a.py", True), (1, "b.py", False), (2, "a.py", True)]
    assert text_of(lines, 2) == "x = 2\n"
    done = lines[-1].data["data"]
    assert [(row["path"], row["content"], row["files"]) for row in done["files"]] == [
        ("a.py", "x = 2\n", [0, 2]),
        ("b.py", "y =", [1]),
    ]
    assert len(done["rounds"]) == 2
