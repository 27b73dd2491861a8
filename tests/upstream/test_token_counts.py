"""`count_tokens` with `exact`: who is asked and how often, what is answered, what is remembered."""

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from sidecar.upstream.caches import MAX_TOKEN_COUNTS
from tests.support import corpus
from tests.support.corpus import Exchange
from tests.support.fake_services import Answer, Services, document
from tests.support.in_process import online
from tests.support.lines import CANARY, Object
from tests.support.program import Program
from tests.support.provider_rows import secrets
from tests.support.recorded_requests import READERS, Unsayable, chat_of
from tests.support.token_counts import CHAT, NUMBERS, chat_nobody_asked_before, check_estimate, count

pytestmark = pytest.mark.long

GOOGLE = "https://aiplatform.googleapis.com/v1"
GOOGLE_MODELS = "projects/my-project/locations/global/publishers"

ENDPOINTS = [
    ("anthropic", "claude-sonnet-5-5", "https://api.anthropic.com/v1/messages/count_tokens", {"input_tokens": 42}),
    ("openai", "gpt-6", "https://api.openai.com/v1/responses/input_tokens", {"input_tokens": 42}),
    ("openai", "gpt-4o", "https://api.openai.com/v1/responses/input_tokens", {"input_tokens": 42}),
    (
        "gemini",
        "gemini-3.5-flash",
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-3.5-flash:countTokens",
        {"totalTokens": 42},
    ),
    (
        "vertex",
        "gemini-3.5-flash",
        f"{GOOGLE}beta1/{GOOGLE_MODELS}/google/models/gemini-3.5-flash:countTokens",
        {"totalTokens": 42},
    ),
    (
        "vertex",
        "claude-sonnet-5-5",
        f"{GOOGLE}/{GOOGLE_MODELS}/anthropic/models/count-tokens:rawPredict",
        {"input_tokens": 42},
    ),
    (
        "bedrock",
        "eu.anthropic.claude-sonnet-5-5-v1:0",
        "https://bedrock-runtime.eu-west-1.amazonaws.com/model/anthropic.claude-sonnet-5-5-v1%3A0/count-tokens",
        {"inputTokens": 42},
    ),
]


@pytest.mark.parametrize(("provider", "model", "url", "answer"), ENDPOINTS, ids=lambda value: str(value)[:40])
def test_an_exact_count_is_the_providers_own(
    keyed: Program, services: Services, provider: str, model: str, url: str, answer: Object
) -> None:
    services.answer("POST *", document(answer))
    data = count(keyed, provider, model, exact=True)["data"]
    assert data == {"tokens": 42, "exact": True, "method": "provider", "warnings": []}
    seen = services.only()
    assert (seen.method, seen.url) == ("POST", url)
    assert secrets(seen) == {f"CANARY-{provider}"}
    assert "max_tokens" not in seen.text
    assert "Look a word up." in seen.text


def test_one_that_knows_texts_alone_is_completed_and_said_to_be_an_estimate(keyed: Program, services: Services) -> None:
    services.answer("POST https://api.x.ai/v1/tokenize-text", document({"token_ids": [{}] * 42}))
    data = count(keyed, "xai", "grok-4.3", exact=True)["data"]
    assert (data["exact"], data["method"], data["basis"]) == (False, "provider", "texts of the prompt")
    assert data["tokens"] > 42
    assert data["error_band_pct"] > 0
    assert services.only().json["model"] == "grok-4.3"
    text = count(keyed, "xai", "grok-4.3", text="Hello", exact=True)["data"]
    assert text == {"tokens": 42, "exact": True, "method": "provider", "warnings": []}


