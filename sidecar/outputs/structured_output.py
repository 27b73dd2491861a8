"""The text of an answer → the JSON that `response_format` asked for, parsed and checked against its schema.

Must not know how a wire asks for JSON, or where the answer comes from.
"""

from functools import partial
from typing import cast

import anyio.to_thread

from protocol.messages import Message, TextPart
from protocol.options import ResponseFormat
from protocol.replies import Structured, Warn
from sidecar.core.json_values import has_big_integer
from sidecar.core.message_content import list_parts
from sidecar.outputs.json_search import find_json
from sidecar.outputs.schema_check import UNCHECKED, UncheckedError, find_violation
from sidecar.wires.shared.options import RESPONSE_FORMAT

LONG_CHARS = 64 * 1024
"""A longer text is searched in a worker thread."""

NO_JSON = "$: there is no JSON in the answer"

BIG_INTEGER = "$: an integer is beyond 2^53; read the JSON from the text"


async def read_structured_output(
    requested: ResponseFormat | None, message: Message, warnings: list[Warn]
) -> Structured | None:
    """Return the JSON of *message*, or None if none was requested or the message has only tool calls.

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
    has_json, value = find_json(text)
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
