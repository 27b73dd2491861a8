"""Answers that break off: what the error says of them, and how they are gone on with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.environment import environment
from tests.support.fake_provider import RESET, STALL, Provider, Step
from tests.support.in_process import InProcess
from tests.support.lines import Object, text
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, OPENAI, Shape, document, opened, stream

PREFILLED, MODERN = "claude-haiku-4-5", "claude-opus-4-8"


@pytest.fixture
def sidecar(shared: Program) -> Program:
    """Return one process for all tests."""
    return shared


@pytest.fixture
def provider(shared: Program) -> Provider:
    """Return its provider as if nothing had come yet."""
    assert shared.provider
    shared.provider.forget()
    return shared.provider


def cut(shape: Shape, *pieces: str) -> list[Step]:
    return [*shape.begun(*pieces), b"0\r\n\r\n"]


def interrupted(sidecar: Program, params: Object, provider: str) -> Object:
    """Return the error of a chat that breaks off."""
    error: Object = sidecar.reply(sidecar.send("stream_chat", params, provider=provider))["error"]
    assert (error["code"], error["partial"]) == ("stream_interrupted", True)
    return error


def go_on(params: Object, error: Object) -> Object:
    """Return the parameters of `resume`, as a host makes them."""
    return (
        params
        | {"partial_message": error["partial_message"]}
        | {name: value for name, value in error["resume"].items() if name != "guarantee"}
    )


@pytest.mark.parametrize(
    ("shape", "model", "method", "guarantee"),
    [
        (ANTHROPIC, PREFILLED, "prefill", "near_exact"),
        (ANTHROPIC, MODERN, "continue_prompt", "approximate"),
        (OPENAI, "gpt-x", "continue_prompt", "approximate"),
    ],
)
def test_an_answer_is_gone_on_with(
    sidecar: Program, provider: Provider, shape: Shape, model: str, method: str, guarantee: str
) -> None:
    provider.play_in_turn(model, cut(shape, "one ", "two "), shape.answer("three"))
    params = sidecar.params(model, shape)
    error = interrupted(sidecar, params, shape.provider)
    assert error["resume"] == {"method": method, "guarantee": guarantee}
    assert error["partial_message"] == {"role": "assistant", "content": [{"type": "text", "text": "one two "}]}
    lines = sidecar.stream(sidecar.send("resume", go_on(params, error), provider=shape.provider))
    assert text(lines) == "three"
    whole = lines[-1].data["data"]["message"]["content"]
    assert whole == [{"type": "text", "text": "one twothree" if method == "prefill" else "one two three"}]
    messages = provider.call(model, 1).json["messages"]
    if method == "prefill":
        assert messages[-1]["role"] == "assistant"
        assert said(messages[-1]) == "one two"
    else:
        assert [each["role"] for each in messages[-2:]] == ["assistant", "user"]
        assert said(messages[-2]) == "one two"
        assert "ended with [one two]" in said(messages[-1])


def said(message: Object) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def test_a_model_that_thinks_is_asked_to_go_on(sidecar: Program, provider: Provider) -> None:
    provider.play(PREFILLED, cut(ANTHROPIC, "one"))
    params = sidecar.params(PREFILLED)
    params["options"]["reasoning"] = {"budget_tokens": 2000}
    assert interrupted(sidecar, params, "anthropic")["resume"]["method"] == "continue_prompt"


TOOL = (
    b'event: content_block_start\ndata: {"type":"content_block_start","index":1,"content_block":'
    b'{"type":"tool_use","id":"t1","name":"look","input":{}}}\n\n'
)
ARGUMENTS = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":1,"delta":'
    b'{"type":"input_json_delta","partial_json":"{}"}}\n\n'
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":1}\n\n'
)


def test_a_call_that_was_cut_is_left_out_and_one_that_is_whole_asks_for_a_new_answer(
    sidecar: Program, provider: Provider
) -> None:
    provider.play("m", [*ANTHROPIC.begun("one", TOOL), b"0\r\n\r\n"])
    options = {"tools": [{"name": "look"}]}
    error = interrupted(sidecar, sidecar.params("m", options=options), "anthropic")
    assert error["partial_message"]["content"] == [{"type": "text", "text": "one"}]
    provider.play_in_turn("n", [*ANTHROPIC.begun("one", TOOL + ARGUMENTS), b"0\r\n\r\n"], ANTHROPIC.answer("new"))
    params = sidecar.params("n", options=options)
    error = interrupted(sidecar, params, "anthropic")
    assert [part["type"] for part in error["partial_message"]["content"]] == ["text", "tool_call"]
    assert error["resume"] == {"method": "restart", "guarantee": "none"}
    lines = sidecar.stream(sidecar.send("resume", go_on(params, error), provider="anthropic"))
    assert text(lines) == "new"
    assert said(lines[-1].data["data"]["message"]) == "new"
    assert provider.call("n", 1).json == provider.call("n").json


@pytest.mark.parametrize(("count", "is_repeated"), [(16, True), (17, False)])
def test_an_error_repeats_no_more_than_a_line_can_bear(
    sidecar: Program, provider: Provider, count: int, is_repeated: bool
) -> None:
    provider.play("long", [*opened([ANTHROPIC.opening, *([ANTHROPIC.text("x" * 65536)] * count)]), b"0\r\n\r\n"])
    lines = sidecar.stream(sidecar.send("stream_chat", sidecar.params("long"), provider="anthropic"))
    assert len(text(lines)) == count * 65_536
    error = lines[-1].data["error"]
    assert ("partial_message" in error, error["partial"], error["resume"]["method"]) == (
        is_repeated,
        True,
        "continue_prompt",
    )


def test_nothing_is_kept_of_what_the_host_cancels(sidecar: Program, provider: Provider) -> None:
    request_id = sidecar.chat(provider.play("m", ANTHROPIC.begun("one", STALL)))
    sidecar.chunk(request_id, 1)
    sidecar.ask("cancel", {"id": request_id})
    error = sidecar.reply(request_id)["error"]
    assert (error["code"], error["partial"]) == ("cancelled", True)
    assert not {"resume", "partial_message"} & error.keys()


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({}, "params.method"),
        ({"method": "magic"}, "params.method"),
        ({"method": "prefill"}, "params.partial_message"),
        (
            {"method": "continue_prompt", "partial_message": {"role": "assistant", "content": " "}},
            "params.partial_message",
        ),
        ({"method": "cursor"}, "params.response_id"),
        ({"method": "cursor", "response_id": "a/b"}, "params.response_id"),
        ({"method": "cursor", "response_id": "resp_1"}, "params.method"),
    ],
)
def test_what_cannot_be_gone_on_with_is_refused(sidecar: Program, more: Object, param: str) -> None:
    error = sidecar.ask("resume", sidecar.params("m") | more, provider="anthropic")["error"]
    assert (error["code"], error["param"]) == ("invalid_request", param)


# --- answers that the provider goes on with -----------------------------------------------------


def events(background: bool = True) -> Iterator[bytes]:
    """Yield the events of a response, numbered."""
    head: dict[str, Any] = {"id": "resp_1", "status": "in_progress", "model": "gpt-x", "background": background}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    content = [{"type": "output_text", "text": "one two three", "annotations": []}]
    ended = head | {
        "status": "completed",
        "output": [message | {"content": content}],
        "usage": {"input_tokens": 5, "output_tokens": 3},
    }
    listed: list[Object] = [
        {"type": "response.created", "response": head},
        {"type": "response.output_item.added", "output_index": 0, "item": message | {"content": []}},
        *(
            {
                "type": "response.output_text.delta",
                "output_index": 0,
                "content_index": 0,
                "item_id": "msg_1",
                "delta": word,
            }
            for word in ("one ", "two ", "three")
        ),
        {"type": "response.completed", "response": ended},
    ]
    for number, event in enumerate(listed):
        yield b"data: %s\n\n" % json.dumps({**event, "sequence_number": number}).encode()


EVENTS = list(events())


def background(sidecar: Program, model: str) -> Object:
    assert sidecar.provider
    params = sidecar.params(model, OPENAI)
    params["options"] = {
        "wire": "openai_responses",
        "provider_options": {"background": True, "store": True},
        "timeouts": {"idle_ms": 500},
    }
    return params


REST = "/v1/responses/resp_1?stream=true"


@pytest.mark.parametrize("end", [b"0\r\n\r\n", RESET, STALL], ids=["cut", "reset", "stall"])
def test_an_answer_that_goes_on_is_taken_up_unseen(sidecar: Program, provider: Provider, end: Step) -> None:
    gate = provider.gate()
    provider.play("m", [*opened(EVENTS[:3]), gate, end])
    provider.play(f"{REST}&starting_after=2", [*opened(EVENTS[3:4]), b"0\r\n\r\n"])
    provider.play(f"{REST}&starting_after=3", stream(EVENTS[4:]))
    request_id = sidecar.send("stream_chat", background(sidecar, "m"), provider="openai")
    sidecar.chunk(request_id, 1)
    gate.open()
    lines = sidecar.stream(request_id)
    assert text(lines) == "one two three"
    assert said(lines[-1].data["data"]["message"]) == "one two three"
    assert lines[-1].data["data"]["usage"]["output_tokens"] == 3
    assert provider.call(f"{REST}&starting_after=2").target.startswith("GET ")


def test_an_answer_that_cannot_be_taken_up_now_can_be_later(sidecar: Program, provider: Provider) -> None:
    provider.play("m", [*opened(EVENTS[:4]), b"0\r\n\r\n"])
    provider.play(f"{REST}&starting_after=3", document({"error": {"message": "Down."}}, 503))
    params = background(sidecar, "m")
    request_id = sidecar.send("stream_chat", params, provider="openai")
    error = sidecar.reply(request_id)["error"]
    assert error["resume"] == {"method": "cursor", "guarantee": "exact", "response_id": "resp_1", "starting_after": 3}
    assert said(error["partial_message"]) == "one two "
    assert len(provider.calls(f"{REST}&starting_after=3")) == 3
    provider.play(REST, stream(EVENTS))
    lines = sidecar.stream(sidecar.send("resume", go_on(params, error), provider="openai"))
    assert text(lines) == "three"
    assert said(lines[-1].data["data"]["message"]) == "one two three"


def test_an_answer_that_goes_on_is_ended_when_the_host_cancels_it(sidecar: Program, provider: Provider) -> None:
    provider.play("m", [*opened(EVENTS[:3]), STALL])
    provider.play("/v1/responses/resp_1/cancel", document({"id": "resp_1", "status": "cancelled"}))
    request_id = sidecar.send("stream_chat", background(sidecar, "m"), provider="openai")
    sidecar.chunk(request_id, 1)
    sidecar.ask("cancel", {"id": request_id})
    assert sidecar.stream(request_id)[-1].code == "cancelled"
    assert provider.call("/v1/responses/resp_1/cancel").target.startswith("POST ")


@pytest.mark.parametrize("again", [True, False], ids=["asked again", "given up"])
def test_an_answer_of_which_nobody_has_seen_anything_is_ended(tmp_path: Path, provider: Provider, again: bool) -> None:
    # It would be paid for beside the one that comes in its place.
    provider.play_in_turn("m", [*opened(EVENTS[:1]), RESET if again else STALL], stream(EVENTS))
    provider.play(f"{REST}&starting_after=0", document({"error": {"message": "Down."}}, 503))
    provider.play("/v1/responses/resp_1/cancel", document({"id": "resp_1", "status": "cancelled"}))
    with InProcess(tmp_path, provider, env=environment(tmp_path, SIDECAR_MAX_ATTEMPTS="2")) as sidecar:
        params = background(sidecar, "m")
        if not again:
            params["options"]["timeouts"] = {"total_ms": 1000}
        lines = sidecar.stream(sidecar.send("stream_chat", params, provider="openai"))
        assert lines[-1].code == (None if again else "timeout")
        assert provider.call("/v1/responses/resp_1/cancel").target.startswith("POST ")


def test_an_answer_that_has_reached_its_limit_is_ended(sidecar: Program, provider: Provider) -> None:
    provider.play("m", [*opened(EVENTS[:4]), STALL])
    provider.play("/v1/responses/resp_1/cancel", document({"id": "resp_1", "status": "cancelled"}))
    params = background(sidecar, "m")
    params["options"]["token_limit"] = 1
    lines = sidecar.stream(sidecar.send("stream_chat", params, provider="openai"))
    assert lines[-1].data["data"]["provider_finish_reason"] == "token_limit"
    assert provider.call("/v1/responses/resp_1/cancel").target.startswith("POST ")


def test_an_answer_that_could_not_be_taken_up_again_is_left_alone(sidecar: Program, provider: Provider) -> None:
    provider.play(REST, [*opened(EVENTS[:1]), RESET])
    provider.play(f"{REST}&starting_after=0", document({"error": {"message": "Down."}}, 503))
    params = background(sidecar, "m") | {"method": "cursor", "response_id": "resp_1", "starting_after": 3}
    assert sidecar.reply(sidecar.send("resume", params, provider="openai"))["error"]["partial"] is False
    sidecar.stream(sidecar.chat(provider.play("next", ANTHROPIC.answer("fine"))))
    assert not provider.calls("/v1/responses/resp_1/cancel")


def test_a_plain_response_has_no_cursor(sidecar: Program, provider: Provider) -> None:
    provider.play("m", [*opened(list(events(background=False))[:3]), b"0\r\n\r\n"])
    params = background(sidecar, "m")
    params["options"]["provider_options"] = {}
    assert interrupted(sidecar, params, "openai")["resume"]["method"] == "continue_prompt"