FAILURES = [
    ("anthropic", "claude-sonnet-5-5", 400, {"error": {"type": "invalid_request_error"}}, "invalid_request"),
    ("anthropic", "claude-sonnet-5-5", 404, {"error": {"type": "not_found_error"}}, "model_not_found"),
    ("openai", "gpt-6", 401, {"error": {"message": "no", "code": "invalid_api_key"}}, "auth_failed"),
    ("openai", "gpt-4o", 429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, "rate_limited"),
    ("gemini", "gemini-3.5-flash", 503, {"error": {"status": "UNAVAILABLE"}}, "provider_overloaded"),
    ("vertex", "claude-sonnet-5-5", 500, {}, "provider_error"),
    ("bedrock", "anthropic.claude-sonnet-5-5-v1:0", 429, {"message": "Too many requests"}, "rate_limited"),
    ("xai", "grok-4.3", 500, {}, "provider_error"),
    ("anthropic", "claude-sonnet-5-5", 200, {"tokens": 42}, "provider_error"),
]


@pytest.mark.parametrize(("provider", "model", "status", "answer", "code"), FAILURES)
def test_an_exact_count_that_fails_is_an_error_and_no_guess(
    keyed: Program, services: Services, provider: str, model: str, status: int, answer: Object, code: str
) -> None:
    services.answer("POST *", document(answer, status, retry_after="3"))
    reply = count(keyed, provider, model, exact=True)
    assert not reply["success"], reply
    error = reply["error"]
    assert (error["code"], error["provider"], error["model"]) == (code, provider, model)
    assert error["attempts"] == 1
    assert error.get("retry_after_ms") == (3000 if status != 200 else None)


TRIES = {"options": {"retry": {"max_attempts": 3}}}

PASSING = [
    ("anthropic", "claude-sonnet-5-5", 529, {"error": {"type": "overloaded_error"}}, {"input_tokens": 42}),
    ("openai", "gpt-6", 500, {}, {"input_tokens": 42}),
    ("gemini", "gemini-3.5-flash", 503, {"error": {"status": "UNAVAILABLE"}}, {"totalTokens": 42}),
    ("bedrock", "anthropic.claude-sonnet-5-5-v1:0", 503, {"message": "Not now"}, {"inputTokens": 42}),
    ("openai", "gpt-6", 200, "no count", {"input_tokens": 42}),
]


@pytest.mark.parametrize(("provider", "model", "status", "failure", "answer"), PASSING)
def test_an_exact_count_is_asked_again_as_a_chat_is(
    keyed: Program, services: Services, provider: str, model: str, status: int, failure: Any, answer: Object
) -> None:
    services.answer("POST *", document(failure, status), document(answer))
    data = count(keyed, provider, model, exact=True, **TRIES)["data"]
    assert (data["tokens"], data["exact"]) == (42, True)
    first, second = services.asked()
    assert (first.url, first.body) == (second.url, second.body)


def test_an_exact_count_is_not_asked_for_ever(keyed: Program, services: Services) -> None:
    services.answer("POST *", document({}, 500))
    error = count(keyed, "openai", "gpt-6", exact=True, **TRIES)["error"]
    assert (error["code"], error["attempts"]) == ("provider_error", 3)
    services.forget()
    services.answer("POST *", document({"error": {"code": "invalid_api_key"}}, 401))
    assert count(keyed, "openai", "gpt-6", exact=True, **TRIES)["error"]["attempts"] == 1


def test_a_credential_that_is_refused_is_renewed_once(services: Services, tmp_path: Path) -> None:
    """As for a chat: here by a clock that is wrong."""
    ours, theirs = (f"{datetime.now(UTC) + timedelta(hours=hours):%Y%m%dT%H%M%SZ}" for hours in (0, 5))
    text = f"Signature expired: {ours} is now earlier than x ({theirs} - 5 min.)"
    refused = document({"message": text}, 403, x_amzn_errortype="InvalidSignatureException")
    services.answer("POST *", refused, document({"inputTokens": 42}))
    keys = {"AWS_ACCESS_KEY_ID": "AKIAMADEUP", "AWS_SECRET_ACCESS_KEY": "made-up", "AWS_REGION": "eu-west-1"}
    with online(services, tmp_path, **keys) as sidecar:
        data = count(sidecar, "bedrock", "anthropic.claude-sonnet-5-5-v1:0", exact=True)["data"]
    assert (data["tokens"], data["exact"]) == (42, True)
    first, second = services.asked()
    assert first.body == second.body
    assert first.headers["x-amz-date"][:11] != second.headers["x-amz-date"][:11]


