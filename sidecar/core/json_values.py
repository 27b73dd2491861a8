"""JSON from others. A wrong value is ignored if a provider sends it, and refused if a host or a user does. [pure]"""

import re
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import msgspec
from msgspec import inspect

from protocol.messages import State
from sidecar.core.errors import SidecarError, invalid_request

MAX_COUNT = 10**15
"""The largest count of tokens, bytes or characters. The sum of a few is below 2^53, which every language can hold."""

MAX_LEVELS = 200
"""How deeply JSON that is kept may be nested: readers and writers of JSON run out of stack at some 1000 levels."""

LARGE_JSON_BYTES = 64 * 1024
"""The longest JSON that is read without a check for memory."""


def require_memory(encoded: bytes | msgspec.Raw) -> None:
    """Check that there is memory for the values in the JSON *encoded*.

    msgspec does not check whether it got the memory for a long string: without it the process would crash (0.21,
    2026-11).

    Raises: MemoryError if there is not enough.
    """
    size_bytes = len(memoryview(encoded))
    if size_bytes > LARGE_JSON_BYTES:
        # This takes addresses only: nothing is written to the memory.
        bytes(2 * size_bytes)


def parse_json(body: bytes) -> Any:
    """Return *body* as a JSON value, or None if it is not JSON, or nested too deeply to be kept."""
    require_memory(body)
    try:
        return None if is_too_deep(body) else msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def is_too_deep(body: bytes, limit: int = MAX_LEVELS) -> bool:
    """Return whether the JSON in *body* is nested in more than *limit* levels."""
    # Nearly all JSON is too short, or has too few brackets.
    if len(body) <= limit or body.count(b"[") + body.count(b"{") <= limit:
        return False
    return _count_levels(body) > limit


_NO_MARKS = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_TO_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_STRING = re.compile(b'"[^"]*"')


def _count_levels(body: bytes) -> int:
    """Return in how many levels the JSON in *body* is nested.

    A pattern that finds each bracket and each string would take ten times as long: 0.3 s for 100,000 messages.
    """
    if b"\\" in body:
        # A run of backslashes is escaped in pairs, from its beginning.
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A string without brackets leaves two quotes. Two that are neighbours go, whichever string they belong to: what is
    # inside of a string stays inside.
    marks = body.translate(None, _NO_MARKS).replace(b'""', b"")
    if b'"' in marks:
        marks = _STRING.sub(b"", marks)
    return max(accumulate(memoryview(marks.translate(_TO_STEPS, _NO_BRACKETS)).cast("b")), default=0)


def read_text(value: object) -> str:
    """Return *value* if it is a string, otherwise ""."""
    return value if isinstance(value, str) else ""


def read_object(value: object) -> dict[str, Any]:
    """Return *value* if it is an object, otherwise {}."""
    return value if isinstance(value, dict) else {}


def read_objects(value: object) -> list[dict[str, Any]]:
    """Return the objects in *value* if it is a list, otherwise []."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def read_count(value: object) -> int | None:
    """Return *value* if it is a whole number from 0 to MAX_COUNT, otherwise None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT else None


# --- what not every language can hold ----------------------------------------------------------

MAX_INTEGER = 2**53
"""Many languages have no larger integers: they read another number, or refuse the whole line."""

_MANY_DIGITS = b"0" * 16
_TO_ZEROS = bytes.maketrans(b"123456789", b"000000000")


def has_big_integer(value: object, text: str | None) -> bool:
    """Return whether *value*, the JSON in *text* if that is known, has an integer beyond MAX_INTEGER anywhere."""
    return (text is None or _has_many_digits(text)) and _holds_big_integer(value)


def _has_many_digits(text: str) -> bool:
    """Return whether *text* may have such an integer. A pattern would take five times as long, of megabytes a turn."""
    return _MANY_DIGITS in text.encode("utf-8", "surrogatepass").translate(_TO_ZEROS)


def _holds_big_integer(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_big_integer, value.values()))
    if isinstance(value, list):
        return any(map(_holds_big_integer, value))
    return isinstance(value, int) and abs(value) > MAX_INTEGER


_decode_state = msgspec.json.Decoder(State).decode


def open_state(state: str | State | None) -> State | None:
    """Return the *state* of a part, which is JSON text, or an object from hosts that have stored an older one.

    Raises: SidecarError `invalid_request` for a text that is not a state.
    """
    if not isinstance(state, str):
        return state
    try:
        return _decode_state(state)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise make_state_error() from None


def make_state_error() -> SidecarError:
    """Return the error for a state that was changed."""
    return invalid_request("A `state` is not as the sidecar wrote it. Return it unchanged.", "params.messages")


