"""One completion at a time per slot, and answers that are taken over."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.completion.run import FLIGHT_MS
from tests.support.fake_services import Answer, Services
from tests.support.in_process import InProcess, online
from tests.support.lines import Id, Object

PREFIX = "def area(r):\n    return "


def begun(*texts: str, ends: bool = False) -> Answer:
    """Return a stream that has these pieces; unless it *ends*, nothing follows."""
    events = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    body = b"".join(b"data: %b\n\n" % msgspec.json.encode(event) for event in events)
    return Answer(body + (b"data: [DONE]\n\n" if ends else b""), stalls=not ends)


@pytest.fixture
def program(services: Services, tmp_path: Path) -> Iterator[InProcess]:
    with online(services, tmp_path, MISTRAL_API_KEY="CANARY-mistral") as each:
        yield each


def send(program: InProcess, prefix: str = PREFIX, action: str = "complete", **more: Any) -> Id:
    """Send a request that takes the slot, and return its id."""
    params = {"model": "codestral-latest", "prefix": prefix, "slot": "window"} | more
    return program.send(action, params, provider="mistral")


def end(program: InProcess, request_id: Id) -> Object:
    """Return the terminal line of a request."""
    line: Object = program.reply(request_id)
    return line


def test_a_newer_request_ends_the_older_one_of_its_slot(services: Services, program: InProcess) -> None:
    services.answer("POST *", begun("x"), begun("PI * r * r\n"))
    older = send(program)
    services.wait(lambda: len(services.asked()) == 1, "the first question")
    newer = send(program, "def perimeter(r):\n    return ")
    error = end(program, older)["error"]
    assert (error["code"], error["reason"], error["partial"]) == ("cancelled", "superseded", False)
    assert end(program, newer)["data"]["items"][0]["text"] == "PI * r * r"
    services.wait(lambda: services.asked()[0].closed_at is not None, "the end of the first question")


def test_an_answer_that_begins_with_what_was_typed_is_taken_over(services: Services, program: InProcess) -> None:
    services.answer("POST *", begun("PI * r"))
    older = send(program, action="stream_complete", options={"lines": "many"})
    program.chunk(older, 1)
    newer = send(program, PREFIX + "PI", options={"lines": "many", "budget_ms": 5000})
    assert end(program, older)["error"]["reason"] == "superseded"
    data = end(program, newer)["data"]
    assert data["reused"] is True
    assert data["items"] == [{"text": " * r", "finish_reason": "length", "cut_by": "budget"}]
    assert len(services.asked()) == 1


def test_what_a_superseded_answer_has_cost_is_in_the_ledger(services: Services, program: InProcess) -> None:
    services.answer("POST *", begun("PI * r"), begun("x\n"))
    older = send(program, action="stream_complete", options={"lines": "many"})
    program.chunk(older, 1)
    end(program, send(program, "y = "))
    assert end(program, older)["error"]["partial"] is True
    # The rest of the second one is waited for, but not for long.
    program.let_pass(1)
    rows = program.ask("usage_report", {"by": ["outcome", "code"]})["data"]["rows"]
    assert [(each["group"]["outcome"], each["requests"], each["unpriced"]) for each in rows] == [
        ("cancelled", 1, 0),
        ("ok", 1, 0),
    ]
    assert rows[0]["group"]["code"] == "cancelled"


def test_a_host_with_short_lines_and_unknown_fields_is_answered(services: Services, program: InProcess) -> None:
    services.answer("POST *", begun("PI * r * r\n"))
    program.ask("initialize", {"max_line_bytes": 16384})
    data = end(program, send(program, wish="none"))["data"]
    assert data["items"][0]["text"] == "PI * r * r"
    assert [each["code"] for each in data["warnings"]] == ["unknown_field"]
    services.answer("POST *", begun("x" * 20_000 + "\n"))
    error = end(program, send(program))["error"]
    assert (error["code"], error["reason"]) == ("invalid_request", "reply_too_long")


def test_a_question_that_nobody_waits_for_any_more_is_taken_back(services: Services, program: InProcess) -> None:
    services.answer("POST *", begun("x"))
    request_id = send(program)
    services.wait(lambda: len(services.asked()) == 1, "the question")
    program.ask("cancel", {"id": request_id})
    assert end(program, request_id)["error"]["code"] == "cancelled"
    services.wait(lambda: services.asked()[0].closed_at is not None, "its end")


def test_an_answer_that_never_ends_is_a_timeout(services: Services, program: InProcess) -> None:
    services.answer("POST *", begun())
    error = program.reply(send(program), FLIGHT_MS / 1000 + 10)["error"]
    assert (error["code"], error["phase"]) == ("timeout", "idle")
    assert error["elapsed_ms"] <= FLIGHT_MS + 1000
