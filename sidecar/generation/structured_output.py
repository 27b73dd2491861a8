"""The text of an answer → the JSON that `response_format` asked for, parsed and held against its schema. [pure]

Knows the fences and the prose that models put around JSON. Must not know how it was asked for on a
wire, or where the answer came from. The library for JSON Schema is loaded with the first schema.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from protocol.messages import Message, TextPart
from protocol.replies import Structured, Warn
from protocol.requests import ResponseFormat
from sidecar.core.errors import clean_text
from sidecar.core.message_content import list_parts
from sidecar.wires.shared.options import RESPONSE_FORMAT

MAX_STARTS = 64
"""How many brackets in a prose are tried as the beginning of JSON."""

_FENCED = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)

_START = re.compile(r"[{\[]")

NO_JSON = "$: there is no JSON in the answer"


def read_structured_output(wanted: ResponseFormat | None, message: Message, warnings: list[Warn]) -> Structured | None:
    """Return the JSON of *message*, or None where none was asked for or nothing was said, as before a tool's result."""
    text = "".join(p.text for p in list_parts(message) if isinstance(p, TextPart) and not p.refusal)
    if wanted is None or wanted.type == "text" or not text.strip():
        return None
    native = all(warning.param != RESPONSE_FORMAT for warning in warnings)
    found, value = _find_json(text)
    error = None if found else NO_JSON
    if found and wanted.type == "json_schema" and wanted.schema is not None:
        error = _find_violation(value, wanted.schema)
    return Structured(valid=error is None, value=value, error=error, native=native)


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
    """Yield what may be JSON at the first brackets of *text*."""
    for match, _ in zip(_START.finditer(text), range(MAX_STARTS), strict=False):
        try:
            yield text[match.start() : _DECODER.raw_decode(text, match.start())[1]]
        except (ValueError, RecursionError):
            continue


_DECODER = json.JSONDecoder()
"""It knows where JSON ends that something follows; the value is left to the one that reads all JSON here."""


def _find_violation(value: Any, schema: dict[str, Any]) -> str | None:
    """Return the first thing in *value* that breaks *schema*, as `path: problem`, or None."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, best_match
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # Without a registry of its own it would fetch what a `$ref` names.
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
        error = best_match(kind(schema, registry=Registry()).iter_errors(value))
    except SchemaError as wrong:
        return clean_text(f"$: the schema is none: {wrong.message}")
    except (Unresolvable, re.error, RecursionError):
        return "$: the schema cannot be applied"
    return None if error is None else clean_text(f"{error.json_path}: {error.message}")
