"""`stream_chat`, `generate` and `resume`: the same answer as a stream, as one line, and continued."""

from typing import Any

import pytest

from tests.support import app
from tests.support.app import Host
from tests.support.lines import CANARY, Object
from tests.support.reply_scripts import ANTHROPIC, SSE


def chat(**more: Any) -> Object:
    return {"model": "some-model", "messages": [{"role": "user", "content": "Hi"}], "api_key": CANARY} | more


def answer(host: Host, *pieces: str) -> None:
    host.http.answer(ANTHROPIC.opening, *map(ANTHROPIC.text, pieces), ANTHROPIC.closing, content_type=SSE)


async def test_a_streamed_answer_comes_piece_by_piece_and_ends_with_the_whole_message() -> None:
    async with app.running() as host:
        answer(host, "Hel", "lo")
        lines = await host.read_reply(host.send("stream_chat", chat(), provider="anthropic"))
        chunks = [line["data"] for line in lines]
        assert [line["seq"] for line in lines] == list(range(len(lines)))
        assert "".join(chunk["content"] for chunk in chunks if chunk["type"] == "content") == "Hello"
        assert chunks[-1]["type"] == "done"
        assert chunks[-1]["message"]["content"][0]["text"] == "Hello"
        assert CANARY in str(host.http.asked[0].request.headers)


async def test_a_generated_answer_is_one_line() -> None:
    async with app.running() as host:
        answer(host, "Hel", "lo")
        (line,) = await host.read_reply(host.send("generate", chat(), provider="anthropic"))
        assert line["data"]["content"] == "Hello"
        assert "streaming" not in line


async def test_a_resumed_answer_ends_with_both_halves_as_one_message() -> None:
    partial = {"role": "assistant", "content": [{"type": "text", "text": "Hel"}]}
    async with app.running() as host:
        answer(host, "lo")
        params = chat(method="prefill", partial_message=partial)
        done = (await host.ask("resume", params, provider="anthropic"))["data"]
        assert [part["text"] for part in done["message"]["content"]] == ["Hello"]


async def test_a_failure_of_the_provider_is_the_terminal_line() -> None:
    async with app.running() as host:
        host.http.answer_with({"type": "error", "error": {"type": "authentication_error", "message": "No."}}, 401)
        error = (await host.ask("stream_chat", chat(), provider="anthropic"))["error"]
        assert (error["code"], error["provider"], error["attempts"]) == ("auth_failed", "anthropic", 1)


async def test_a_long_partial_answer_is_not_repeated_in_the_error() -> None:
    async with app.running() as host:
        host.http.answer(ANTHROPIC.opening, ANTHROPIC.text("x" * (1024 * 1024 + 1)), content_type=SSE)
        error = (await host.ask("stream_chat", chat(), provider="anthropic"))["error"]
        assert (error["code"], error["partial"]) == ("stream_interrupted", True)
        assert error.get("partial_message") is None


@pytest.mark.long
async def test_a_host_that_asked_for_status_is_told_of_a_retry() -> None:
    async with app.running() as host:
        await host.ask("initialize", {"events": ["status"]})
        host.http.answer_with({"type": "error", "error": {"type": "overloaded_error", "message": "Busy."}}, 529)
        answer(host, "Hi")
        lines = await host.read_reply(host.send("stream_chat", chat(), provider="anthropic"))
        assert [line["data"]["state"] for line in lines if line["data"]["type"] == "status"] == ["retrying"]
        assert lines[-1]["data"]["type"] == "done"