def test_a_count_and_the_chats_of_a_credential_wait_at_one_gate(keyed: Program, services: Services) -> None:
    limited = document({"error": {"type": "rate_limit_error"}}, 429, retry_after="1")
    services.answer("POST *", limited, document({"input_tokens": 42}))
    given = {"model": "claude-sonnet-5-5", "api_key": f"{CANARY}-of-a-gate", "exact": True} | CHAT | TRIES
    request_id, start = keyed.send("count_tokens", given, provider="anthropic"), time.monotonic()
    services.wait(lambda: len(services.seen) == 1, "the first try")
    gates: list[Object] = []
    while not gates and not keyed.lines_of(request_id):
        rows = keyed.ask("list_providers")["data"]["providers"]
        gates = next(row for row in rows if row["id"] == "anthropic").get("gates", [])
    assert [gate["state"] for gate in gates] == ["limited"]
    chat = {name: value for name, value in given.items() if name != "exact"}
    # What answers it is no chat: when that comes is what counts.
    keyed.reply(keyed.send("generate", chat, provider="anthropic"))
    assert time.monotonic() - start >= 1
    assert keyed.reply(request_id)["data"]["tokens"] == 42
    assert len(services.asked("POST */count_tokens")) == 2


def test_a_count_that_the_provider_has_made_is_not_asked_for_again(keyed: Program, services: Services) -> None:
    services.answer("POST *", document({}, 500), document({"input_tokens": 42}))
    given: Object = chat_nobody_asked_before() | {"exact": True}
    assert count(keyed, "openai", "gpt-6", **given)["error"]["code"] == "provider_error"
    plain = {"tokens": 42, "exact": True, "method": "provider", "warnings": []}
    assert count(keyed, "openai", "gpt-6", **given)["data"] == plain
    assert count(keyed, "openai", "gpt-6", **given)["data"] == plain | {"cached": True}
    assert len(services.asked()) == 2
    longer = {"messages": [*given["messages"], {"role": "user", "content": "more"}]}
    elsewhere = {"base_url": "https://api.openai.example/v1", "api_key": f"{CANARY}-for-elsewhere"}
    changes: list[Object] = [{"api_key": f"{CANARY}-another"}, longer, {"options": {}}, elsewhere]
    for asked_anew in changes:
        assert count(keyed, "openai", "gpt-6", **given | asked_anew)["data"] == plain
    assert count(keyed, "openai", "gpt-5.5", **given)["data"] == plain
    assert len(services.asked()) == 7
    services.answer("POST *", document({"token_ids": [{}] * 7}))
    texts = {"text": f"Hello {next(NUMBERS)}", "exact": True}
    assert "cached" not in count(keyed, "xai", "grok-4.3", **texts)["data"]
    assert count(keyed, "xai", "grok-4.3", **texts)["data"]["cached"] is True


def test_no_more_counts_are_remembered_than_a_few_hundred(keyed: Program, services: Services) -> None:
    services.answer("POST *", document({"input_tokens": 42}))
    given = chat_nobody_asked_before() | {"exact": True}
    for expected in (False, True):
        assert ("cached" in count(keyed, "openai", "gpt-6", **given)["data"]) is expected
    ids = [
        keyed.send("count_tokens", {"model": "gpt-6", "exact": True} | chat_nobody_asked_before(), provider="openai")
        for _ in range(MAX_TOKEN_COUNTS)
    ]
    assert not any("cached" in keyed.reply(each)["data"] for each in ids)
    assert "cached" not in count(keyed, "openai", "gpt-6", **given)["data"]


