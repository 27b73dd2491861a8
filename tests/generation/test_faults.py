"""Providers that refuse, break off or answer something else: each has its code, and none is taken for a success."""

import json
import socket

import pytest

from tests.support.fake_provider import CLOSE, RESET, Act, Provider, Step
from tests.support.in_memory import InMemoryProvider
from tests.support.lines import CANARY, Object, text
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, OPENAI, SHAPES, SSE, Shape, document, head, opened, stream, whole

BY_SHAPE = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.wire)

RETRIED_SECONDS = 20.0
"""How long it may take until a request that is tried again gives up."""


@pytest.fixture
def sidecar(shared: Program) -> Program:
    """Return one process for all tests: what went wrong before must not matter."""
    return shared


@pytest.fixture
def provider(shared: Program) -> Provider:
    """Return its provider as if nothing had come yet."""
    assert shared.provider
    shared.provider.forget()
    return shared.provider


def failed(sidecar: Program, model: str, shape: Shape = ANTHROPIC, action: str = "stream_chat") -> Object:
    """Return the error that a chat ends with."""
    error: Object = sidecar.reply(sidecar.chat(model, shape, action), RETRIED_SECONDS)["error"]
    return error


def test_a_refused_connection_is_a_network_error(sidecar: Program) -> None:  # D01
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        params = sidecar.params("m", base_url=f"http://127.0.0.1:{nobody.getsockname()[1]}")
        for action in ("stream_chat", "generate"):
            error = sidecar.reply(sidecar.send(action, params, provider="anthropic"), RETRIED_SECONDS)["error"]
            assert (error["code"], error["reason"], error["retryable"]) == ("network_error", "refused", True)
            assert error["partial"] is False
            assert error["attempts"] >= 1


STATUSES = [
    # status, headers, code, retryable
    (400, {}, "invalid_request", False),
    (401, {}, "auth_failed", False),
    (402, {}, "quota_exceeded", False),
    (403, {}, "permission_denied", False),
    (404, {}, "model_not_found", False),
    (413, {}, "invalid_request", False),
    (422, {}, "invalid_request", False),
    (429, {"retry_after": "86400"}, "rate_limited", True),
    (500, {"x_should_retry": "false"}, "provider_error", False),
    (503, {"retry_after": "86400"}, "provider_overloaded", True),
    (529, {"retry_after": "86400"}, "provider_overloaded", True),
]


@BY_SHAPE
def test_each_status_has_its_code_and_the_provider_repeats_no_key(
    sidecar: Program, provider: Provider, shape: Shape
) -> None:  # E07, E08, E09, E24
    for status, headers, code, retryable in STATUSES:
        said = {"error": {"message": f"No\u001b[31m for {CANARY}\u202e: {'why ' * 500}"}}
        provider.play(f"m{status}", document(said, status, **headers))
        error = failed(sidecar, f"m{status}", shape)
        assert (error["code"], error["retryable"], error["provider_status"]) == (code, retryable, status)
        assert error.get("retry_after_ms") == (86_400_000 if "retry_after" in headers else None)
        assert (error["provider"], error["model"]) == (shape.provider, f"m{status}")
        assert len(error["message"]) <= 500
        assert not set("\u001b\u202e") & set(error["message"])
        assert error["partial"] is False


