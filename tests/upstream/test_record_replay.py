"""Exchanges that `--record` writes are played by `replay`, and a folder that is none is told."""

import os
from pathlib import Path

import pytest

from sidecar.config.values import Config
from sidecar.upstream import replay
from tests.support import process_probes
from tests.support.environment import environment
from tests.support.in_memory import InMemoryProvider
from tests.support.in_process import InProcess
from tests.support.lines import Object, text
from tests.support.reply_scripts import ANTHROPIC, SHAPES, Shape

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


def test_a_case_of_a_large_folder_is_found_without_looking_at_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = tmp_path / "played" / "anthropic_messages"
    for name in ("one", "second"):
        (cases / name).mkdir(parents=True)
        (cases / name / "response.sse").write_bytes(ANTHROPIC.opening + ANTHROPIC.text("told") + ANTHROPIC.closing)
    listed = list[Config]()

    def list_some(config: Config) -> list[str]:
        listed.append(config)
        return ["anthropic_messages/second"]

    monkeypatch.setattr(replay, "list_exchanges", list_some)
    env = environment(tmp_path, SIDECAR_REPLAY_DIR=str(tmp_path / "played"))
    with InProcess(tmp_path, None, env=env) as sidecar:
        answer = sidecar.ask("generate", CHAT | {"model": "anthropic_messages/one"}, provider="replay")
        assert answer["data"]["content"] == "told"
        assert not listed
        error = sidecar.ask("generate", CHAT | {"model": "anthropic_messages/secund"}, provider="replay")["error"]
    assert error["code"] == "model_not_found"
    assert "anthropic_messages/second" in error["hint"]
    assert len(listed) == 1


@pytest.mark.parametrize(
    "case", ["..", ".", "../anthropic_messages/mine", "mine/../mine", "a\\b", "x" * 5000, "a\x00b"]
)
def test_no_name_of_a_case_leads_out_of_its_folder(tmp_path: Path, case: str) -> None:
    kept = tmp_path / "played" / "anthropic_messages"
    (kept / "mine").mkdir(parents=True)
    for folder in (kept, kept / "mine", kept.parent):
        (folder / "response.sse").write_bytes(b"")
    error = refused(tmp_path, kept.parent, f"anthropic_messages/{case}")
    assert error["code"] in ("model_not_found", "invalid_request")
    assert "response" not in str(error)
