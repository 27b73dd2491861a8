"""`count_tokens` of the finished program: who is asked, who is not, and what is answered."""

import re
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from tests import corpus
from tests.corpus import Exchange
from tests.e2e.harness import PING_SECONDS, Object, Sidecar, environment
from tests.e2e.rows import secrets
from tests.e2e.services import Answer, Services, document
from tests.recorded_requests import READERS, Unsayable, chat_of

CHAT = {
    "messages": [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "Hi"}],
    "options": {"tools": [{"name": "look_up", "description": "Look a word up."}], "max_tokens": 100},
}

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


def count(sidecar: Sidecar, provider: str | None, model: str, **params: Any) -> Object:
    """Ask for a count and return the whole reply."""
    given = {"model": model} | (params if "text" in params else CHAT | params)
    envelope = {} if provider is None else {"provider": provider}
    return sidecar.ask("count_tokens", given, **envelope)


# --- by the provider -------------------------------------------------------------------------


@pytest.mark.parametrize(("provider", "model", "url", "answer"), ENDPOINTS, ids=lambda value: str(value)[:40])
def test_an_exact_count_is_the_providers_own(
    keyed: Sidecar, services: Services, provider: str, model: str, url: str, answer: Object
) -> None:
    services.answer("POST *", document(answer))
    data = count(keyed, provider, model, exact=True)["data"]
    assert data == {"tokens": 42, "exact": True, "method": "provider", "warnings": []}
    seen = services.only()
    assert (seen.method, seen.url) == ("POST", url)
    assert secrets(seen) == {f"CANARY-{provider}"}
    assert "max_tokens" not in seen.text
    assert "Look a word up." in seen.text


def test_one_that_knows_texts_alone_is_completed_and_said_to_be_an_estimate(keyed: Sidecar, services: Services) -> None:
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
    keyed: Sidecar, services: Services, provider: str, model: str, status: int, answer: Object, code: str
) -> None:
    services.answer("POST *", document(answer, status, retry_after="3"))
    reply = count(keyed, provider, model, exact=True)
    assert not reply["success"], reply
    error = reply["error"]
    assert (error["code"], error["provider"], error["model"]) == (code, provider, model)
    assert error["attempts"] == 1
    assert error.get("retry_after_ms") == (3000 if status != 200 else None)


UNABLE = [
    ("bedrock", "eu.amazon.nova-2-lite-v1:0", 400, {"message": "The provided model doesn't support counting tokens."}),
    ("bedrock", "eu.anthropic.claude-sonnet-5-5-v1:0", 403, {"message": "not authorized: bedrock:CountTokens"}),
    ("vertex", "claude-sonnet-5-5", 404, {"error": {"code": 404, "status": "NOT_FOUND"}}),
    ("vertex", "claude-sonnet-5-5", 400, {"error": {"code": 400, "status": "FAILED_PRECONDITION"}}),
]


@pytest.mark.parametrize(("provider", "model", "status", "answer"), UNABLE)
def test_a_place_that_does_not_count_this_model_is_stood_in_for(
    keyed: Sidecar, services: Services, provider: str, model: str, status: int, answer: Object
) -> None:
    kind = {400: "ValidationException", 403: "AccessDeniedException", 404: ""}[status]
    services.answer("POST *", document(answer, status, x_amzn_errortype=kind))
    data = count(keyed, provider, model, exact=True)["data"]
    check_estimate(data)
    assert [warning["code"] for warning in data["warnings"]] == ["estimated"]


def check_estimate(data: Object) -> None:
    assert (data["exact"], data["method"]) == (False, "estimate")
    assert data["tokens"] > 0
    assert data["error_band_pct"] > 0
    assert data["basis"].startswith("o200k_base × ")


def test_a_provider_without_a_count_is_not_asked(keyed: Sidecar, services: Services) -> None:
    data = count(keyed, "groq", "llama-3.3-70b", exact=True)["data"]
    check_estimate(data)
    assert [warning["code"] for warning in data["warnings"]] == ["estimated"]
    assert services.asked() == []


def test_an_exact_count_needs_a_credential_and_an_estimate_none(bare: Sidecar, services: Services) -> None:
    assert count(bare, "anthropic", "claude-sonnet-5-5", exact=True)["error"]["code"] == "auth_required"
    check_estimate(count(bare, "anthropic", "claude-sonnet-5-5")["data"])
    # Nor a setting that its address would be made of.
    check_estimate(count(bare, "bedrock", "anthropic.claude-sonnet-5-5-v1:0")["data"])
    assert services.asked() == []


# --- by a vocabulary -------------------------------------------------------------------------


