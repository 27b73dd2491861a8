"""Reply lines for a host whose reader has a limit."""

from typing import Any

import msgspec
import pytest

from protocol.errors import ErrorBody
from protocol.files import CodeResult, CommandChunk, EditResult, FileChunk, FileEnd, FileResult, FileStart
from protocol.messages import Citation, Message, TextPart, ToolCall
from protocol.replies import (
    Chunk,
    CitationChunk,
    Content,
    Done,
    Reasoning,
    Streamed,
    Timings,
    ToolCallChunk,
    ToolCallDelta,
)
from protocol.tool_loop import ToolRound
from sidecar.generation.run import fold_answer
from sidecar.server.app import App
from sidecar.server.framing import encode_line
from sidecar.server.line_limit import fit_answer, fit_chunks, fit_error
from sidecar.server.open_requests import OpenRequest
from tests.outputs.collecting import make_done
from tests.server.test_dispatch import USAGE, replace_handler
from tests.support import app
from tests.support.lines import Object

pytestmark = pytest.mark.long

LIMIT = 16384
LETTERS = ["a", "\x00", "\x80", "\u2028", "é", "🛵"]
ID = "\x01" * 128


def fitted(chunk: Chunk) -> list[Any]:
    chunks = list(fit_chunks([chunk], LIMIT))
    for each in chunks:
        assert len(encode_line(Streamed(ID, True, True, 10**6, each))) <= LIMIT
    return chunks


@pytest.mark.parametrize("letter", LETTERS)
def test_text_comes_in_pieces_that_fit(letter: str) -> None:
    text = letter * 65536
    assert "".join(each.content for each in fitted(Content(text))) == text
    assert "".join(each.content for each in fitted(Reasoning(text))) == text
    pieces = fitted(ToolCallDelta(3, "i" * 512, "n" * 256, text))
    assert "".join(each.arguments_delta for each in pieces) == text


def test_a_short_chunk_stays_as_it_is() -> None:
    call = ToolCallChunk(ToolCall(id="1", name="f", arguments={"a": 1}, arguments_text='{"a":1}'))
    for chunk in (Content("short"), call):
        assert fitted(chunk) == [chunk]


def test_the_arguments_of_a_long_call_are_left_out_and_that_is_said() -> None:
    text = msgspec.json.encode({"a": "x" * LIMIT}).decode()
    [chunk] = fitted(ToolCallChunk(ToolCall(id="1", name="f", arguments={"a": "x" * LIMIT}, arguments_text=text)))
    assert chunk.tool_call == ToolCall(id="1", name="f", arguments=None, arguments_text="", arguments_omitted=True)


def test_a_long_citation_keeps_its_place_in_the_text() -> None:
    [chunk] = fitted(CitationChunk(Citation(cited_text="x" * LIMIT, start=1, end=2)))
    assert chunk == CitationChunk(Citation(start=1, end=2))


def test_an_error_leaves_out_a_long_partial_message() -> None:
    partial = Message(role="assistant", content=[TextPart("x" * LIMIT)])
    body = ErrorBody(code="timeout", message="m", retryable=True, partial=True, partial_message=partial)
    assert fit_error(body, LIMIT).partial_message is None
    assert fit_error(body, 4 * LIMIT).partial_message == partial


@pytest.mark.parametrize("letter", LETTERS)
def test_files_come_in_pieces_that_fit(letter: str) -> None:
    text = letter * 65536
    pieces = fitted(FileChunk(10**6, text, 10**6, "replace"))
    assert {(each.file, each.edit, each.side) for each in pieces} == {(10**6, 10**6, "replace")}
    assert "".join(each.content for each in pieces) == text
    pieces = fitted(CommandChunk(text))
    assert "".join(each.content for each in pieces) == text
    assert {type(each) for each in pieces} == {Content}
    path = letter * 1024
    (start,) = fitted(
        FileStart(file=1, path=path[:600], op="rename", format="full_content", to=path[:600], purpose=text)
    )
    assert start.purpose is None


def test_a_last_line_leaves_out_the_messages_of_its_rounds_before_its_files() -> None:
    messages = [Message(role="tool", content="x" * 2000)] * 100
    done: Any = fit_answer(make_done("x", messages=messages, files=FILES[:3]), LIMIT)
    assert (done.messages, done.messages_omitted, done.message_omitted) == ([], True, True)
    assert (done.files, done.files_omitted) == (FILES[:3], msgspec.UNSET)


