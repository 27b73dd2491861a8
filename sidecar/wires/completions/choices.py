"""Events with `choices`, which many APIs of completions have in common. [pure]

The text is at `text`, at `delta.content` or at `message.content`. An event may have more beside it, and lack its id,
its model, or the text itself.
"""

from typing import Any

import msgspec

from sidecar.codecs.frame import Frame
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest
from sidecar.core.json_values import parse_json, read_count, read_object, read_text
from sidecar.wires.completions.types import Piece, Prompt, Reading
from sidecar.wires.openai_chat import errors
from sidecar.wires.openai_chat.chunks import join_text
from sidecar.wires.openai_chat.usage import read_usage
from sidecar.wires.shared.errors import make_bad_event_error
from sidecar.wires.shared.types import Route

CODEC = "sse"

MAX_ITEM = 1024
"""Items with a higher number are ignored: nobody asks for so many."""

classify = errors.classify


class _Choice(msgspec.Struct, gc=False):
    index: Any = None
    text: Any = None
    delta: Any = None
    message: Any = None
    finish_reason: Any = None


class _Event(msgspec.Struct, gc=False):
    choices: list[_Choice | None] | None = None
    usage: Any = None
    id: Any = None
    model: Any = None
    error: Any = None
    object: Any = None
    detail: Any = None


_decode = msgspec.json.Decoder(_Event).decode


def read(frame: Frame) -> Reading:
    """Return what an event says.

    Raises: SidecarError for an error inside the stream, and `provider_error` for an event that cannot be read.
    """
    name, data = frame
    if data.startswith(b"[DONE]"):
        return Reading(is_end=True)
    try:
        event = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _find_error(data) from None
    if event.choices is None and (event.error or event.detail or event.object == "error" or name == "error"):
        raise _find_error(data)
    if event.error and not event.choices:
        raise _find_error(data)
    reading = Reading(
        model=read_text(event.model) or None,
        request_id=read_text(event.id) or None,
        usage=read_usage(event.usage) if isinstance(event.usage, dict) else None,
    )
    reading.pieces, reading.reasons = [], {}
    for choice in event.choices or ():
        if choice is not None:
            _read_choice(choice, reading)
    return reading


def _find_error(data: bytes) -> SidecarError:
    document = parse_json(data)
    if isinstance(document, dict | list) and document:
        return errors.classify_in_stream(document)
    return make_bad_event_error()


def _read_choice(choice: _Choice, reading: Reading) -> None:
    item = read_count(choice.index) or 0
    if item > MAX_ITEM:
        return
    text = read_text(choice.text)
    if not text:
        inner = read_object(choice.delta) or read_object(choice.message)
        text = join_text(inner.get("content"))
    if text:
        reading.pieces.append(Piece(item, text))
    if choice.finish_reason is not None:
        reading.reasons[item] = read_text(choice.finish_reason) or None


def make_request(body: dict[str, Any], prompt: Prompt, route: Route, path: str) -> HttpRequest:
    """Return the request with *body* and the host's own options; *path* is the wire's usual one."""
    return HttpRequest(
        method="POST",
        url=route.base_url + (route.path or path),
        headers={"content-type": "application/json"} | route.headers,
        body=msgspec.json.encode(body | prompt.provider_options),
    )


def drop_unset(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the *fields* that have a value: some servers refuse a null."""
    return {name: value for name, value in fields.items() if value is not None and value != ()}
