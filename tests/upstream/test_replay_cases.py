"""The cases of `replay` for a host's tests: each shows what its name says, whatever was asked before."""

from pathlib import Path
from typing import Any

import pytest

from sidecar.catalogue import provider_rows
from tests.support import documents, fixtures
from tests.support.in_process import InProcess
from tests.support.lines import Line, Object
from tests.support.program import Program

ROW = provider_rows.read_providers()["replay"]
USER: Object = {"role": "user", "content": "Hi"}
AT_ONCE: Object = {"provider_options": {"pace_ms": 0}, "retry": {"max_attempts": 1}}
ENDINGS = {
    "text": "stop",
    "long": "stop",
    "slow": "stop",
    "reasoning": "stop",
    "citations": "stop",
    "files": "stop",
    "tool_call": "tool_calls",
    "parallel_tools": "tool_calls",
    "tool_loop": "tool_calls",
    "malformed_tool": "tool_calls",
    "length": "length",
    "refusal": "refusal",
    "content_filter": "content_filter",
    "paused": "paused",
    "interrupted": "stream_interrupted",
    "silent": "timeout",
    "rate_limited": "rate_limited",
    "overloaded": "provider_overloaded",
    "provider_error": "provider_error",
    "auth_failed": "auth_failed",
    "quota_exceeded": "quota_exceeded",
    "context_length_exceeded": "context_length_exceeded",
    "model_not_found": "model_not_found",
}
"""The finish reason or the error code by case."""


@pytest.fixture
def sidecar(shared: Program) -> Program:
    """Return one process for all tests."""
    return shared


def play(sidecar: Program, model: str, *messages: Object, **more: Any) -> list[Line]:
    options = AT_ONCE | more.pop("options", {})
    params = {"model": model, "messages": [USER, *messages], "options": options}
    return sidecar.stream(sidecar.send("stream_chat", params, provider="replay", **more))


def ending(lines: list[Line]) -> str:
    last = lines[-1].data
    return str(last["error"]["code"] if "error" in last else last["data"]["finish_reason"])


def chunks(lines: list[Line], kind: str) -> list[Object]:
    return [line.data["data"] for line in lines if "data" in line.data and line.data["data"]["type"] == kind]


def test_every_case_is_known_here_and_described() -> None:
    assert ROW.cases.keys() == ENDINGS.keys()
    text = documents.read("protocol/PROTOCOL.md")
    for name, case in ROW.cases.items():
        assert f"| `{name}` | {case.name}. |" in text


def test_every_case_has_its_exchanges() -> None:
    recorded = {case.name for case in fixtures.cases() if case.has_reply}
    for case in ROW.cases.values():
        assert {case.exchange, case.after_results or case.exchange} <= recorded


@pytest.mark.parametrize("model", ROW.cases)
def test_a_case_ends_as_its_name_says(sidecar: Program, model: str) -> None:
    lines = play(sidecar, model, timeout=2000)
    assert ending(lines) == ENDINGS[model]
    assert sidecar.ask("list_providers")["success"]


def test_a_failure_does_not_hold_up_the_next_case(sidecar: Program) -> None:
    for _ in range(12):
        assert ending(play(sidecar, "rate_limited")) == "rate_limited"
        assert ending(play(sidecar, "overloaded")) == "provider_overloaded"
    assert ending(play(sidecar, "text")) == "stop"


RESULT: Object = {"role": "tool", "content": [{"type": "tool_result", "id": "toolu_01", "content": "7 degrees"}]}


@pytest.mark.parametrize("model", ["tool_call", "parallel_tools"])
def test_a_tool_loop_comes_to_its_end(sidecar: Program, model: str) -> None:
    first = play(sidecar, model)
    called = chunks(first, "tool_call")
    assert called
    answer = chunks(first, "done")[0]["message"]
    results = [{"type": "tool_result", "id": each["tool_call"]["id"], "content": "7"} for each in called]
    second = play(sidecar, model, answer, {"role": "tool", "content": results})
    assert ending(second) == "stop"
    # A new question begins anew.
    again = play(
        sidecar, model, answer, {"role": "tool", "content": results}, chunks(second, "done")[0]["message"], USER
    )
    assert ending(again) == "tool_calls"


def test_one_case_calls_its_tool_for_ever(sidecar: Program) -> None:
    answer = chunks(play(sidecar, "tool_loop"), "done")[0]["message"]
    assert ending(play(sidecar, "tool_loop", answer, RESULT)) == "tool_calls"