@pytest.mark.parametrize("body", [b"<html><h1>Bad Gateway</h1></html>", b"", b"\xff\xfe", b'{"error":'])
def test_an_error_is_told_by_its_status_whatever_its_body(
    sidecar: Program, provider: Provider, body: bytes
) -> None:  # E07
    error = failed(sidecar, provider.play("m", whole(body, 403, "text/html")))
    assert (error["code"], error["provider_status"]) == ("permission_denied", 403)
    assert "<" not in error["message"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(sidecar: Program, provider: Provider, status: int) -> None:  # D22
    with InMemoryProvider() as other:
        provider.play("m", whole(b"", status, location=f"{other.url}/v1/messages"))
        for action in ("stream_chat", "generate"):
            error = failed(sidecar, "m", action=action)
            assert (error["code"], error["retryable"], error["provider_status"]) == ("provider_error", False, status)
        assert other.connections == 0
    assert len(provider.calls("m")) == 2


def cut(shape: Shape, *ends: Step) -> list[Step]:
    """Return a reply of two pieces that ends as *ends* say."""
    return [*opened([shape.opening, shape.text("one "), shape.text("two")]), *ends]


def unframed(shape: Shape) -> list[Step]:
    """Return a reply of two pieces that ends with its connection."""
    return [head(content_type=SSE, connection="close"), shape.opening, shape.text("one "), shape.text("two"), CLOSE]


@BY_SHAPE
@pytest.mark.parametrize("way", ["RST", "FIN", "the last chunk", "the last chunk, within an event", "no framing"])
def test_a_stream_without_its_terminal_marker_was_interrupted(
    sidecar: Program, provider: Provider, shape: Shape, way: str
) -> None:  # D08, D09
    within = b"5\r\ndata:\r\n0\r\n\r\n"
    ways: dict[str, list[Step]] = {
        "RST": cut(shape, RESET),
        "FIN": cut(shape, CLOSE),
        "the last chunk": cut(shape, b"0\r\n\r\n"),
        "the last chunk, within an event": cut(shape, within),
        "no framing": unframed(shape),
    }
    request_id = sidecar.chat(provider.play("m", ways[way]), shape)
    lines = sidecar.stream(request_id)
    error = lines[-1].data["error"]
    assert (error["code"], error["retryable"], error["partial"]) == ("stream_interrupted", True, True)
    assert error["partial_seq"] == lines[-2].data["seq"]
    # What a RST overtakes is lost in the system's own buffers.
    assert text(lines) == "one two" or (way == "RST" and "one two".startswith(text(lines)))
    assert len(provider.calls("m")) == 1


@BY_SHAPE
def test_generate_does_not_give_half_an_answer(sidecar: Program, provider: Provider, shape: Shape) -> None:  # D09
    error = failed(sidecar, provider.play("m", cut(shape, b"0\r\n\r\n")), shape, "generate")
    assert error["code"] == "stream_interrupted"
    assert error["partial"] is False


ODD: dict[str, list[Step]] = {
    "a page": whole(b"<!doctype html><title>Log in</title>", 200, "text/html; charset=utf-8"),
    "a page that is called a stream": whole(b"\n <html>", 200, SSE),
    "text": whole(b"Hello", 200, "text/plain"),
    "nothing": whole(b"", 200, SSE),
    "white space": whole(b" \r\n\n", 200, SSE),
    "no content": [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "comments": stream([b": keep-alive\n\n", b": keep-alive\n\n"]),
    "another document": document({"hello": "world"}),
    "a list": document([1, 2, 3]),
    "half a document": whole(b'{"id":"x","choices":[', 200),
    "an unreadable event": stream([b"data: {nope}\n\n"]),
}


@BY_SHAPE
def test_what_is_no_answer_is_never_taken_for_one(sidecar: Program, provider: Provider, shape: Shape) -> None:  # D19
    ids = {}
    for name, steps in ODD.items():
        provider.play(name, steps)
        for action in ("stream_chat", "generate"):
            ids[name, action] = sidecar.chat(name, shape, action)
    for (name, action), request_id in ids.items():
        line = sidecar.reply(request_id, RETRIED_SECONDS)
        assert not line["success"], name
        assert line["error"]["code"] in {"provider_error", "stream_interrupted"}, (name, action, line)
        assert "provider_status" not in line["error"], name


@BY_SHAPE
def test_an_error_within_the_stream_ends_it_with_what_came_before(
    sidecar: Program, provider: Provider, shape: Shape
) -> None:  # E16
    said = {"type": "error", "error": {"type": "overloaded_error", "code": "server_error", "message": "Overloaded"}}
    event = b"event: error\ndata: %s\n\n" % json.dumps(said).encode()
    lines = sidecar.stream(
        sidecar.chat(provider.play("m", stream([shape.opening, shape.text("so far"), event])), shape)
    )
    error = lines[-1].data["error"]
    assert text(lines) == "so far"
    assert error["code"] in {"provider_overloaded", "provider_error"}
    assert (error["partial"], error["retryable"]) == (True, True)
    assert "provider_status" not in error


@pytest.mark.parametrize("end", [RESET, CLOSE], ids=["RST", "FIN"])
def test_a_connection_that_breaks_before_the_reply_is_a_network_error(
    sidecar: Program, provider: Provider, end: Act
) -> None:  # D06
    error = failed(sidecar, provider.play("m", [end]))
    assert (error["code"], error["partial"], error["retryable"]) == ("network_error", False, True)


def test_after_every_fault_the_next_chat_works(sidecar: Program, provider: Provider) -> None:  # I6
    provider.play("fine", OPENAI.answer("fine"))
    for name, steps in ODD.items():
        provider.play(name, steps)
        failed(sidecar, name, OPENAI)
        assert text(sidecar.stream(sidecar.chat("fine", OPENAI))) == "fine"
