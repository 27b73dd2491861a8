"""Which chats may use an answer again, and which answers are stored."""

from typing import Any

import msgspec
import pytest

from protocol.messages import Citation, Message, OpaquePart, Part, ReasoningPart, TextPart
from protocol.options import Options
from protocol.replies import Done, Structured, Timings
from protocol.requests import Chat
from sidecar.catalogue.provider_rows import read_providers
from sidecar.core.secret import Secret
from sidecar.providers.values import Target
from sidecar.reuse.rules import find_obstacle, is_storable
from sidecar.wires.shared.types import Route


def target(provider: str = "anthropic", credential: Secret | None = None) -> Target:
    route = Route(provider=provider, wire="w", model="m", base_url="https://a.example")
    return Target(row=read_providers()[provider], route=route, credential=credential, list_base_url="")


def chat(*, reuse: Any = None, **options: Any) -> Chat:
    given = options | {"reuse": {"scope": "s"} | (reuse or {})}
    return Chat(model="m", messages=[Message(role="user", content="Hi")], options=msgspec.convert(given, Options))


KEY = Secret("made-up", "request")


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        (chat(tools=[{"name": "now"}]), "tools"),
        (chat(provider_options={"tools": [{"type": "web_search"}]}), "tools"),
        (chat(provider_options={"background": True}), "background"),
        (chat(temperature=0.1), "temperature"),
        (chat(provider_options={"temperature": 1}), "temperature"),
        (chat(tools=[{"name": "now"}], reuse={"force": True}), "tools"),
    ],
)
def test_a_chat_whose_answer_would_not_do_again_is_asked(asked: Chat, word: str) -> None:
    assert word in (find_obstacle(asked, target(credential=KEY)) or "")


@pytest.mark.parametrize(
    "asked",
    [
        chat(),
        chat(temperature=0),
        chat(temperature=0.7, reuse={"force": True}),
        chat(temperature=0.7, provider_options={"temperature": 0}),
    ],
)
def test_a_chat_without_variety_or_tools_may_use_an_answer_again(asked: Chat) -> None:
    assert find_obstacle(asked, target(credential=KEY)) is None


@pytest.mark.parametrize("provider", ["anthropic", "openai", "azure", "bedrock", "vertex"])
def test_an_identity_of_the_machine_is_no_name_to_keep_answers_under(provider: str) -> None:
    assert "identity" in (find_obstacle(chat(), target(provider)) or "")
    assert find_obstacle(chat(), target(provider, KEY)) is None


@pytest.mark.parametrize("provider", ["replay", "ollama"])
def test_a_server_that_needs_no_credential_may_be_asked_less_often(provider: str) -> None:
    assert find_obstacle(chat(), target(provider)) is None


def done(*parts: Part, **fields: Any) -> Done:
    given: dict[str, Any] = {
        "finish_reason": "stop",
        "provider_finish_reason": None,
        "usage": None,
        "cost": {"usd": None, "reason": "usage_unknown"},
        "message": Message(role="assistant", content=[*parts] or "Hello"),
        "provider": "p",
        "model": "m",
        "request_id": None,
        "attempts": [],
        "timings": Timings(total_ms=1),
    }
    return Done(**given | fields)


@pytest.mark.parametrize(
    "whole",
    [
        done(),
        done(ReasoningPart("hm"), TextPart("Hello")),
        done(structured=Structured(valid=True, value={}, error=None, native=True)),
        done(structured=Structured(valid=None, value={}, error="given up", native=True)),
    ],
)
def test_a_whole_answer_is_stored(whole: Done) -> None:
    assert is_storable(whole)


@pytest.mark.parametrize(
    "other",
    [
        *(done(finish_reason=reason) for reason in ("length", "tool_calls", "content_filter", "refusal", "paused")),
        done(structured=Structured(valid=False, value=None, error="$: no", native=True)),
        done(TextPart("Rain.", citations=[Citation(url="https://a.example")])),
        done(TextPart("Searched."), OpaquePart(kind="search", state="{}")),
    ],
)
def test_an_answer_that_is_cut_wrong_or_bound_to_its_moment_is_not_stored(other: Done) -> None:
    assert not is_storable(other)