UNABLE = [
    ("bedrock", "eu.amazon.nova-2-lite-v1:0", 400, {"message": "The provided model doesn't support counting tokens."}),
    ("bedrock", "eu.anthropic.claude-sonnet-5-5-v1:0", 403, {"message": "not authorized: bedrock:CountTokens"}),
    ("vertex", "claude-sonnet-5-5", 404, {"error": {"code": 404, "status": "NOT_FOUND"}}),
    ("vertex", "claude-sonnet-5-5", 400, {"error": {"code": 400, "status": "FAILED_PRECONDITION"}}),
]


@pytest.mark.parametrize(("provider", "model", "status", "answer"), UNABLE)
def test_a_place_that_does_not_count_this_model_is_stood_in_for(
    keyed: Program, services: Services, provider: str, model: str, status: int, answer: Object
) -> None:
    kind = {400: "ValidationException", 403: "AccessDeniedException", 404: ""}[status]
    services.answer("POST *", document(answer, status, x_amzn_errortype=kind))
    data = count(keyed, provider, model, exact=True)["data"]
    check_estimate(data)
    assert [warning["code"] for warning in data["warnings"]] == ["estimated"]


def test_a_provider_without_a_count_is_not_asked(keyed: Program, services: Services) -> None:
    data = count(keyed, "groq", "llama-3.3-70b", exact=True)["data"]
    check_estimate(data)
    assert [warning["code"] for warning in data["warnings"]] == ["estimated"]
    assert services.asked() == []


def test_an_exact_count_needs_a_credential_and_an_estimate_none(bare: Program, services: Services) -> None:
    assert count(bare, "anthropic", "claude-sonnet-5-5", exact=True)["error"]["code"] == "auth_required"
    check_estimate(count(bare, "anthropic", "claude-sonnet-5-5")["data"])
    # Nor a setting that its address would be made of.
    check_estimate(count(bare, "bedrock", "anthropic.claude-sonnet-5-5-v1:0")["data"])
    assert services.asked() == []


# --- recorded counts -------------------------------------------------------------------------

RECORDED = [
    each
    for each in corpus.exchanges("anthropic", "bedrock", "gemini", "openai", "vertex")
    if each.api.endswith("count_tokens")
]


def asked(exchange: Exchange) -> Object:
    """Return the params that ask what *exchange* has asked."""
    try:
        chat = chat_of(exchange)
    except Unsayable:
        # A tool of the provider's own: it goes through beside a message.
        chat = None
    if chat is None:
        return {"messages": [{"role": "user", "content": "Hi"}]}
    plain: Object = msgspec.to_builtins(chat)
    return {"messages": plain["messages"], "options": plain.get("options", {})}


@pytest.mark.skipif(not RECORDED, reason="no recordings at hand")
@pytest.mark.parametrize("exchange", RECORDED, ids=lambda each: each.name)
def test_a_recorded_count_is_given_to_the_host(keyed: Program, services: Services, exchange: Exchange) -> None:
    services.answer("POST *", Answer(exchange.body, exchange.status, {"content-type": "application/json"}))
    recorded = str(exchange.meta["request"]["path"]).partition("?")[0]
    # Only there is the name whole.
    named = re.search(r"/models?/(.+?)(?::countTokens|/count-tokens)$", recorded)
    model = named[1] if named else str(exchange.meta["model"])
    reply = count(keyed, exchange.provider, model, **asked(exchange), exact=True)
    assert unquote(services.only().path) == recorded.replace("/PROJECT/", "/my-project/")
    expected = exchange.expected.get("count_tokens_raw")
    if expected is None:
        assert reply["error"]["code"] == "model_not_found"
        assert reply["error"]["message"] == exchange.expected["error"]["message"]
        return
    tokens = next(expected[name] for name in ("input_tokens", "inputTokens", "totalTokens") if name in expected)
    assert reply["data"] == {"tokens": tokens, "exact": True, "method": "provider", "warnings": []}


def test_every_recorded_api_that_counts_is_known() -> None:
    assert {each.api for each in RECORDED} <= set(READERS)
