"""Another key, another model: who is asked when the first cannot answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.environment import environment
from tests.support.fake_provider import CLOSE, STALL, Provider, Step
from tests.support.in_process import InProcess
from tests.support.lines import Object, text
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, OPENAI, document, stream

KEYS = ("sk-test-first", "sk-test-second", "sk-test-third")

SMALL = "gpt-4"
"""It takes 8,192 tokens, no images and no documents, as the catalogue knows."""

CONFIG = """
[providers.anthropic]
base_url = "{url}"
api_key = "sk-ant-made-up"

[providers.openai]
base_url = "{url}/v1"
api_keys = ["sk-test-first", "sk-test-second"]
api_keys_env = ["THIRD_KEY", "FOURTH_KEY"]

[chains]
careful = ["openai/up", "anthropic/never"]

[limits.providers.anthropic]
max_attempts = 1
"""

IMAGE = {"type": "image", "data": "iVBORw0KGgo=", "media_type": "image/png"}


@pytest.fixture
def process(tmp_path: Path, provider: Provider) -> Iterator[Program]:
    """Yield a process whose user has three keys of one provider."""
    file = tmp_path / "config" / "sidecar" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(CONFIG.format(url=provider.url))
    env = environment(tmp_path, THIRD_KEY="sk-test-third", SIDECAR_MAX_ATTEMPTS="3")
    with InProcess(tmp_path, provider, env=env) as started:
        started.ask("initialize", {"events": ["status"]})
        yield started


def refusal(status: int, **headers: str) -> list[Step]:
    return document({"error": {"message": "No."}}, status, **headers)


def asked(process: Program, provider: str, model: str, content: Any = "Hi", **options: Any) -> list[Any]:
    params = {"model": model, "messages": [{"role": "user", "content": content}], "options": options}
    return process.stream(process.send("stream_chat", params, provider=provider))


def keys(provider: Provider, model: str) -> list[str]:
    return [call.headers["authorization"].removeprefix("Bearer ") for call in provider.calls(model)]


def end(lines: list[Any]) -> Object:
    data: Object = lines[-1].data["data"]
    assert data["type"] == "done"
    return data


# --- keys ------------------------------------------------------------------------------------


def test_keys_take_turns(process: Program, provider: Provider) -> None:
    provider.play("m", OPENAI.answer("fine"))
    for _ in range(6):
        asked(process, "openai", "m", wire="openai_chat")
    assert sorted(keys(provider, "m")) == sorted(KEYS * 2)
    assert set(keys(provider, "m")[:3]) == set(KEYS)


@pytest.mark.parametrize(
    ("refused", "code"),
    [
        (refusal(429, retry_after="30"), "rate_limited"),
        (refusal(401), "auth_failed"),
        (document({"error": {"code": "insufficient_quota", "message": "Pay."}}, 429), "quota_exceeded"),
    ],
)
def test_a_key_that_is_refused_is_not_waited_for(
    process: Program, provider: Provider, refused: list[Step], code: str
) -> None:
    provider.play_in_turn("m", refused, OPENAI.answer("fine"))
    lines = asked(process, "openai", "m", wire="openai_chat")
    assert text(lines) == "fine"
    assert [each.get("code") for each in end(lines)["attempts"]] == [code, None]
    assert end(lines)["timings"]["total_ms"] < 5000
    [refused_key, _] = keys(provider, "m")
    for _ in range(4):
        asked(process, "openai", "m", wire="openai_chat")
    assert refused_key not in keys(provider, "m")[1:]
    assert set(keys(provider, "m")) == set(KEYS)


def test_when_every_key_is_refused_the_last_refusal_is_told(process: Program, provider: Provider) -> None:
    provider.play("m", refusal(401))
    error = asked(process, "openai", "m", wire="openai_chat")[-1].data["error"]
    assert (error["code"], error["attempts"]) == ("auth_failed", 3)
    assert sorted(keys(provider, "m")) == sorted(KEYS)


# --- models ----------------------------------------------------------------------------------


def test_a_chain_of_the_configuration(process: Program, provider: Provider) -> None:
    provider.play("down", refusal(503))
    provider.play("up", OPENAI.answer("fine"))
    lines = asked(process, "anthropic", "down", fallbacks="careful")
    assert [each.data["data"].get("state") for each in lines[:1]] == ["falling_back"]
    done = end(lines)
    assert done["provider"] == "openai"
    assert len(provider.calls("up")) == 1
    assert [(each["provider"], each.get("code")) for each in done["attempts"]] == [
        ("anthropic", "provider_overloaded"),
        ("openai", None),
    ]
    assert not provider.calls("never")


THRICE = {"max_attempts": 3}


@pytest.mark.parametrize(("seconds", "calls"), [(30, 1), (3600, 2)])
def test_a_model_with_a_fallback_is_not_waited_for(
    process: Program, provider: Provider, seconds: int, calls: int
) -> None:
    provider.play("busy", refusal(429, retry_after=str(seconds)))
    provider.play("up", OPENAI.answer("fine"))
    for _ in range(2):
        # Who comes second knows already that the others wait, and need not ask.
        lines = asked(process, "anthropic", "busy", retry=THRICE, fallbacks=["openai/up"])
        assert text(lines) == "fine"
        assert end(lines)["timings"]["total_ms"] < 5000
        assert [each.get("code") for each in end(lines)["attempts"]] == ["rate_limited", None]
    assert len(provider.calls("busy")) == calls


def test_a_model_with_a_fallback_that_is_silent_is_not_asked_again(process: Program, provider: Provider) -> None:
    provider.play("silent", [STALL])
    provider.play("up", OPENAI.answer("fine"))
    options = {"timeouts": {"first_byte_ms": 300}, "retry": THRICE}
    lines = asked(process, "anthropic", "silent", fallbacks=["openai/up"], **options)
    assert text(lines) == "fine"
    assert [each.get("code") for each in end(lines)["attempts"]] == ["timeout", None]
    # Without one it is.
    error = asked(process, "anthropic", "silent", **options)[-1].data["error"]
    assert (error["code"], error["attempts"]) == ("timeout", 3)


def test_a_limit_that_outlasts_the_request_is_told_at_once(process: Program, provider: Provider) -> None:
    spent = {"x_ratelimit_limit_requests": "100", "x_ratelimit_reset_requests": "2000s"}
    provider.play("m", stream([OPENAI.opening, OPENAI.closing], x_ratelimit_remaining_requests="0", **spent))
    for _ in KEYS:
        asked(process, "openai", "m", wire="openai_chat")
    lines = asked(process, "openai", "m", wire="openai_chat", timeouts={"total_ms": 5000})
    error = lines[-1].data["error"]
    assert (error["code"], len(provider.calls("m"))) == ("rate_limited", len(KEYS))
    # Rounded up to the next millisecond.
    assert 5000 < error["retry_after_ms"] <= 20_001
    assert error["elapsed_ms"] < 2500


def test_a_chain_that_is_not_there(process: Program) -> None:
    error = asked(process, "anthropic", "m", fallbacks="carefree")[-1].data["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "params.options.fallbacks")
    assert "`careful`" in error["message"]


@pytest.mark.parametrize(
    ("content", "lack"),
    [
        ([{"type": "text", "text": "Hi"}, IMAGE], "takes no images"),
        ([{"type": "file", "data": "JVBERi0=", "media_type": "application/pdf"}], "takes no documents"),
        ("word " * 10_000, "takes 8192 tokens"),
    ],
)
def test_a_fallback_that_cannot_take_it_is_passed_over(
    process: Program, provider: Provider, content: Any, lack: str
) -> None:
    provider.play("down", refusal(503))
    provider.play("up", ANTHROPIC.answer("fine"))
    lines = asked(process, "anthropic", "down", content, fallbacks=[f"openai/{SMALL}", "anthropic/up"])
    assert text(lines) == "fine"
    [warning] = end(lines)["warnings"]
    assert (warning["code"], warning["param"]) == ("fallback_skipped", "params.options.fallbacks[0]")
    assert lack in warning["message"]
    assert not provider.calls(SMALL)


def test_a_fallback_that_takes_it_is_asked(process: Program, provider: Provider) -> None:
    provider.play("down", refusal(503))
    provider.play(SMALL, OPENAI.answer("fine"))
    lines = asked(process, "anthropic", "down", fallbacks=[f"openai/{SMALL}"])
    assert (len(provider.calls(SMALL)), end(lines)["warnings"]) == (1, [])


def test_a_fallback_that_cannot_be_asked_does_not_hide_what_is_wrong(process: Program, provider: Provider) -> None:
    provider.play("down", refusal(503))
    error = asked(process, "anthropic", "down", fallbacks=["groq/any"])[-1].data["error"]
    assert (error["code"], error["provider"], error["model"]) == ("provider_overloaded", "anthropic", "down")


@pytest.mark.parametrize("name", ["no_provider", "nowhere/m"])
def test_a_fallback_that_can_never_be_asked_is_told_of_before_it_is_needed(
    process: Program, provider: Provider, name: str
) -> None:
    provider.play("up", ANTHROPIC.answer("fine"))
    lines = asked(process, "anthropic", "up", fallbacks=["openai/m", name])
    [warning] = end(lines)["warnings"]
    assert (warning["code"], warning["param"]) == ("fallback_skipped", "params.options.fallbacks[1]")
    assert "names it" in warning["message"]


def test_a_try_that_was_billed_says_so(process: Program, provider: Provider) -> None:
    model = "claude-sonnet-4-5"
    provider.play_in_turn(model, [*ANTHROPIC.begun(), CLOSE], refusal(503))
    provider.play("up", OPENAI.answer("fine"))
    attempts = end(asked(process, "anthropic", model, fallbacks=["openai/up"]))["attempts"]
    assert attempts[0]["usage"]["input_tokens"] > 0
    assert float(attempts[0]["cost"]["usd"]) > 0
