"""What a provider itself says that a request cost: it comes before our own prices, however the request ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_provider import CLOSE, STALL, Provider, Step
from tests.support.fake_services import Answer, Services, document
from tests.support.in_process import online
from tests.support.ledgers import MODEL
from tests.support.lines import Object
from tests.support.program import Program
from tests.support.provider_rows import params
from tests.support.reply_scripts import ANTHROPIC, OPENAI, stream

BILLED = {"copilot_usage": {"total_nano_aiu": 123_456_789, "token_details": [{"token_type": "input"}]}}
NOTHING = {"copilot_usage": {"total_nano_aiu": 0}}

OPENAI_USAGE = {"prompt_tokens": 10, "completion_tokens": 7}
CLAUDE_USAGE = {"input_tokens": 10, "output_tokens": 7}


def events(*said: Object) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(each).encode() for each in said)


def chat_events(billed: Object) -> bytes:
    choice = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
    return events({"choices": [choice]}, {"choices": [], "usage": OPENAI_USAGE} | billed) + b"data: [DONE]\n\n"


def response_events(billed: Object) -> bytes:
    return events({"type": "response.completed", "response": {"output": [], "usage": CLAUDE_USAGE}} | billed)


def message_events(billed: Object) -> bytes:
    return events(
        {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1}} | NOTHING},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": CLAUDE_USAGE} | billed,
        {"type": "message_stop"},
    )


WAYS = {"openai_chat": chat_events, "openai_responses": response_events, "anthropic_messages": message_events}
"""Wire → a whole answer that is billed."""


def billed(services: Services, folder: Path, wire: str, answer: Answer) -> Object:
    services.answer("GET *", document({"data": []}))
    services.answer("POST *", answer)
    with online(services, folder, GH_COPILOT_TOKEN="CANARY-github") as sidecar:
        given = params(wire) | {"model": "gpt-5.6-luna"}
        reply = sidecar.ask("generate", given, provider="copilot")
        assert reply["success"], reply
        data: Object = reply["data"]
        assert sidecar.ask("usage_report")["data"]["totals"]["cost_usd"] == data["cost"]["usd"]
    return data


def sse(body: bytes) -> Answer:
    return Answer(body, headers={"content-type": "text/event-stream"})


@pytest.mark.parametrize("wire", WAYS)
def test_credits_that_were_billed_are_the_cost(services: Services, tmp_path: Path, wire: str) -> None:
    cost = billed(services, tmp_path, wire, sse(WAYS[wire](BILLED)))["cost"]
    # A credit is a cent.
    assert (cost["usd"], cost["credits"], cost["source"]) == ("0.00123456789", "0.123456789", "provider")


def test_credits_of_an_answer_in_one_piece_count_too(services: Services, tmp_path: Path) -> None:
    choice = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}
    cost = billed(services, tmp_path, "openai_chat", document({"choices": [choice], "usage": OPENAI_USAGE} | BILLED))
    assert (cost["cost"]["usd"], cost["cost"]["source"]) == ("0.00123456789", "provider")


@pytest.mark.parametrize("said", [{}, NOTHING, {"copilot_usage": 5}, {"copilot_usage": {"total_nano_aiu": -1}}])
def test_without_such_a_word_our_own_price_counts(services: Services, tmp_path: Path, said: Object) -> None:
    cost = billed(services, tmp_path, "openai_chat", sse(chat_events(said)))["cost"]
    assert cost["source"] == "catalogue"
    assert float(cost["usd"]) > 0
    assert float(cost["credits"]) == pytest.approx(100 * float(cost["usd"]))


def test_an_answer_that_breaks_off_costs_what_its_provider_says(sidecar: Program, provider: Provider) -> None:
    told = events({"choices": [], "usage": OPENAI_USAGE | {"cost": 0.5}}, {"error": {"code": 502, "message": "Oh"}})
    provider.play("gpt-6-sol", stream([OPENAI.opening, OPENAI.text("up"), told]))
    error = sidecar.reply(sidecar.chat("gpt-6-sol", OPENAI))["error"]
    assert (error["cost"]["usd"], error["cost"]["source"]) == ("0.5", "provider")
    assert sidecar.ask("usage_report")["data"]["totals"]["cost_usd"] == "0.5"


@pytest.mark.parametrize("tier", [["flex"], {"type": "flex"}, 5])
def test_a_way_to_be_served_that_is_no_word_costs_no_answer(sidecar: Program, provider: Provider, tier: Any) -> None:
    given = sidecar.params(provider.play("gpt-6-sol", OPENAI.answer("up")), OPENAI)
    given["options"] |= {"provider_options": {"service_tier": tier}}
    reply = sidecar.ask("generate", given, provider="openai")
    assert reply["success"], reply


def call_delta(arguments: str) -> bytes:
    delta = {"type": "input_json_delta", "partial_json": arguments}
    return events({"type": "content_block_delta", "index": 1, "delta": delta})


CALL = {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "c", "name": "write"}}


@pytest.mark.parametrize(
    ("steps", "output_tokens", "usd", "source"),
    [
        (["x" * 4000, CLOSE], 1000, "0.01002", "estimate"),
        (["x" * 400, events(CALL), call_delta('{"a": "' + "x" * 3593), CLOSE], 1000, "0.01002", "estimate"),
        (["x" * 4000, events({"type": "message_delta", "usage": {"output_tokens": 990}}), CLOSE], 990, "0.00992", None),
        ([events({"type": "error", "error": {"type": "api_error"}})], 1, "0.00003", None),
    ],
    ids=["a text", "a call that is cut", "counted since", "before a word"],
)
def test_a_count_from_before_the_answer_is_none_of_it(
    sidecar: Program,
    provider: Provider,
    steps: list[Step | str],
    output_tokens: int,
    usd: str,
    source: str | None,
) -> None:
    provider.play(MODEL, ANTHROPIC.begun(*steps))
    given = sidecar.params(MODEL)
    given["options"] |= {"retry": {"max_attempts": 1}, "tools": [{"name": "write"}]}
    error = sidecar.reply(sidecar.send("stream_chat", given, provider="anthropic"))["error"]
    assert (error["usage"]["input_tokens"], error["usage"]["output_tokens"]) == (10, output_tokens)
    assert error["usage"].get("estimated", False) is (source == "estimate")
    # Ten tokens of the prompt, at 2 dollars a million, and what was written, at 10.
    assert (error["cost"]["usd"], error["cost"]["source"]) == (usd, source or "catalogue")
    assert sidecar.ask("usage_report")["data"]["totals"]["cost_usd"] == usd


@pytest.mark.parametrize("end", ["cancelled", "timeout"])
def test_an_answer_that_its_host_leaves_is_estimated_from_what_came(
    sidecar: Program, provider: Provider, end: str
) -> None:
    provider.play("gpt-6-sol", stream([OPENAI.opening, OPENAI.text("x" * 4000), STALL]))
    limits = {"timeout": 2000} if end == "timeout" else {}
    asked = sidecar.send("stream_chat", sidecar.params("gpt-6-sol", OPENAI), provider="openai", **limits)
    sidecar.chunk(asked, 1)
    if end == "cancelled":
        sidecar.ask("cancel", {"id": asked})
    error = sidecar.reply(asked)["error"]
    assert error["code"] == end
    assert (error["usage"]["output_tokens"], error["usage"]["estimated"]) == (1000, True)
    assert 0 < error["usage"]["input_tokens"] < 20
    assert error["cost"]["source"] == "estimate"
    priced = {"model": "openai/gpt-6-sol", "usage": error["usage"]}
    assert error["cost"]["usd"] == sidecar.ask("calculate_cost", priced)["data"]["usd"]
    totals = sidecar.ask("usage_report")["data"]["totals"]
    assert (totals["cost_usd"], totals["output_tokens"]) == (error["cost"]["usd"], 1000)


def test_a_request_that_is_left_before_a_word_has_no_usage(sidecar: Program, provider: Provider) -> None:
    provider.play("gpt-6-sol", [STALL])
    asked = sidecar.chat("gpt-6-sol", OPENAI)
    provider.call("gpt-6-sol")
    sidecar.ask("cancel", {"id": asked})
    assert "usage" not in sidecar.reply(asked)["error"]