def test_a_text_that_stalls_can_be_cancelled(sidecar: Program) -> None:
    params = {"model": "silent", "messages": [USER], "options": AT_ONCE}
    asked = sidecar.send("stream_chat", params, provider="replay")
    sidecar.chunk(asked, 1)
    assert ending(play(sidecar, "text")) == "stop"
    assert sidecar.ask("cancel", {"id": asked})["data"]["found"]
    *sent, last = sidecar.stream(asked)
    assert chunks(sent, "content")
    assert (last.data["error"]["code"], last.data["error"]["partial"]) == ("cancelled", True)


@pytest.mark.parametrize(("pace_ms", "at_least"), [(0, 0.0), (100, 0.5)])
def test_the_pace_is_an_option(sidecar: Program, pace_ms: int, at_least: float) -> None:
    lines = play(sidecar, "text", options={"provider_options": {"pace_ms": pace_ms}})
    total_ms = lines[-1].data["data"]["timings"]["total_ms"]
    assert at_least * 1000 <= total_ms <= at_least * 1000 + 900


@pytest.mark.parametrize("pace_ms", ["CANARY-fast", -1, 1.5, True, 60_001])
def test_a_pace_that_is_none_is_refused(sidecar: Program, pace_ms: object) -> None:
    error = play(sidecar, "text", options={"provider_options": {"pace_ms": pace_ms}})[-1].data["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "params.options.provider_options.pace_ms")


@pytest.mark.parametrize(
    ("model", "similar"),
    [("tool", "tool_call"), ("nowire/text", None), ("interupted", "interrupted"), ("openai_chat/nex", None)],
)
def test_an_unknown_case_is_told_with_similar_ones(sidecar: Program, model: str, similar: str | None) -> None:
    error = play(sidecar, model)[-1].data["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "params.model")
    assert "wire" not in error["message"]
    if similar:
        assert similar in error["hint"]
        assert error["hint"].count(",") <= 2


def test_the_cases_come_first_in_the_list_and_are_described(sidecar: Program) -> None:
    models = sidecar.ask("list_models", provider="replay")["data"]["models"]
    assert [each["id"] for each in models[: len(ENDINGS)]] == [*ROW.cases]
    assert all(each["name"] and each["kind"] == "chat" for each in models[: len(ENDINGS)])
    completions = [each for each in models if each["kind"] == "completion"]
    assert completions[0]["id"] == "completion"
    rest = [each for each in models[len(ENDINGS) :] if each not in completions]
    recordings = {each["id"]: each["name"] for each in rest}
    assert {each["kind"] for each in rest} == {"recording"}
    assert recordings["anthropic_messages/error_429"] == "rate_limited (429)"
    assert recordings["anthropic_messages/host_tool_call"] == "tool_calls: text, tool_call"
    assert all(recordings.values())


def test_what_was_played_is_not_in_the_ledger(tmp_path: Path) -> None:
    with InProcess(tmp_path) as sidecar:
        play(sidecar, "text")
        play(sidecar, "auth_failed")
        assert sidecar.ask("usage_report")["data"]["totals"]["requests"] == 0


def test_the_cases_are_there_beside_the_user_s_own_recordings(tmp_path: Path) -> None:
    own = tmp_path / "recorded" / "anthropic_messages" / "mine"
    own.mkdir(parents=True)
    (own / "response.sse").write_bytes((fixtures.ROOT / "anthropic_messages" / "text" / "response.sse").read_bytes())
    env = InProcess(tmp_path).env | {"SIDECAR_REPLAY_DIR": str(tmp_path / "recorded")}
    with InProcess(tmp_path, env=env) as sidecar:
        assert ending(play(sidecar, "anthropic_messages/mine")) == "stop"
        assert ending(play(sidecar, "tool_call")) == "tool_calls"
        assert ending(play(sidecar, "anthropic_messages/error_401")) == "model_not_found"


def test_a_limit_that_expires_in_a_silent_answer_names_the_phase(sidecar: Program) -> None:
    lines = play(sidecar, "silent", options={"timeouts": {"total_ms": 500}})
    error = lines[-1].data["error"]
    assert (error["code"], error["reason"], error["phase"], error["partial"]) == ("timeout", "deadline", "idle", True)


@pytest.mark.parametrize("option", ["idle_ms", "progress_ms"])
def test_a_silent_answer_reaches_the_time_limits_of_the_request(sidecar: Program, option: str) -> None:
    error = play(sidecar, "silent", options={"timeouts": {option: 300}})[-1].data["error"]
    assert (error["code"], error["phase"], error["partial"]) == ("timeout", "idle", True)
    assert "reason" not in error
