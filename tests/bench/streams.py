"""The event streams that the server plays: one row a wire, shaped as the provider sends them.

Sources: the recorded exchanges under `fixtures/` and the providers' own API references, read 2026-11.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

Event = tuple[str, Any]
"""Its name, empty where the wire has none, and its payload."""


class Stream(NamedTuple):
    """One wire. `delta` is an event with a hole for its text, which must need no escapes."""

    provider: str
    base_path: str
    """What `base_url` ends in."""
    path: str
    first: Callable[[], Iterable[Event]]
    delta: Event
    last: Callable[[str, int], Iterable[Event]]
    """The events after the deltas, of the whole text and the number of deltas."""


HOLE = "%HOLE%"


def encode(event: Event) -> bytes:
    """Return *event* as text of a stream."""
    name, payload = event
    data = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))
    return (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()


def template(stream: Stream) -> tuple[bytes, bytes]:
    """Return what stands before and after the text of a delta."""
    before, _, after = encode(stream.delta).partition(HOLE.encode())
    return before, after


# --- Anthropic messages ----------------------------------------------------------------------


def _named(payload: dict[str, Any]) -> Event:
    return payload["type"], payload


def _anthropic_first() -> Iterable[Event]:
    message: dict[str, Any] = {
        "model": "claude-bench",
        "id": "msg_01BenchBenchBenchBench",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 1,
            "service_tier": "standard",
        },
    }
    yield _named({"type": "message_start", "message": message})
    yield _named({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    yield _named({"type": "ping"})


def _anthropic_last(text: str, count: int) -> Iterable[Event]:  # noqa: ARG001 - the shape of `Stream.last`
    yield _named({"type": "content_block_stop", "index": 0})
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _named({"type": "message_delta", "delta": end, "usage": {"output_tokens": count}})
    yield _named({"type": "message_stop"})


# --- OpenAI chat completions -----------------------------------------------------------------


def _chunk(choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> Event:
    return "", {
        "id": "chatcmpl-BenchBenchBenchBench",
        "object": "chat.completion.chunk",
        "created": 1793000000,
        "model": "gpt-bench",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
        "choices": choices,
        "usage": usage,
    }


def _choice(delta: dict[str, Any], finish_reason: str | None = None) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]


def _chat_last(text: str, count: int) -> Iterable[Event]:  # noqa: ARG001 - the shape of `Stream.last`
    yield _chunk(_choice({}, "stop"))
    yield _chunk([], {"prompt_tokens": 10, "completion_tokens": count, "total_tokens": count + 10})
    yield "", "[DONE]"


# --- OpenAI responses ------------------------------------------------------------------------

_ITEM_ID = "msg_0123456789abcdef0123456789abcdef"
_PLACE = {"item_id": _ITEM_ID, "output_index": 0, "content_index": 0}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _item(status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": _ITEM_ID, "type": "message", "status": status, "content": content, "role": "assistant"}


def _response(status: str, output: list[dict[str, Any]], usage: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": "resp_0123456789abcdef0123456789abcdef",
        "object": "response",
        "created_at": 1793000000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "gpt-bench",
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage,
    }


def _responses_first() -> Iterable[Event]:
    empty = _response("in_progress", [], None)
    yield _named({"type": "response.created", "sequence_number": 0, "response": empty})
    yield _named({"type": "response.in_progress", "sequence_number": 1, "response": empty})
    added = {"output_index": 0, "item": _item("in_progress", [])}
    yield _named({"type": "response.output_item.added", "sequence_number": 2} | added)
    yield _named({"type": "response.content_part.added", "sequence_number": 3, "part": _part("")} | _PLACE)


def _responses_last(text: str, count: int) -> Iterable[Event]:
    part, item = _part(text), _item("completed", [_part(text)])
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": count,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": count + 10,
    }
    text_done = {"type": "response.output_text.done", "sequence_number": 5, "text": text, "logprobs": []}
    yield _named(text_done | _PLACE)
    yield _named({"type": "response.content_part.done", "sequence_number": 6, "part": part} | _PLACE)
    yield _named({"type": "response.output_item.done", "sequence_number": 7, "output_index": 0, "item": item})
    whole = _response("completed", [item], usage)
    yield _named({"type": "response.completed", "sequence_number": 8, "response": whole})


STREAMS = {
    "anthropic_messages": Stream(
        provider="anthropic",
        base_path="",
        path="/v1/messages",
        first=_anthropic_first,
        delta=_named({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": HOLE}}),
        last=_anthropic_last,
    ),
    "openai_chat": Stream(
        provider="openai",
        base_path="/v1",
        path="/v1/chat/completions",
        first=lambda: [_chunk(_choice({"role": "assistant", "content": "", "refusal": None}))],
        delta=_chunk(_choice({"content": HOLE})),
        last=_chat_last,
    ),
    "openai_responses": Stream(
        provider="openai",
        base_path="/v1",
        path="/v1/responses",
        first=_responses_first,
        delta=_named(
            {"type": "response.output_text.delta", "sequence_number": 4, "delta": HOLE, "logprobs": []} | _PLACE
        ),
        last=_responses_last,
    ),
}
"""By wire."""
