"""Files out of an answer: chunks while it streams, and what becomes of them when it ends or breaks off."""

import hashlib
from itertools import count
from typing import Any

import pytest

from tests.outputs.streams import WHOLE, ask, chunks, params, text_of
from tests.support.fake_provider import RESET, STALL, Provider
from tests.support.lines import Object, text
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, OPENAI

ROWS = [
    {"path": "a.py", "op": "create", "complete": True, "content": "x = 1\n", "lines": 1, "files": [0]},
    {"path": "b/c.py", "op": "create", "complete": True, "content": "y = 2\n", "lines": 1, "files": [1]},
]


def bare(rows: list[Object]) -> list[Object]:
    """Return rows without their hashes, which are those of their contents."""
    assert all(row.get("sha256") == hashlib.sha256(row["content"].encode()).hexdigest() for row in rows)
    return [{key: value for key, value in row.items() if key != "sha256"} for row in rows]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_files_stream_beside_the_prose(sidecar: Program, provider: Provider, size: int) -> None:
    lines = ask(sidecar, provider, [WHOLE[at : at + size] for at in range(0, len(WHOLE), size)])
    assert [(each["path"], each["op"]) for each in chunks(lines, "file_start")] == [
        ("a.py", "create"),
        ("b/c.py", "create"),
    ]
    assert (text_of(lines, 0), text_of(lines, 1)) == ("x = 1\n", "y = 2\n")
    assert [each["complete"] for each in chunks(lines, "file_end")] == [True, True]
    assert text(lines).startswith("Two files.")
    assert text(lines).endswith("That is all.\n")
    done = lines[-1].data["data"]
    assert bare(done["files"]) == ROWS
    assert done["message"]["content"][0]["text"] == WHOLE


def test_generate_has_the_files_in_its_line(sidecar: Program, provider: Provider) -> None:
    provider.play("m", ANTHROPIC.answer(WHOLE))
    asked = params(sidecar, "m", {"type": "files"})
    data = sidecar.ask("generate", asked, provider="anthropic")["data"]
    assert (bare(data["files"]), data["content"]) == (ROWS, WHOLE)


def test_without_output_nothing_is_read_as_a_file(sidecar: Program, provider: Provider) -> None:
    for output in ({"type": "text"}, {"type": "code"}):
        lines = ask(sidecar, provider, [WHOLE], output)
        assert chunks(lines, "file_start") == []
        assert text(lines) == WHOLE
        assert "files" not in lines[-1].data["data"]


def test_edits_are_applied_to_what_the_host_has_given(sidecar: Program, provider: Provider) -> None:
    block = "a.py\n<<<<<<< SEARCH\nx = 1\n=======\nx = 2\n>>>>>>> REPLACE\n"
    output = {"type": "files", "format": "blocks", "existing": {"./a.py": "x = 1\ny = 1\n"}}
    lines = ask(sidecar, provider, [block, block], output)
    good, late = chunks(lines, "file_end")
    assert (good["complete"], good["edits"]) == (True, [{"edit": 0, "match": "exact", "start_line": 1, "end_line": 1}])
    assert (late["complete"], late["problem"], late["edits"][0]["problem"]) == (False, "edits_failed", "not_found")
    sides = [(each["side"], each["content"]) for each in chunks(lines, "file_chunk") if each["file"] == 0]
    assert sides == [("search", "x = 1\n"), ("replace", "x = 2\n")]
    (row,) = lines[-1].data["data"]["files"]
    assert (row["op"], row["complete"], row["files"]) == ("edit", False, [0, 1])


def test_a_broken_answer_ends_its_open_file_before_the_error(sidecar: Program, provider: Provider) -> None:
    provider.play("m", [*ANTHROPIC.begun("a.py\n```python\nx = 1\n"), RESET])
    lines = sidecar.stream(sidecar.send("stream_chat", params(sidecar, "m", {"type": "files"}), provider="anthropic"))
    (end,) = chunks(lines, "file_end")
    assert (end["complete"], end["problem"]) == (False, "incomplete")
    assert text_of(lines, 0) == "x = 1\n"
    assert lines[-1].data["error"]["code"] == "stream_interrupted"


def test_a_timeout_ends_the_open_file_before_the_error(sidecar: Program, provider: Provider) -> None:
    provider.play("m", [*ANTHROPIC.begun("a.py\n```python\nx = 1\n"), STALL])
    asked = params(sidecar, "m", {"type": "files"})
    lines = sidecar.stream(sidecar.send("stream_chat", asked, provider="anthropic", timeout=900))
    (end,) = chunks(lines, "file_end")
    assert (end["complete"], lines[-1].data["error"]["reason"]) == (False, "deadline")


