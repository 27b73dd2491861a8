"""The text of an answer → the JSON that `response_format` asked for, parsed and checked against its schema.

Knows the fences and the prose that models put around JSON. Must not know how a wire asks for JSON, or where the answer
comes from.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import anyio.to_thread
import msgspec

from protocol.messages import Message, TextPart
from protocol.options import ResponseFormat
from protocol.replies import Structured, Warn
from sidecar.core.json_values import has_big_integer, is_too_deep
from sidecar.core.message_content import list_parts
from sidecar.generation.schema_check import UNCHECKED, UncheckedError, find_violation
from sidecar.wires.shared.options import RESPONSE_FORMAT

MAX_STARTS = 64
"""How many brackets in prose are tried as the beginning of JSON."""

MAX_READINGS = 4
"""How much is read while they are tried, as a multiple of the text's length."""

LONG_CHARS = 64 * 1024
"""A longer text is searched in a worker thread."""

_FENCED = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)

_START = re.compile(r"[{\[]")

NO_JSON = "$: there is no JSON in the answer"

BIG_INTEGER = "$: an integer is beyond 2^53; read the JSON from the text"


async def read_structured_output(
    requested: ResponseFormat | None, message: Message, warnings: list[Warn]
) -> Structured | None:
    """Return the JSON of *message*, or None if none was requested or there is no text, as before a tool's result.

    A long text, or one with a schema, is read in a worker thread, so that nothing else has to wait.
    """
    if requested is None or requested.type == "text":
        return None
    text = "".join(p.text for p in list_parts(message) if isinstance(p, TextPart) and not p.refusal)
    if not text.strip():
        return None
    is_native = all(warning.param != RESPONSE_FORMAT for warning in warnings)
    if len(text) < LONG_CHARS and requested.schema is None:
        return _read(requested, text, is_native=is_native)
    return await anyio.to_thread.run_sync(partial(_read, requested, text, is_native=is_native), abandon_on_cancel=True)


def _read(requested: ResponseFormat, text: str, *, is_native: bool) -> Structured:
    has_json, value = _find_json(text)
    error, valid = None if has_json else NO_JSON, cast("bool | None", has_json)
    if has_json and requested.type == "json_schema" and requested.schema is not None:
        try:
            error = find_violation(value, requested.schema)
            valid = error is None
        except UncheckedError as given_up:
            error, valid = f"{UNCHECKED}{given_up}", None
    if has_big_integer(value, text):
        value, error = None, error or BIG_INTEGER
    return Structured(valid=valid, value=value, error=error, native=is_native)


def _find_json(text: str) -> tuple[bool, Any]:
    """Return whether there is JSON in *text*, and its value: the whole text, a fenced part, or the first in prose."""
    for candidate in (text, *(match[1] for match in _FENCED.finditer(text)), *_find_json_in_prose(text)):
        try:
            if is_too_deep(candidate.encode()):
                # What stands inside is not the answer.
                return False, None
            value = msgspec.json.decode(candidate)
            # A number of hundreds of digits can be read but not written to the host.
            msgspec.json.encode(value)
        except (ValueError, OverflowError, RecursionError):
            continue
        return True, value
    return False, None


def _find_json_in_prose(text: str) -> Iterator[str]:
    """Yield the parts of *text* from its first brackets on that may be JSON, with bounded work."""
    chars_left = MAX_READINGS * len(text)
    for match, _ in zip(_START.finditer(text), range(MAX_STARTS), strict=False):
        start = match.start()
        try:
            end = _DECODER.raw_decode(text, start)[1]
        except json.JSONDecodeError as error:
            chars_left -= error.pos - start
        except (ValueError, RecursionError):
            chars_left -= len(text) - start
        else:
            chars_left -= end - start
            yield text[start:end]
        if chars_left < 0:
            return


_DECODER = json.JSONDecoder()
"""Finds the end of JSON that is followed by prose. The value itself is read by msgspec, as everywhere."""
