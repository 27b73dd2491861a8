"""Exchanges that `--record` writes are played by `replay`, and a folder that is none is told."""

import os
from pathlib import Path

import pytest

from tests.support import process_probes
from tests.support.environment import environment
from tests.support.in_memory import InMemoryProvider
from tests.support.in_process import InProcess
from tests.support.lines import Object, text
from tests.support.reply_scripts import SHAPES, Shape

CHAT = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.wire)
def test_what_is_recorded_is_played(tmp_path: Path, shape: Shape) -> None:
    folder = tmp_path / "recorded"
    with InMemoryProvider() as provider:
        provider.play("m", shape.answer("one ", "two"))
        with InProcess(tmp_path, provider, arguments=["--record", str(folder)]) as sidecar:
            asked = sidecar.stream(sidecar.chat("m", shape))
    with InProcess(tmp_path, None, env=environment(tmp_path, SIDECAR_REPLAY_DIR=str(folder))) as sidecar:
        models = sidecar.ask("list_models", {}, provider="replay")["data"]["models"]
        (model,) = (each for each in models if each["kind"] == "recording")
        played = sidecar.stream(sidecar.send("stream_chat", CHAT | {"model": model["id"]}, provider="replay"))
    assert model["id"].startswith(f"{shape.wire}/")
    assert text(played) == text(asked) == "one two"
    for name in ("message", "usage", "finish_reason"):
        assert played[-1].data["data"][name] == asked[-1].data["data"][name]


def refused(home: Path, folder: Path, model: str) -> Object:
    """Return the error of a chat with *model* of *folder*."""
    with InProcess(home, None, env=environment(home, SIDECAR_REPLAY_DIR=str(folder))) as sidecar:
        error: Object = sidecar.ask("generate", CHAT | {"model": model}, provider="replay")["error"]
    return error


def test_of_a_folder_without_exchanges_it_is_said_who_names_it(tmp_path: Path) -> None:
    error = refused(tmp_path, tmp_path / "nowhere", "default")
    assert error["code"] == "model_not_found"
    assert "SIDECAR_REPLAY_DIR" in error["hint"]


@pytest.mark.parametrize(
    "head", ["{", "[]", '{"status": "429"}', '{"status": 429, "headers": {"retry-after": 2}}', "\xff"]
)
def test_a_head_that_is_none_is_told(tmp_path: Path, head: str) -> None:
    case = tmp_path / "replay" / "anthropic_messages" / "mine"
    case.mkdir(parents=True)
    (case / "response.sse").write_bytes(b"")
    (case / "head.json").write_text(head, encoding="latin-1")
    error = refused(tmp_path, tmp_path / "replay", "anthropic_messages/mine")
    assert (error["code"], error["param"]) == ("invalid_request", "params.model")
    assert "head.json" in error["message"]


@process_probes.posix_only
def test_a_pipe_in_the_place_of_a_recording_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    case = tmp_path / "played" / "openai_chat" / "pipe"
    case.mkdir(parents=True)
    os.mkfifo(case / "response.sse")
    error = refused(tmp_path, tmp_path / "played", "openai_chat/pipe")
    assert (error["code"], error["param"]) == ("invalid_request", "params.model")
    assert "`response.sse`" in error["message"]