# --- values of the wrong shape -----------------------------------------------------------------

_AT = re.compile(r"^(.*?)(?: - at `(?:key in )?\$?\.?(.*)`)?$", re.DOTALL)
_PATTERN = re.compile(r"matching regex '(.*)'$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(\w+)`")


def make_validation_error(error: msgspec.ValidationError, root: str, kind: type) -> SidecarError:
    """Return the error for a value that does not fit its type, in a struct *kind* at the path *root*."""
    match = _AT.match(str(error))
    problem, path = (match[1], match[2] or "") if match else ("is not valid", "")
    param = ".".join(part for part in (root, path) if part).replace(".[", "[") or None
    if problem.startswith("Number out of range"):
        return SidecarError("parse_error", "The line holds a number that is out of range.")
    if missing := _MISSING.search(problem):
        param = f"{param}.{missing[1]}" if param else missing[1]
        return invalid_request(f"`{param}` is required.", param)
    if problem.startswith(("Invalid enum value", "Invalid value")):
        # msgspec repeats the value here.
        return invalid_request(f"`{param}` must be one of: {', '.join(_list_choices(kind, path))}.", param)
    problem = _PATTERN.sub(_simplify_pattern, problem[0].lower() + problem[1:])
    where = f"`{param}`" if param else "The request"
    return invalid_request(f"{where}: {problem}.", param)


def _simplify_pattern(match: re.Match[str]) -> str:
    # msgspec shows the `repr` of the pattern. The lookahead, which keeps `$` from matching before a line break, would
    # only confuse readers.
    pattern = match[1].replace("\\\\", "\\").replace(r"(?!\n)", "")
    return f"matching `{pattern}`"


def _list_choices(kind: type, path: str) -> list[str]:
    """Return the values that the field at *path* of a *kind* may have. The path is as msgspec writes it."""
    types = _expand_unions([inspect.type_info(kind)])
    # All entries of a list or a table have the same type.
    for step in filter(None, re.sub(r"\[[^\]]*\]", ".[", path).split(".")):
        types = _expand_unions([inner for each in types for inner in _list_types(each, step)])
    return [str(word) or '""' for each in types if isinstance(each, inspect.LiteralType) for word in each.values]


def _expand_unions(types: list[inspect.Type]) -> list[inspect.Type]:
    return [inner for each in types for inner in (each.types if isinstance(each, inspect.UnionType) else (each,))]


def _list_types(kind: inspect.Type, step: str) -> list[inspect.Type]:
    """Return the types at *step*: the name of a field, or `[` for each entry."""
    if isinstance(kind, inspect.StructType):
        if step == kind.tag_field:
            return [inspect.LiteralType((kind.tag,))]
        return [field.type for field in kind.fields if field.encode_name == step]
    if isinstance(kind, inspect.ListType) and step == "[":
        return [kind.item_type]
    return [kind.value_type] if isinstance(kind, inspect.DictType) and step == "[" else []


# --- half of a character ----------------------------------------------------------------------

_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
"""A surrogate pair, half of one, or another escape."""

_MARK = "\ufdd0"
"""Stands for half of a pair. It is no character either, and in no text."""

_PLAIN_KEY = re.compile(r"[\w$@-]{1,64}", re.ASCII)

MAX_SURROGATE_SEARCH_BYTES = 1024 * 1024
"""The longest JSON in which half of a surrogate pair is looked for. A longer search would delay other requests."""


def find_lone_surrogate(encoded: bytes | msgspec.Raw, root: str = "") -> str | None:
    """Return the path, from *root*, of a string with half of a surrogate pair in the JSON *encoded*, None for none.

    msgspec refuses such a document and does not say where.
    """
    data = memoryview(encoded)
    if len(data) > MAX_SURROGATE_SEARCH_BYTES:
        return None
    marked = _ESCAPE.sub(lambda match: b"\\ufdd0" if match[1] else match[0], data)
    if marked == data:
        return None
    try:
        return _find_mark(msgspec.json.decode(marked), root)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _find_mark(value: object, path: str) -> str | None:
    if isinstance(value, str):
        return path if _MARK in value else None
    inner: Iterable[tuple[str, object]] = ()
    if isinstance(value, dict):
        inner = ((f"{path}.{key if _PLAIN_KEY.fullmatch(key) else '…'}", each) for key, each in value.items())
    elif isinstance(value, list):
        inner = ((f"{path}[{number}]", each) for number, each in enumerate(value))
    return next((found for at, each in inner if (found := _find_mark(each, at.removeprefix(".")))), None)