def test_a_round_leaves_out_a_message_that_is_too_long() -> None:
    message = Message(role="assistant", content=[TextPart("x" * LIMIT)])
    (chunk,) = fitted(ToolRound(round=1, calls=["a"], message=message))
    assert (chunk.calls, chunk.message.content, chunk.message_omitted) == (["a"], [], True)


def test_the_end_of_a_file_leaves_out_what_became_of_its_edits_where_there_are_many() -> None:
    edits = [EditResult(edit=at, problem="not_found", hint="x" * 100) for at in range(200)]
    (end,) = fitted(FileEnd(file=0, path="a.py", complete=False, problem="edits_failed", edits=edits))
    assert (end.edits, end.edits_omitted, end.problem) == ([], True, "edits_failed")


FILES = [FileResult(path=f"{at}.py", op="create", complete=True, content="x" * 1000, files=[at]) for at in range(500)]


@pytest.mark.parametrize(
    ("limit", "omitted", "rows", "contents"),
    [
        (2**22, [], 500, 500),
        (600_000, ["message"], 500, 500),
        (100_000, ["message", "code", "files"], 500, 0),
        (LIMIT, ["message", "code", "files"], 0, 0),
    ],
)
@pytest.mark.parametrize("action", ["stream_chat", "generate"])
def test_a_last_line_loses_no_more_of_its_files_than_it_must(
    action: str, limit: int, omitted: list[str], rows: int, contents: int
) -> None:
    done: Any = Done(
        finish_reason="stop",
        provider_finish_reason=None,
        usage=None,
        cost={"usd": None},
        message=Message(role="assistant", content=[TextPart("x" * 500_000)]),
        provider="p",
        model="m",
        request_id=None,
        attempts=[],
        timings=Timings(total_ms=1),
        code=CodeResult(language=None, code="y" * 50_000, blocks=[], problem=None),
        files=FILES,
    )
    data = done if action == "stream_chat" else fold_answer(done) | {"content": ""}
    fitted = msgspec.to_builtins(fit_answer(data, limit))
    assert len(msgspec.json.encode(fitted)) <= limit
    assert [name for name in ("message", "code", "files") if fitted.get(f"{name}_omitted")] == omitted
    assert ("code" in fitted) is ("code" not in omitted)
    assert (len(fitted["files"]), sum("content" in row for row in fitted["files"])) == (rows, contents)


HELLO: Object = {"messages": [{"role": "user", "content": "Hi"}]}


async def test_done_leaves_out_a_message_that_is_too_long() -> None:
    text = "x" * (2 * LIMIT)
    delta = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
    body = b"data: " + msgspec.json.encode(delta) + b"\n\ndata: [DONE]\n\n"
    async with app.running() as host:
        ask: Object = HELLO | {"model": "m", "api_key": "k"}
        for limit, is_omitted in ((LIMIT, True), (None, False)):
            assert (await host.ask("initialize", {"max_line_bytes": limit}))["data"]["limits"][
                "max_reply_line_bytes"
            ] == limit
            host.http.answer(body, content_type="text/event-stream")
            lines = await host.read_reply(host.send("stream_chat", ask, provider="deepseek"))
            done = lines[-1]["data"]
            assert "".join(line["data"].get("content", "") for line in lines[:-1]) == text
            assert done.get("message_omitted", False) is is_omitted
            assert (done["message"]["content"] == []) is is_omitted


async def test_a_reply_that_cannot_be_cut_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer_at_length(_: App, __: OpenRequest, ___: Any) -> object:
        return {"text": "x" * LIMIT}

    replace_handler(monkeypatch, answer_at_length)
    async with app.running() as host:
        assert (await host.ask("calculate_cost", USAGE))["success"]
        await host.ask("initialize", {"max_line_bytes": LIMIT})
        error = (await host.ask("calculate_cost", USAGE))["error"]
        assert (error["code"], error["reason"]) == ("invalid_request", "reply_too_long")


async def test_a_model_whose_provider_is_misspelt_is_told_the_nearest_one() -> None:
    async with app.running() as host:
        error = (await host.ask("generate", HELLO | {"model": "antropic/claude"}))["error"]
        assert (error["param"], "`anthropic`" in error["hint"]) == ("provider", True)
        assert "hint" not in (await host.ask("generate", HELLO | {"model": "zzzzzzzz/claude"}))["error"]
        assert "hint" not in (await host.ask("generate", HELLO | {"model": "claude"}))["error"]
