"""`count_tokens`: who counts, and what is said of a count that nobody made exactly."""

from pathlib import Path
from typing import Any

import pytest

from sidecar.tokens import vocabularies
from tests.support import app
from tests.support.lines import CANARY

TEXT = {"model": "gpt-4", "text": "hello world"}


class Encoding:
    """Counts the words of a text."""

    def encode_ordinary(self, text: str) -> list[int]:
        return [0] * len(text.split())


@pytest.fixture(autouse=True)
def _small_vocabularies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabularies, "load", lambda _: Encoding())


async def test_a_text_is_counted_by_the_models_own_vocabulary() -> None:
    async with app.running() as host:
        counted = (await host.ask("count_tokens", TEXT, provider="openai"))["data"]
        assert counted == {"tokens": 2, "exact": True, "method": "vocabulary", "basis": "cl100k_base", "warnings": []}


async def test_without_a_vocabulary_bytes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Encoding:
        raise vocabularies.VocabularyError(name)

    monkeypatch.setattr(vocabularies, "load", fail)
    async with app.running() as host:
        assert (await host.ask("count_tokens", TEXT, provider="openai"))["data"] == {
            "tokens": 4,
            "exact": False,
            "method": "bytes",
            "basis": "3.5 bytes a token",
            "error_band_pct": 60,
            "warnings": [],
        }


async def test_a_provider_that_counts_is_asked_once_for_one_prompt() -> None:
    params = {"model": "claude-x", "messages": [{"role": "user", "content": "Hi"}], "exact": True}
    async with app.running(env={"ANTHROPIC_API_KEY": CANARY}) as host:
        host.http.answer_with({"input_tokens": 11})
        first = (await host.ask("count_tokens", params, provider="anthropic"))["data"]
        second = (await host.ask("count_tokens", params, provider="anthropic"))["data"]
        assert first == {"tokens": 11, "exact": True, "method": "provider", "warnings": []}
        assert second == first | {"cached": True}
        assert len(host.http.asked) == 1


async def test_a_provider_that_cannot_count_is_replaced_by_an_estimate_with_a_warning() -> None:
    params = {"model": "some-model", "messages": [{"role": "user", "content": "Hi"}], "exact": True}
    async with app.running(env={"GROQ_API_KEY": CANARY}) as host:
        counted = (await host.ask("count_tokens", params, provider="groq"))["data"]
        assert [warning["code"] for warning in counted["warnings"]] == ["estimated"]
        assert (counted["exact"], counted["method"]) == (False, "estimate")
        assert not host.http.asked


def own(wire: str) -> dict[str, Any]:
    """Return the providers of a configuration with a server of the user's own."""
    return {"lab": {"wire": wire, "base_url": "http://127.0.0.1:8080/v1"}}


@pytest.mark.parametrize("wire", ["anthropic_messages", "openai_responses"])
async def test_a_server_of_ones_own_counts_if_it_can(wire: str) -> None:
    params = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "exact": True}
    async with app.running(providers=own(wire)) as host:
        host.http.answer_with({"input_tokens": 7})
        counted = (await host.ask("count_tokens", params, provider="lab"))["data"]
        assert (counted["tokens"], counted["exact"], counted["method"]) == (7, True, "provider")


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_a_server_of_ones_own_that_cannot_count_is_replaced_by_an_estimate(status: int) -> None:
    params = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "exact": True}
    async with app.running(providers=own("anthropic_messages")) as host:
        host.http.answer_with({"detail": "Not Found"}, status)
        counted = (await host.ask("count_tokens", params, provider="lab"))["data"]
        assert [warning["code"] for warning in counted["warnings"]] == ["estimated"]
        assert counted["exact"] is False


@pytest.mark.parametrize("more", [{"messages": [{"role": "user", "content": "Hi"}]}, {"text": None}])
async def test_either_messages_or_a_text_is_counted(more: dict[str, object]) -> None:
    async with app.running() as host:
        error = (await host.ask("count_tokens", TEXT | more, provider="openai"))["error"]
        assert (error["code"], error["param"]) == ("invalid_request", "params.messages")


async def test_a_count_beside_a_logout_is_a_count(tmp_path: Path) -> None:
    async with app.running(store_dir=str(tmp_path / "store")) as host:
        texts = {"model": "gpt-4o", "text": "some words " * 20}
        for _ in range(20):
            await host.ask("authenticate", {"op": "login", "api_key": CANARY}, provider="openai")
            left = host.send("authenticate", {"op": "logout"}, provider="openai")
            counted = await host.ask("count_tokens", texts, provider="openai")
            assert counted["data"]["tokens"] >= 20
            assert (await host.read_reply(left))[-1]["data"]["removed"] is True
