"""`stream_complete`, budgets, and requests that are no good."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.completion import MAX_CODE_CHARS
from tests.support.fake_services import Answer, Services, document
from tests.support.in_process import InProcess, online
from tests.support.lines import Object

PREFIX = "def area(r):\n    return "
SSE = {"content-type": "text/event-stream"}


def begun(*pieces: str, ends: bool = False) -> Answer:
    """Return a stream of these pieces; unless it *ends*, nothing follows."""
    events = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + ("data: [DONE]\n\n" if ends else "")
    return Answer(body.encode(), headers=SSE, stalls=not ends)


@pytest.fixture
def program(services: Services, tmp_path: Path) -> Iterator[InProcess]:
    with online(services, tmp_path, MISTRAL_API_KEY="CANARY-mistral", SIDECAR_MAX_ATTEMPTS="3") as each:
        yield each


def ask(program: InProcess, action: str = "complete", **more: Any) -> list[Object]:
    """Return the lines of a request."""
    given = {"model": "codestral-latest", "prefix": PREFIX} | more
    return [line.data for line in program.stream(program.send(action, given, provider="mistral"))]


def test_a_stream_gives_pieces_that_stay_and_ends_with_the_whole(services: Services, program: InProcess) -> None:
    services.answer("POST *", begun("PI", " * r", " * r\n", "\nprint(area(2))", ends=True))
    lines = [line["data"] for line in ask(program, "stream_complete", suffix="\n\nprint(area(2))\n")]
    assert [line["type"] for line in lines[:2]] == ["start", "item_delta"]
    done = lines[-1]
    assert done["type"] == "done"
    assert "".join(line["text"] for line in lines if line["type"] == "item_delta") == done["items"][0]["text"]
    assert (done["items"][0]["text"], done["items"][0]["cut_by"]) == ("PI * r * r", "line")


def test_a_stream_gives_the_beginning_of_a_line_at_once(services: Services, program: InProcess) -> None:
    services.answer("POST *", begun("PI", " * r"))
    given = {"model": "codestral-latest", "prefix": PREFIX, "options": {"budget_ms": 800}}
    request_id = program.send("stream_complete", given, provider="mistral")
    assert program.chunk(request_id, 1).data["data"] == {"type": "item_delta", "item": 0, "text": "PI * r"}
    assert program.reply(request_id)["data"]["items"][0]["cut_by"] == "budget"


def test_raw_text_is_streamed_as_it_comes(services: Services, program: InProcess) -> None:
    services.answer("POST *", begun(" x\n", "\n\n  y  ", ends=True))
    lines = [line["data"] for line in ask(program, "stream_complete", options={"trim": False})]
    assert [line["text"] for line in lines if line["type"] == "item_delta"] == [" x\n\n\n  y  "]
    assert lines[-1]["items"][0] == {"text": " x\n\n\n  y  ", "finish_reason": "stop"}


def test_what_has_come_by_the_budget_is_the_answer(services: Services, program: InProcess) -> None:
    services.answer("POST *", begun("PI * r"))
    (reply,) = ask(program, options={"budget_ms": 300})
    assert reply["data"]["items"] == [{"text": "PI * r", "finish_reason": "length", "cut_by": "budget"}]
    assert 300 <= reply["data"]["timings"]["total_ms"] < 400
    assert reply["data"]["usage"]["estimated"] is True
    services.wait(lambda: services.asked()[0].closed_at is not None, "the end of the question")


def test_a_budget_that_is_over_before_anything_came_gives_nothing(services: Services, program: InProcess) -> None:
    services.answer("POST *", begun())
    (reply,) = ask(program, options={"budget_ms": 200})
    assert reply["data"]["items"] == [{"text": "", "finish_reason": "length", "cut_by": "budget"}]


def test_a_limit_that_asks_for_a_long_wait_is_an_error_at_once(services: Services, program: InProcess) -> None:
    services.answer("POST *", document({"message": "Requests rate limit exceeded"}, 429, retry_after="7"))
    (reply,) = ask(program, options={"budget_ms": 900})
    assert (reply["error"]["code"], reply["error"]["retry_after_ms"]) == ("rate_limited", 7000)
    (reply,) = ask(program, options={"budget_ms": 900})
    assert (reply["error"]["code"], len(services.asked())) == ("rate_limited", 1)


def test_a_failure_that_passes_is_asked_once_more(services: Services, program: InProcess) -> None:
    services.answer("POST *", document({"message": "busy"}, 503), begun("PI", ends=True))
    (reply,) = ask(program)
    assert reply["data"]["items"][0]["text"] == "PI"
    assert [each.get("code") for each in reply["data"]["attempts"]] == ["provider_overloaded", None]


def test_a_stream_that_breaks_off_is_an_error_with_what_was_delivered(services: Services, program: InProcess) -> None:
    body = b'data: {"choices":[{"index":0,"delta":{"content":"PI * "}}]}\n\n'
    services.answer("POST *", Answer(body, headers=SSE))
    error = ask(program, "stream_complete")[-1]["error"]
    assert (error["code"], error["partial"]) == ("stream_interrupted", True)


REFUSED: dict[str, tuple[Object, str]] = {
    "no text": ({"prefix": ""}, "params.prefix"),
    "a NUL before the cursor": ({"prefix": "a\0b"}, "params.prefix"),
    "a NUL after the cursor": ({"suffix": "a\0b"}, "params.suffix"),
    "a NUL in another file": ({"context": [{"path": "a", "text": "\0"}]}, "params.context[0].text"),
    "too long a text": ({"prefix": "x" * (MAX_CODE_CHARS + 1)}, "params.prefix"),
    "too many items": ({"options": {"n": 9}}, "params.options.n"),
    "a word that is none": ({"options": {"lines": "two"}}, "params.options.lines"),
    "a way that the model lacks": (
        {"options": {"method": "template"}, "model": "mistral-large-3"},
        "params.options.method",
    ),
    "an empty slot": ({"slot": ""}, "params.slot"),
}


@pytest.mark.parametrize(("more", "param"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_is_no_good_names_the_field(
    services: Services, program: InProcess, more: Object, param: str
) -> None:
    (reply,) = ask(program, **more)
    assert (reply["error"]["code"], reply["error"]["param"]) == ("invalid_request", param)
    assert not services.asked()


def test_a_provider_without_any_way_is_refused(services: Services, tmp_path: Path) -> None:
    with online(services, tmp_path, VOYAGE_API_KEY="CANARY-voyage") as program:
        error = program.ask("complete", {"model": "voyage-code-3", "prefix": "x"}, provider="voyage")["error"]
    assert error["code"] == "invalid_request"
    assert not services.asked()


def test_half_of_a_surrogate_pair_is_no_json(program: InProcess) -> None:
    raw = (
        b'{"id":9,"action":"complete","provider":"mistral","params":{"model":"codestral-latest","prefix":"\\ud800"}}\n'
    )
    assert program.refusal(raw)["code"] == "parse_error"


def test_an_unknown_model_is_an_error_of_the_provider(services: Services, program: InProcess) -> None:
    services.answer("POST *", document({"message": "Invalid model: codestral-9", "type": "invalid_model"}, 400))
    (reply,) = ask(program, model="codestral-9")
    assert reply["error"]["code"] == "model_not_found"
