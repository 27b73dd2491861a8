"""HTTP replies and providers' events as scripts: what a real answer looks like on the wire."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from tests.support.fake_provider import Repeat, Step

SSE = "text/event-stream"


def head(status: int = 200, /, **headers: str) -> bytes:
    """Return a status line and headers; `content_type` is written `content-type`."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def whole(body: bytes, status: int = 200, content_type: str = "application/json", **headers: str) -> list[Step]:
    """Return a reply that has a length."""
    described = {"content_type": content_type, "content_length": str(len(body))} | headers
    return [head(status, **described) + body]


def document(value: object, status: int = 200, **headers: str) -> list[Step]:
    """Return a reply that is one JSON document."""
    return whole(json.dumps(value).encode(), status, **headers)


def opened(steps: Iterable[Step], **headers: str) -> list[Step]:
    """Return a chunked reply that has begun and not ended: each step of bytes is a chunk of its own."""
    return [head(content_type=SSE, transfer_encoding="chunked", **headers), *map(_chunked, steps)]


def stream(steps: Iterable[Step], **headers: str) -> list[Step]:
    """Return a chunked reply with its proper end."""
    return [*opened(steps, **headers), b"0\r\n\r\n"]


def at_once(steps: Iterable[Step]) -> list[Step]:
    """Return a reply in one piece: whoever has its last event has its end, and may use the connection again."""
    return [b"".join(step for step in steps if isinstance(step, bytes))]


def _chunked(step: Step) -> Step:
    match step:
        case bytes():
            return b"%x\r\n%s\r\n" % (len(step), step)
        case Repeat(data, times):
            return Repeat(b"%x\r\n%s\r\n" % (len(data), data), times)
        case _:
            return step


class Shape(NamedTuple):
    """The events of one wire."""

    provider: str
    """Which of the sidecar's providers speaks it."""
    wire: str
    base: str
    """What follows the origin in its base address."""
    opening: bytes
    """All that comes before the first text."""
    closing: bytes
    """All that comes after the last, terminal marker included."""
    template: bytes

    def text(self, text: str) -> bytes:
        """Return the event for a piece of text."""
        return self.template % json.dumps(text, ensure_ascii=False).encode()

    def answer(self, *pieces: str) -> list[Step]:
        """Return a whole reply with the text *pieces*."""
        return stream([self.opening, *map(self.text, pieces), self.closing])

    def begun(self, *steps: Step | str) -> list[Step]:
        """Return a reply that has begun, with text and other *steps*, and has not ended."""
        return opened([self.opening, *(self.text(step) if isinstance(step, str) else step for step in steps)])


def _event(name: str, **fields: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), json.dumps({"type": name, **fields}).encode())


def _data(**fields: Any) -> bytes:
    return b"data: %s\n\n" % json.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", **fields}).encode()


def _choice(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    return _data(model="gpt-x", choices=[{"index": 0, "delta": delta, "finish_reason": finish_reason}])


_MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": []}

ANTHROPIC = Shape(
    provider="anthropic",
    wire="anthropic_messages",
    base="",
    opening=_event("message_start", message=_MESSAGE | {"usage": {"input_tokens": 10, "output_tokens": 1}})
    + _event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    template=b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":%s}}\n\n',
    closing=_event("content_block_stop", index=0)
    + _event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 7})
    + _event("message_stop"),
)

OPENAI = Shape(
    provider="openai",
    wire="openai_chat",
    base="/v1",
    opening=_choice({"role": "assistant", "content": ""}),
    template=b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"gpt-x",'
    b'"choices":[{"index":0,"delta":{"content":%s},"finish_reason":null}]}\n\n',
    closing=_choice({}, "stop")
    + _data(model="gpt-x", choices=[], usage={"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17})
    + b"data: [DONE]\n\n",
)

SHAPES = (ANTHROPIC, OPENAI)