@pytest.mark.parametrize("limit", [None, 16384])
def test_a_cancellation_ends_the_open_file(sidecar: Program, provider: Provider, limit: int | None) -> None:
    sidecar.ask("initialize", {"max_line_bytes": limit})
    provider.play("m", [*ANTHROPIC.begun("z.py\n```python\n```\na.py\n```python\nx = 1\n", "y = 2\n"), STALL])
    request_id = sidecar.send("stream_chat", params(sidecar, "m", {"type": "files"}), provider="anthropic")
    next(at for at in count() if "y = 2" in str(sidecar.chunk(request_id, at).data))
    assert sidecar.ask("cancel", {"id": request_id})["data"]["found"]
    lines = sidecar.stream(request_id)
    assert [(each["path"], each["complete"]) for each in chunks(lines, "file_end")] == [("z.py", True), ("a.py", False)]
    error = lines[-1].data["error"]
    assert (error["code"], error["partial_seq"]) == ("cancelled", lines[-2].data["seq"])


@pytest.mark.parametrize("reason", ["max_tokens", "stop_sequence"])
def test_a_file_that_an_answer_was_cut_in_is_never_complete(sidecar: Program, provider: Provider, reason: str) -> None:
    # A format without an end marker: its last file ends with the answer.
    shape = ANTHROPIC._replace(closing=ANTHROPIC.closing.replace(b"end_turn", reason.encode()))
    provider.play("m", shape.answer("--- /dev/null\n+++ b/a.py\n@@ -0,0 +1,3 @@\n+x = 1\n"))
    options: dict[str, Any] = {"stop": "zzz"} if reason == "stop_sequence" else {}
    asked = params(sidecar, "m", {"type": "files"}, **options)
    lines = sidecar.stream(sidecar.send("stream_chat", asked, provider="anthropic"))
    assert [each["complete"] for each in chunks(lines, "file_end")] == [False]
    assert not lines[-1].data["data"]["files"][0]["complete"]


def test_another_attempt_begins_its_files_anew(sidecar: Program, provider: Provider) -> None:
    provider.play_in_turn("m", [*ANTHROPIC.begun(), RESET], ANTHROPIC.answer(WHOLE))
    asked = params(sidecar, "m", {"type": "files"}, retry={"max_attempts": 2})
    lines = sidecar.stream(sidecar.send("stream_chat", asked, provider="anthropic"))
    assert len(lines[-1].data["data"]["attempts"]) == 2
    assert bare(lines[-1].data["data"]["files"]) == ROWS


def test_a_resumed_answer_begins_its_cut_file_again(sidecar: Program, provider: Provider) -> None:
    """The stream tells of every file from its beginning; those before the cut stand in `done.files`."""
    begun, rest = WHOLE[: WHOLE.index(" = 2")], WHOLE[WHOLE.index(" = 2") :]
    provider.play_in_turn("gpt-x", [*OPENAI.begun(begun), b"0\r\n\r\n"], OPENAI.answer(rest))
    asked = params(sidecar, "gpt-x", {"type": "files"}, OPENAI)
    error = sidecar.reply(sidecar.send("stream_chat", asked, provider="openai"))["error"]
    again = asked | {"partial_message": error["partial_message"], "method": error["resume"]["method"]}
    lines = sidecar.stream(sidecar.send("resume", again, provider="openai"))
    assert [(each["file"], each["path"]) for each in chunks(lines, "file_start")] == [(1, "b/c.py")]
    assert text_of(lines, 1) == "y = 2\n"
    assert text(lines) == "\nThat is all.\n"
    assert bare(lines[-1].data["data"]["files"]) == ROWS


def test_a_resumed_answer_needs_what_came_before(sidecar: Program, provider: Provider) -> None:
    provider.play("m", ANTHROPIC.answer("x"))
    asked = params(sidecar, "m", {"type": "files"}) | {"method": "cursor", "response_id": "resp_1"}
    error = sidecar.ask("resume", asked, provider="anthropic")["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "params.partial_message")


def test_edits_that_are_much_work_delay_no_other_request(sidecar: Program, provider: Provider) -> None:
    old = "".join(f"line {at}\n" for at in range(40_000))
    block = "a.py\n<<<<<<< SEARCH\nline 7\n=======\nline seven\n>>>>>>> REPLACE\n"
    output = {"type": "files", "format": "blocks", "existing": {"a.py": old}}
    lines = ask(sidecar, provider, [block, "\nDone.\n"], output)
    (end,) = chunks(lines, "file_end")
    assert end["complete"]
    assert lines[-1].data["data"]["files"][0]["content"] == old.replace("line 7\n", "line seven\n", 1)
    assert text(lines).endswith("Done.\n")
