"""The other actions: `generate`, `list_models`, `list_providers`, `initialize`, `ping`."""

import json
from pathlib import Path

import pytest

from tests.support.environment import environment
from tests.support.fake_provider import Provider
from tests.support.in_process import InProcess
from tests.support.lines import ABSENT, CANARY, Object, text
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, OPENAI, SHAPES, Shape, document, whole

BY_SHAPE = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.wire)


@BY_SHAPE
def test_generate_gives_the_folded_stream_in_one_line(sidecar: Program, provider: Provider, shape: Shape) -> None:
    provider.play("m", shape.answer("one ", "two ", "three"))
    (line,) = sidecar.stream(sidecar.chat("m", shape, "generate"))
    answer = line.data["data"]
    streamed = sidecar.stream(sidecar.chat("m", shape))
    assert answer["content"] == text(streamed) == "one two three"
    assert answer["finish_reason"] == "stop"
    assert answer["message"] == streamed[-1].data["data"]["message"]
    assert answer["usage"] == streamed[-1].data["data"]["usage"]
    assert answer["tool_calls"] == []


LISTS: dict[str, tuple[str, Object]] = {
    "anthropic": (
        "/v1/models?limit=1000",
        {"data": [{"id": "a-1", "type": "model"}, {"id": "a-2"}], "has_more": False},
    ),
    "openai": ("/v1/models", {"object": "list", "data": [{"id": "a-1", "object": "model"}, {"id": "a-2"}]}),
}


@BY_SHAPE
def test_a_list_of_models_is_remembered_until_it_is_asked_anew(
    sidecar: Program, provider: Provider, shape: Shape
) -> None:
    path, answer = LISTS[shape.provider]
    provider.play(path, document(answer))
    place = {"api_key": CANARY, "base_url": provider.url + shape.base}

    def ask(**more: object) -> tuple[list[str], str]:
        data = sidecar.ask("list_models", place | more, provider=shape.provider)["data"]
        return [model["id"] for model in data["models"]], data["source"]

    assert ask() == (["a-1", "a-2"], "provider")
    assert ask() == (["a-1", "a-2"], "cache")
    assert len(provider.calls(path)) == 1
    # Another key may see other models.
    assert ask(api_key=f"{CANARY}-2") == (["a-1", "a-2"], "provider")
    provider.play(path, document({**answer, "data": [{"id": "a-3"}]}))
    assert ask(refresh=True) == (["a-3"], "provider")
    assert ask() == (["a-3"], "cache")
    assert len(provider.calls(path)) == 3
    assert all(CANARY in "".join(call.headers.values()) for call in provider.calls(path))


def test_a_list_that_cannot_be_had_is_an_error_with_a_code(sidecar: Program, provider: Provider) -> None:
    path, _ = LISTS["openai"]
    place = {"api_key": CANARY, "base_url": provider.url + OPENAI.base, "refresh": True}
    for steps, code in (
        (document({"error": {"message": "no"}}, 401), "auth_failed"),
        (whole(b"<html>", 200, "text/html"), "provider_error"),
    ):
        provider.play(path, steps)
        assert sidecar.ask("list_models", place, provider="openai")["error"]["code"] == code


def test_the_providers_are_named_and_their_keys_are_not(tmp_path: Path) -> None:
    with InProcess(tmp_path, env=environment(tmp_path, ANTHROPIC_API_KEY=CANARY)) as sidecar:
        data = sidecar.ask("list_providers")["data"]["providers"]
    rows = {row["id"]: row for row in data}
    assert (rows["anthropic"]["ready"], rows["anthropic"]["credential_source"]) == (True, "environment")
    assert (rows["openai"]["ready"], rows["openai"]["credential_source"]) == (False, None)
    assert rows["replay"]["ready"] is True


def test_initialize_says_what_there_is_and_may_be_said_again(sidecar: Program) -> None:
    for params in (None, {"client": {"name": "editor", "version": "1"}, "events": ["status", "warnings"]}, {}):
        data = sidecar.ask("initialize", params)["data"]
        assert data["protocol_version"] == 1
        assert {"ping", "stream_chat", "cancel", "shutdown"} <= set(data["actions"])
        assert {"anthropic", "openai"} <= set(data["providers"])
    assert not sidecar.events


def test_requests_run_side_by_side(sidecar: Program, provider: Provider) -> None:
    gate = provider.gate()
    provider.play("slow", [gate, *ANTHROPIC.answer("slow")])
    provider.play("fast", ANTHROPIC.answer("fast"))
    slow = sidecar.chat("slow")
    provider.call("slow")
    assert text(sidecar.stream(sidecar.chat("fast"))) == "fast"
    assert sidecar.ask("ping")["data"]["in_flight"] == 1
    gate.open()
    assert text(sidecar.stream(slow)) == "slow"


def test_replay_needs_no_key_and_no_network(sidecar: Program, provider: Provider) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    line = sidecar.stream(sidecar.send("stream_chat", {"model": "default", "messages": messages}, provider="replay"))[
        -1
    ]
    assert line.data["data"]["finish_reason"] == "stop"
    assert sidecar.ask("list_models", {}, provider="replay", id=ABSENT)["data"]["models"]
    assert provider.connections == 0
    assert "replay" in json.dumps(line.data)
