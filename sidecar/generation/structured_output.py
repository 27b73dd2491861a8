"""The text of an answer → the JSON that `response_format` asked for, parsed and held against its schema.

Knows the fences and the prose that models put around JSON. Must not know how it was asked for on a
wire, or where the answer came from.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import anyio.to_thread
import msgspec

from protocol.messages import Message, TextPart
from protocol.replies import Structured, Warn
from protocol.requests import ResponseFormat
from sidecar.core.message_content import list_parts
from sidecar.generation.schema_check import UNCHECKED, UncheckedError, find_violation
from sidecar.wires.shared.options import RESPONSE_FORMAT

MAX_STARTS = 64
"""How many brackets in a prose are tried as the beginning of JSON."""

MAX_READINGS = 4
"""How often the prose is read through at most while they are tried."""

LONG_CHARS = 64 * 1024
"""A longer text is searched in a worker thread."""

_FENCED = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)

_START = re.compile(r"[{\[]")

NO_JSON = "$: there is no JSON in the answer"


async def read_structured_output(
    wanted: ResponseFormat | None, message: Message, warnings: list[Warn]
) -> Structured | None:
    """Return the JSON of *message*, or None where none was asked for or nothing was said, as before a tool's result.

    A schema, or a long text, is read in a worker thread: nothing else waits for that.
    """
    if wanted is None or wanted.type == "text":
        return None
    text = "".join(p.text for p in list_parts(message) if isinstance(p, TextPart) and not p.refusal)
    if not text.strip():
        return None
    is_native = all(warning.param != RESPONSE_FORMAT for warning in warnings)
    if len(text) < LONG_CHARS and wanted.schema is None:
        return _read(wanted, text, is_native=is_native)
    return await anyio.to_thread.run_sync(partial(_read, wanted, text, is_native=is_native), abandon_on_cancel=True)


def _read(wanted: ResponseFormat, text: str, *, is_native: bool) -> Structured:
    found, value = _find_json(text)
    error, valid = None if found else NO_JSON, cast("bool | None", found)
    if found and wanted.type == "json_schema" and wanted.schema is not None:
        try:
            error = find_violation(value, wanted.schema)
            valid = error is None
        except UncheckedError as given_up:
            error, valid = f"{UNCHECKED}{given_up}", None
    return Structured(valid=valid, value=value, error=error, native=is_native)


def _find_json(text: str) -> tuple[bool, Any]:
    """Return whether there is JSON in *text*, and the value: the whole, what is fenced, or the first in the prose."""
    for candidate in (text, *(match[1] for match in _FENCED.finditer(text)), *_find_json_in_prose(text)):
        try:
            value = msgspec.json.decode(candidate)
            # What can be read but not written, a number of hundreds of digits, could not be handed on.
            msgspec.json.encode(value)
        except (ValueError, OverflowError, RecursionError):
            continue
        return True, value
    return False, None


def _find_json_in_prose(text: str) -> Iterator[str]:
    """Yield what may be JSON at the first brackets of *text*, reading at most a few times as much as there is."""
    left = MAX_READINGS * len(text)
    for match, _ in zip(_START.finditer(text), range(MAX_STARTS), strict=False):
        start = match.start()
        try:
            end = _DECODER.raw_decode(text, start)[1]
        except json.JSONDecodeError as error:
            left -= error.pos - start
        except (ValueError, RecursionError):
            left -= len(text) - start
        else:
            left -= end - start
            yield text[start:end]
        if left < 0:
            return


_DECODER = json.JSONDecoder()
"""It knows where JSON ends that something follows; the value is left to the one that reads all JSON here."""
