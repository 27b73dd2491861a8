"""`--log-level debug`: what the program does for a request, without what was said and without credentials."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.core import log
from tests.support.environment import environment
from tests.support.fake_provider import Provider
from tests.support.in_process import InProcess
from tests.support.lines import CANARY, Object
from tests.support.listening_provider import ListeningProvider
from tests.support.process import Sidecar
from tests.support.reply_scripts import ANTHROPIC, document


@pytest.fixture(autouse=True)
def _usual_level() -> Iterator[None]:
    yield
    log.set_level("warn")


def ask(folder: Path, provider: Provider, level: str = "debug") -> tuple[str, list[Object]]:
    """Ask a provider that is busy at first, and return what is logged."""
    busy = document({"error": {"type": "overloaded_error", "message": "WORDS"}}, 529)
    model = provider.play_in_turn("m", busy, ANTHROPIC.answer("WORDS"))
    env = environment(folder, SIDECAR_MAX_ATTEMPTS="2")
    with InProcess(folder, provider, arguments=["--log-level", level], env=env) as sidecar:
        assert sidecar.reply(sidecar.chat(model))["success"]
        sidecar.ask("stream_chat", sidecar.params(model) | {"base_url": "ftp://x"}, provider="anthropic")
        text = sidecar.stderr.decode()
    return text, [json.loads(line) for line in text.splitlines()]


def test_it_tells_whom_each_attempt_asked_and_why_there_was_another(tmp_path: Path, provider: Provider) -> None:
    _, lines = ask(tmp_path, provider)
    chat = next(line["request"] for line in lines if line.get("action") == "stream_chat")
    told = [line for line in lines if line.get("request") == chat]
    began = [line for line in told if line["event"] == "attempt.began"]
    assert [line["attempt"] for line in began] == [1, 2]
    expected = {"provider": "anthropic", "model": "m", "wire": "anthropic_messages", "credential": "request"}
    assert began[0].items() >= expected.items()
    assert provider.url.startswith(began[0]["address"])
    failed = next(line for line in told if line["event"] == "attempt.failed")
    assert (failed["code"], failed["status"]) == ("provider_overloaded", 529)
    assert failed["then"].startswith("retried after")
    assert {"request.began", "attempt.succeeded", "request.ended"} <= {line["event"] for line in told}
    assert all(line["ms"] >= 0 for line in told if "ms" in line)


@pytest.mark.spawns
def test_it_tells_which_client_carried_a_request_and_the_status(tmp_path: Path) -> None:
    with ListeningProvider() as provider, Sidecar(tmp_path, provider, arguments=["--log-level", "debug"]) as sidecar:
        assert sidecar.reply(sidecar.chat(provider.play("m", ANTHROPIC.answer("WORDS"))))["success"]
    lines = [json.loads(line) for line in sidecar.stderr.splitlines()]
    assert [line["client"] for line in lines if line["event"] == "http.send"] == ["direct"]
    assert [line["status"] for line in lines if line["event"] == "http.reply"] == [200]


def test_a_request_that_fails_at_once_is_told_with_its_code(tmp_path: Path, provider: Provider) -> None:
    _, lines = ask(tmp_path, provider)
    failed = next(line for line in lines if line["event"] == "request.failed")
    assert (failed["code"], failed["param"]) == ("invalid_request", "params.base_url")


def test_it_tells_no_word_of_the_conversation_and_no_credential(tmp_path: Path, provider: Provider) -> None:
    text, lines = ask(tmp_path, provider)
    assert lines
    assert "WORDS" not in text
    assert CANARY not in text


@pytest.mark.parametrize("level", ["info", "warn"])
def test_other_levels_tell_nothing_of_it(tmp_path: Path, provider: Provider, level: str) -> None:
    assert ask(tmp_path, provider, level)[1] == []