def test_a_text_is_counted_exactly_where_the_vocabulary_is_the_models_own(bare: Sidecar, services: Services) -> None:
    for model, vocabulary, tokens in (
        ("gpt-6", "o200k_base", 2),
        ("gpt-4", "cl100k_base", 2),
        ("gpt-oss-20b", "o200k_harmony", 2),
    ):
        for exact in (False, True):
            data = count(bare, "openai", model, text="hello world", exact=exact)["data"]
            assert data == {
                "tokens": tokens,
                "exact": True,
                "method": "vocabulary",
                "basis": vocabulary,
                "warnings": [],
            }
    assert count(bare, "openai", "gpt-6", text="")["data"]["tokens"] == 0
    assert count(bare, "openai", "gpt-6", text="<|endoftext|> is text here")["data"]["tokens"] > 5
    assert services.asked() == []


def test_messages_are_framed_by_the_models_family(bare: Sidecar) -> None:
    two = [{"role": "system", "content": "Follow the system instructions."}, {"role": "user", "content": ""}]
    data = count(bare, None, "openai/gpt-4.1-mini", messages=two, options={})["data"]
    # What the provider has billed for these two; a host may add something of its own.
    assert (data["tokens"], data["exact"], data["method"]) == (16, False, "vocabulary")
    deployed = {"settings": {"deployments": {"prod": {"base_model": "gpt-4.1-mini"}}}}
    assert count(bare, "azure", "prod", messages=two, options={}, **deployed)["data"] == data
    assert count(bare, "azure", "prod", messages=two, options={})["data"]["method"] == "estimate"


def test_a_preset_is_counted_as_the_model_that_it_stands_for(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    preset = '[models.quick]\nprovider = "openai"\nmodel = "gpt-4o"\n'
    (tmp_path / "config.toml").write_text(preset, encoding="utf-8")
    with Sidecar(tmp_path / "home", arguments=["--config", str(tmp_path / "config.toml")]) as sidecar:
        sidecar.max_growth_bytes = 256 * 1024 * 1024
        assert count(sidecar, None, "quick", text="hello world")["data"]["basis"] == "o200k_base"
        usage = {"input_tokens": 1_000_000, "output_tokens": 0}
        assert sidecar.ask("calculate_cost", {"model": "quick", "usage": usage})["data"]["usd"] == "2.5"


MEGABYTE = "The quick brown fox; it's 12345 jumps over the lazy dog — naïvely.\n" * 15_000
"""A little more than that."""


def test_nothing_waits_while_a_megabyte_is_counted(bare: Sidecar) -> None:
    count(bare, "openai", "gpt-6", text="loads the vocabulary")
    params = {"model": "gpt-6", "text": MEGABYTE}
    request_id, pings = bare.send("count_tokens", params, provider="openai"), list[float]()
    while not bare.lines_of(request_id):
        pings.append(bare.ping())
    data = bare.reply(request_id)["data"]
    assert len(MEGABYTE.encode()) > 1_000_000
    assert (data["exact"], data["tokens"] > 200_000) == (True, True)
    assert pings
    assert median(pings) < PING_SECONDS


def test_many_counts_at_once_share_one_vocabulary(bare: Sidecar) -> None:
    ids = [
        bare.send("count_tokens", {"model": "gpt-4", "text": f"hello world {n}"}, provider="openai") for n in range(50)
    ]
    assert {bare.reply(each)["data"]["tokens"] for each in ids} == {4}


def test_a_count_can_be_cancelled_while_it_counts(bare: Sidecar) -> None:
    request_id = bare.send("count_tokens", {"model": "gpt-6", "text": MEGABYTE * 8}, provider="openai")
    bare.send("cancel", {"id": request_id})
    assert bare.reply(request_id)["error"]["code"] == "cancelled"


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"model": "gpt-6"}, "params.messages"),
        ({"model": "gpt-6", "text": "x", "messages": CHAT["messages"]}, "params.messages"),
        ({"model": "gpt-6", "messages": []}, "params.messages"),
        ({"text": "x"}, "params.model"),
        ({"model": "gpt-6", "text": "x", "exact": "yes"}, "params.exact"),
    ],
)
def test_what_is_no_count_is_refused(bare: Sidecar, params: Object, param: str) -> None:
    error = bare.ask("count_tokens", params, provider="openai")["error"]
    assert (error["code"], error["param"]) == ("invalid_request", param)


def test_a_plain_chat_loads_no_vocabulary(tmp_path: Path) -> None:
    """Nor does a cost: what is slow or large is loaded by whoever asks for it."""
    with Sidecar(tmp_path, env=environment(tmp_path, PYTHONPROFILEIMPORTTIME="1")) as sidecar:
        sidecar.ask("generate", {"model": "default", "messages": CHAT["messages"]}, provider="replay")
        usage = {"input_tokens": 1, "output_tokens": 1}
        sidecar.ask("calculate_cost", {"model": "gpt-6", "usage": usage}, provider="openai")
    said = sidecar.stderr.decode()
    assert "sidecar.pricing" in said
    for name in ("tiktoken", "sidecar.vocab", "sidecar.counting", "sidecar.catalogue.tokenizers"):
        assert f" {name}\n" not in said


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
def test_a_recorded_count_is_given_to_the_host(keyed: Sidecar, services: Services, exchange: Exchange) -> None:
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
