"""Names of models: presets, names that include the provider, and aliases."""

from typing import Any

import pytest

from protocol.messages import Message
from protocol.options import Options
from protocol.requests import Chat
from sidecar.config.values import Config
from sidecar.core.errors import SidecarError
from sidecar.providers.model_names import apply_preset, expand_preset, find_id, is_provider, split_model

PLAIN = Config(path="")
OWN = Config(
    path="",
    providers={"mine": {"wire": "openai_chat", "base_url": "https://mine.test"}},
    models={
        "fast": {"model": "groq/llama", "options": {"max_tokens": 5, "temperature": 0.5}},
        "slow": {"model": "big", "provider": "mine"},
    },
)


def chat(model: str, **options: Any) -> Chat:
    return Chat(model=model, messages=[Message(role="user", content="Hi")], options=Options(**options))


def test_a_preset_gives_the_model_and_the_options_that_the_request_leaves_open() -> None:
    provider, chosen = apply_preset(OWN, "openai", chat("fast", max_tokens=9))
    assert (provider, chosen.model) == (None, "groq/llama")
    assert (chosen.options.max_tokens, chosen.options.temperature) == (9, 0.5)
    assert apply_preset(OWN, None, chat("slow"))[0] == "mine"


def test_a_model_that_is_no_preset_stays_as_it_is() -> None:
    request = chat("gpt")
    assert apply_preset(OWN, "openai", request) == ("openai", request)
    assert expand_preset(OWN, "openai", "gpt") == ("openai", "gpt")


def test_a_preset_is_expanded_without_its_options() -> None:
    assert expand_preset(OWN, "openai", "fast") == (None, "groq/llama")
    assert expand_preset(OWN, "openai", "slow") == ("mine", "big")


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("openai", "gpt", ("openai", "gpt")),
        ("openrouter", "anthropic/claude", ("openrouter", "anthropic/claude")),
        (None, "anthropic/claude", ("anthropic", "claude")),
        (None, "google/gemini", ("gemini", "gemini")),
        (None, "mine/a/b", ("mine", "a/b")),
        ("openai", "[groq]llama", ("groq", "llama")),
        ("grok", "m", ("xai", "m")),
    ],
)
def test_a_model_may_name_its_provider(provider: str | None, model: str, expected: tuple[str, str]) -> None:
    assert split_model(OWN, provider, model) == expected


@pytest.mark.parametrize(
    ("provider", "model", "code", "param"),
    [
        (None, "gpt", "invalid_request", "provider"),
        (None, "nobody/gpt", "invalid_request", "provider"),
        ("nobody", "gpt", "unknown_provider", "provider"),
        (None, "[nobody]gpt", "unknown_provider", "provider"),
        (None, "openai/", "invalid_request", "params.model"),
        ("openai", "", "invalid_request", "params.model"),
    ],
)
def test_a_model_without_a_provider_is_refused(provider: str | None, model: str, code: str, param: str) -> None:
    with pytest.raises(SidecarError) as caught:
        split_model(OWN, provider, model)
    assert (caught.value.body.code, caught.value.body.param) == (code, param)


def test_an_unknown_provider_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SidecarError) as caught:
        find_id(OWN, "nobody")
    assert " mine, " in caught.value.body.message
    assert " anthropic, " in caught.value.body.message


def test_a_provider_of_the_users_own_is_known_only_where_it_is_configured() -> None:
    assert is_provider(OWN, "mine")
    assert not is_provider(PLAIN, "mine")
    assert is_provider(PLAIN, "google")


def test_an_unknown_provider_comes_with_the_nearest_one() -> None:
    with pytest.raises(SidecarError) as caught:
        split_model(Config(path=""), "antropic", "m")
    assert caught.value.body.hint == "Did you mean `anthropic`?"
    with pytest.raises(SidecarError) as caught:
        split_model(Config(path=""), "zzz", "m")
    assert caught.value.body.hint is None
