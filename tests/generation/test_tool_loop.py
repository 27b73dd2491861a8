"""Chats that go on with the results of their tools, in one stream."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support import app
from tests.support.fake_provider import RESET, Provider, Step
from tests.support.in_process import InProcess
from tests.support.lines import Id, Line, Object, text
from tests.support.program import Program, write_home
from tests.support.reply_scripts import ANTHROPIC, SSE, stream

TOOLS = [{"name": "look_up", "parameters": {"type": "object", "properties": {"word": {"type": "string"}}}}]


def event(**fields: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (fields["type"].encode(), json.dumps(fields).encode())


def events(*ids: str, said: str = "") -> list[Step]:
    """Return the events of an answer that says something and calls tools, for 10 tokens in and 7 out."""
    steps: list[Step] = [ANTHROPIC.opening, ANTHROPIC.text(said), event(type="content_block_stop", index=0)]
    for index, call in enumerate(ids, 1):
        block = {"type": "tool_use", "id": call, "name": "look_up", "input": {}}
        delta = {"type": "input_json_delta", "partial_json": '{"word": "x"}'}
        steps += [
            event(type="content_block_start", index=index, content_block=block),
            event(type="content_block_delta", index=index, delta=delta),
            event(type="content_block_stop", index=index),
        ]
    end = event(type="message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 7})
    return [*steps, end, event(type="message_stop")]


def calling(*ids: str, said: str = "") -> list[Step]:
    """Return that answer as a reply."""
    return stream(events(*ids, said=said))


def begin(sidecar: Program, loop: Object | None = None, *, options: Object | None = None, **envelope: Any) -> Id:
    """Send a chat with a loop."""
    asked = sidecar.params("m")
    asked["options"] |= {"tools": TOOLS, "tool_loop": loop or {}, **(options or {})}
    return sidecar.send("stream_chat", asked, provider="anthropic", **envelope)


def wait_for_round(sidecar: Program, request_id: Id, number: int = 1) -> Object:
    """Return the chunk of that round, waiting for it."""
    index = 0
    while True:
        chunk: Object = sidecar.chunk(request_id, index).data["data"]
        if chunk["type"] == "tool_round" and chunk["round"] == number:
            return chunk
        index += 1


def give(sidecar: Program, request_id: Id, *ids: str, **params: Any) -> Object:
    """Send results for the calls with these ids."""
    results = [{"id": each, "content": f"about {each}"} for each in ids]
    return sidecar.ask("tool_result", {"id": request_id, "results": results} | params)


def types(lines: list[Line]) -> list[str]:
    return [line.data["data"]["type"] for line in lines if "data" in line.data]


def test_a_stream_goes_on_with_the_results(sidecar: Program, provider: Provider) -> None:
    provider.play_in_turn("m", calling("a", "b", said="Let me see. "), calling("c"), ANTHROPIC.answer("Done."))
    request_id = begin(sidecar)
    chunk = wait_for_round(sidecar, request_id)
    assert (chunk["calls"], chunk["message"]["content"][1]["id"]) == (["a", "b"], "a")
    assert give(sidecar, request_id, "b")["data"] == {"missing": ["a"]}
    assert give(sidecar, request_id, "a")["data"] == {"missing": []}
    assert wait_for_round(sidecar, request_id, 2)["calls"] == ["c"]
    give(sidecar, request_id, "c")
    lines = sidecar.stream(request_id)
    assert (types(lines).count("start"), types(lines).count("tool_round")) == (1, 2)
    assert text(lines) == "Let me see. Done."
    done = lines[-1].data["data"]
    assert [each["role"] for each in done["messages"]] == ["assistant", "tool", "assistant", "tool", "assistant"]
    assert [part["id"] for part in done["messages"][1]["content"]] == ["a", "b"]
    assert done["messages"][4] == done["message"]
    assert [each["finish_reason"] for each in done["rounds"]] == ["tool_calls", "tool_calls", "stop"]
    assert (done["usage"]["input_tokens"], done["usage"]["output_tokens"]) == (30, 21)
    assert len(done["attempts"]) == 3
    last = provider.call("m", 2).json["messages"]
    assert [each["role"] for each in last] == ["user", "assistant", "user", "assistant", "user"]
    assert last[2]["content"][0]["content"] == "about a"


def test_what_all_rounds_cost_is_their_sum(sidecar: Program, provider: Provider) -> None:
    asked = sidecar.params("claude-opus-4-8")
    asked["options"] |= {"tools": TOOLS, "tool_loop": {}}
    provider.play_in_turn("claude-opus-4-8", calling("a"), ANTHROPIC.answer("Done."))
    request_id = sidecar.send("stream_chat", asked, provider="anthropic")
    wait_for_round(sidecar, request_id)
    give(sidecar, request_id, "a")
    done = sidecar.stream(request_id)[-1].data["data"]
    one, two = (float(each["cost"]["usd"]) for each in done["rounds"])
    assert float(done["cost"]["usd"]) == pytest.approx(one + two)
    assert one > 0
    assert float(done["cost"]["parts"]["output"]) > 0


@pytest.mark.parametrize(
    ("choice", "sent"),
    [("required", {"type": "any"}), ({"name": "look_up"}, {"type": "tool", "name": "look_up"})],
    ids=["required", "named"],
)
def test_a_call_is_forced_in_the_first_round_alone(
    sidecar: Program, provider: Provider, choice: Any, sent: Object
) -> None:
    provider.play_in_turn("m", calling("a"), ANTHROPIC.answer("Done."))
    request_id = begin(sidecar, options={"tool_choice": choice})
    wait_for_round(sidecar, request_id)
    give(sidecar, request_id, "a")
    assert text(sidecar.stream(request_id)) == "Done."
    first, second = (provider.call("m", number).json.get("tool_choice") for number in (0, 1))
    assert first == sent
    assert second in (None, {"type": "auto"})


@pytest.mark.parametrize("model", ["tool_call", "parallel_tools"])
def test_a_loop_can_be_tried_without_a_key(sidecar: Program, model: str) -> None:
    options = {"tool_loop": {}, "provider_options": {"pace_ms": 0}}
    asked = {"model": model, "messages": [{"role": "user", "content": "Weather?"}], "options": options}
    request_id = sidecar.send("stream_chat", asked, provider="replay")
    give(sidecar, request_id, *wait_for_round(sidecar, request_id)["calls"])
    done = sidecar.stream(request_id)[-1].data["data"]
    assert [each["finish_reason"] for each in done["rounds"]] == ["tool_calls", "stop"]


def test_without_calls_the_loop_is_a_chat(sidecar: Program, provider: Provider) -> None:
    provider.play("m", ANTHROPIC.answer("Done."))
    done = sidecar.stream(begin(sidecar))[-1].data["data"]
    assert done["messages"] == [done["message"]]
    assert len(done["rounds"]) == 1


@pytest.mark.parametrize("given", [[], ["a"]])
def test_a_host_that_has_enough_stops_the_stream(sidecar: Program, provider: Provider, given: list[str]) -> None:
    provider.play("m", calling("a", "b"))
    request_id = begin(sidecar)
    wait_for_round(sidecar, request_id)
    assert give(sidecar, request_id, *given, stop=True)["success"]
    done = sidecar.stream(request_id)[-1].data["data"]
    assert done["finish_reason"] == "tool_calls"
    assert [each["role"] for each in done["messages"]] == ["assistant", "tool"][: 1 + len(given)]
    assert len(provider.calls("m")) == 1


def test_after_the_last_round_the_calls_are_left_to_the_host(sidecar: Program, provider: Provider) -> None:
    provider.play_in_turn("m", calling("a"), calling("b"))
    request_id = begin(sidecar, {"max_rounds": 2})
    wait_for_round(sidecar, request_id)
    give(sidecar, request_id, "a")
    lines = sidecar.stream(request_id)
    assert types(lines).count("tool_round") == 1
    done = lines[-1].data["data"]
    assert (done["finish_reason"], done["message"]["content"][-1]["id"]) == ("tool_calls", "b")


def test_results_that_never_come_end_in_a_timeout(sidecar: Program, provider: Provider) -> None:
    provider.play("m", calling("a", said="Hm."))
    error = sidecar.stream(begin(sidecar, {"result_timeout_ms": 2000}))[-1].data["error"]
    assert (error["code"], error["phase"], error["retryable"], error["partial"]) == (
        "timeout",
        "tool_result",
        False,
        True,
    )
    assert error["elapsed_ms"] >= 2000
    assert (error["usage"]["input_tokens"], error["usage"]["output_tokens"]) == (10, 7)
    assert "partial_message" not in error


def test_the_time_for_results_is_not_the_time_of_the_answer(sidecar: Program, provider: Provider) -> None:
    """A request without a limit of its own may take as long as its rounds and the results may take each."""
    provider.play_in_turn("m", calling("a"), calling("b"), ANTHROPIC.answer("Done."))
    request_id = begin(sidecar, {"result_timeout_ms": 900_000})
    for number, call in enumerate("ab", 1):
        wait_for_round(sidecar, request_id, number)
        sidecar.let_pass(800)
        give(sidecar, request_id, call)
    assert sidecar.stream(request_id)[-1].data["data"]["timings"]["total_ms"] >= 1_600_000


def test_the_limit_of_the_request_holds_while_it_waits(sidecar: Program, provider: Provider) -> None:
    provider.play("m", calling("a"))
    error = sidecar.stream(begin(sidecar, timeout=1500))[-1].data["error"]
    assert (error["code"], error["phase"], error["reason"]) == ("timeout", "tool_result", "deadline")


def test_a_request_that_waits_can_be_cancelled(sidecar: Program, provider: Provider) -> None:
    provider.play("m", calling("a"))
    request_id = begin(sidecar)
    wait_for_round(sidecar, request_id)
    sidecar.ask("cancel", {"id": request_id})
    error = sidecar.reply(request_id)["error"]
    assert (error["code"], error["usage"]["output_tokens"]) == ("cancelled", 7)
    assert give(sidecar, request_id, "a")["error"]["reason"] == "no_such_request"


def test_a_heartbeat_says_that_results_are_waited_for(sidecar: Program, provider: Provider) -> None:
    sidecar.ask("initialize", {"events": ["status"], "heartbeat_ms": 1000})
    provider.play_in_turn("m", calling("a"), ANTHROPIC.answer("Done."))
    request_id = begin(sidecar)
    wait_for_round(sidecar, request_id)
    sidecar.let_pass(3)
    give(sidecar, request_id, "a")
    waits = [each.data["data"] for each in sidecar.stream(request_id) if each.data["data"]["type"] == "status"]
    assert {(each["state"], each["phase"]) for each in waits} == {("waiting", "tool_result")}


def test_no_slot_is_held_while_results_are_waited_for(tmp_path: Path, provider: Provider) -> None:
    home, arguments = write_home(tmp_path, "[limits]\nconcurrency = 1\n")
    with InProcess(home, provider, arguments=arguments) as sidecar:
        provider.play("m", calling("a"))
        waiting = [begin(sidecar) for _ in range(3)]
        for request_id in waiting:
            wait_for_round(sidecar, request_id)
        provider.play("m", ANTHROPIC.answer("Done."))
        for request_id in waiting:
            give(sidecar, request_id, "a")
            assert text(sidecar.stream(request_id)) == "Done."


def test_a_later_round_is_retried_as_a_request_of_its_own(sidecar: Program, provider: Provider) -> None:
    provider.play_in_turn("m", calling("a"), [*ANTHROPIC.begun(), RESET], ANTHROPIC.answer("Done."))
    request_id = begin(sidecar, options={"retry": {"max_attempts": 2}})
    wait_for_round(sidecar, request_id)
    give(sidecar, request_id, "a")
    done = sidecar.stream(request_id)[-1].data["data"]
    assert ["code" in each for each in done["attempts"]] == [False, True, False]


def test_a_later_round_that_breaks_off_says_what_all_have_used(sidecar: Program, provider: Provider) -> None:
    provider.play_in_turn("m", calling("a"), [*ANTHROPIC.begun("Well, "), RESET])
    request_id = begin(sidecar)
    wait_for_round(sidecar, request_id)
    give(sidecar, request_id, "a")
    error = sidecar.stream(request_id)[-1].data["error"]
    assert (error["code"], error["partial"]) == ("stream_interrupted", True)
    assert error["partial_message"]["content"] == [{"type": "text", "text": "Well, "}]
    assert error["usage"]["input_tokens"] == 20


@pytest.mark.anyio
async def test_the_end_of_input_ends_what_waits() -> None:
    asked: Object = {"model": "m", "api_key": "k", "messages": [{"role": "user", "content": "Hi"}]}
    asked["options"] = {"tools": TOOLS, "tool_loop": {}}
    async with app.running() as host:
        for is_late in (False, True):
            host.http.answer(*[each for each in events("a") if isinstance(each, bytes)], content_type=SSE)
            request_id = host.send("stream_chat", asked, provider="anthropic")
            while not is_late and not any("tool_round" in str(line) for line in host.lines):
                await anyio.lowlevel.checkpoint()
            host.app.requests.end_input()
            error = (await host.read_reply(request_id))[-1]["error"]
            assert (error["code"], error["reason"], error["phase"]) == ("timeout", "input_ended", "tool_result")
