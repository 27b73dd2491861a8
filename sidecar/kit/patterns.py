"""Patterns of JSON values, and short forms of values that are long. [pure]

A pattern is a JSON value. An object fits one that has at least its fields; null also fits a field that is absent; any
other value fits one that is equal, and `1` is not `true`. An object whose only key begins with `$` is a form:

- `{"$any_of": [A, B]}` fits what one of the patterns fits,
- `{"$exactly": VALUE}` fits a value without any further field,
- `{"$contains": TEXT}` fits a text that has this one in it,
- `{"$absent": true}` fits a field that is not there,
- `{"$optional": A}`, in a list of reports: such a report may be missing,
- `{"$times": [N, A]}`, in a list of reports: N such reports.

Others stand for values: `{"$repeat": [TEXT, N]}`; `{"$done": FIELDS}`, `{"$answer": FIELDS}` and `{"$initialized":
FIELDS}` for the `data` of a line, some of it replaced by FIELDS; a string such as `"$a"` for a name that the script has
bound. The played sidecar imports this module, so it needs nothing but Python itself.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

SHOWN_CHARS = 160

INITIALIZED: dict[str, Any] = {
    "protocol_version": 1,
    "name": "sidecar",
    "version": "0.0.0",
    "actions": ["initialize", "ping", "stream_chat", "generate", "cancel", "shutdown"],
    "providers": ["replay"],
    "wires": ["anthropic_messages"],
    "events": ["status", "warnings"],
    "limits": {"max_line_bytes": 33_554_432, "max_reply_line_bytes": None},
}
"""The answer to `initialize`."""

_MISSING = object()


def make_done(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `data` of a complete `done` chunk; *fields* replace some of it, and `text` is the whole answer."""
    text = fields.get("text", "")
    data: dict[str, Any] = {
        "type": "done",
        "finish_reason": "stop",
        "provider_finish_reason": "end_turn",
        "usage": {
            "input_tokens": 3,
            "output_tokens": 2,
            "cache_read_tokens": 0,
            "cache_write_tokens": 0,
            "cache_write_1h_tokens": None,
            "reasoning_tokens": None,
        },
        "cost": {"usd": "0", "source": "catalogue"},
        "message": {"role": "assistant", "content": [{"type": "text", "text": text}] if text else []},
        "provider": "replay",
        "model": "text",
        "request_id": None,
        "attempts": [],
        "timings": {"headers_ms": 1, "first_chunk_ms": 2, "total_ms": 3},
        "warnings": [],
    }
    return data | {key: value for key, value in fields.items() if key != "text"}


def make_answer(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `data` of a complete answer in one line, as `generate` has it; *fields* as in `make_done`."""
    done = make_done(fields)
    del done["type"]
    return {"content": fields.get("text", ""), "reasoning": "", "tool_calls": []} | done


def expand(value: Any, names: Mapping[str, Any]) -> Any:
    """Return *value* with its short forms written out; *names* are the ids that the script has bound.

    Raises: KeyError for a name that is not bound.
    """
    if isinstance(value, str):
        return names[value[1:]] if value[:1] == "$" and value[1:].isidentifier() else value
    if isinstance(value, list):
        return [expand(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    form = next(iter(value), "")
    fields = {key: expand(each, names) for key, each in value.items()}
    return _FORMS[form](fields[form]) if form in _FORMS else fields


_FORMS: dict[str, Callable[[Any], Any]] = {
    "$repeat": lambda pair: pair[0] * pair[1],
    "$answer": make_answer,
    "$done": make_done,
    "$initialized": lambda fields: INITIALIZED | fields,
}


def find_mismatch(pattern: Any, value: Any, path: str = "") -> str | None:
    """Return what is wrong with *value*, with the place; None if it fits the pattern, which is expanded."""
    if isinstance(pattern, dict):
        if "$any_of" in pattern:
            found = [find_mismatch(each, value, path) for each in pattern["$any_of"]]
            return None if None in found else f"{path or 'it'} fits none of {show(pattern['$any_of'])}"
        if "$exactly" in pattern:
            return None if is_equal(pattern["$exactly"], value) else f"{path or 'it'} is {show(value)}"
        if "$contains" in pattern:
            has_it = isinstance(value, str) and pattern["$contains"] in value
            return None if has_it else f"{path or 'it'} is {show(value)}"
        return _find_mismatch_of_object(pattern, value, path)
    if isinstance(pattern, list):
        return _find_mismatch_of_list(pattern, value, path)
    return None if is_equal(pattern, value) else f"{path or 'it'} is {show(value)}"


def _find_mismatch_of_object(pattern: dict[str, Any], value: Any, path: str) -> str | None:
    if not isinstance(value, dict):
        return f"{path or 'it'} is {show(value)}"
    for key, expected in pattern.items():
        place = f"{path}.{key}" if path else key
        found = value.get(key, _MISSING)
        if expected == {"$absent": True}:
            if found is not _MISSING:
                return f"{place} is there"
        elif found is _MISSING:
            if expected is not None:
                return f"{place} is missing"
        elif mismatch := find_mismatch(expected, found, place):
            return mismatch
    return None


def _find_mismatch_of_list(pattern: list[Any], value: Any, path: str) -> str | None:
    if not isinstance(value, list):
        return f"{path or 'it'} is {show(value)}"
    if len(pattern) != len(value):
        return f"{path or 'it'} has {len(value)} elements"
    found = (find_mismatch(p, v, f"{path}[{at}]") for at, (p, v) in enumerate(zip(pattern, value, strict=True)))
    return next((each for each in found if each), None)


def fits(pattern: Any, value: Any) -> bool:
    """Return whether *value* fits *pattern*."""
    return find_mismatch(pattern, value) is None


def find_sequence_mismatch(patterns: list[Any], values: list[Any]) -> tuple[str, str] | None:
    """Return what is expected and what came instead, in a list whose patterns may be `$optional` or `$times`."""
    at = 0
    for number, pattern in enumerate(_flatten(patterns), start=1):
        optional = isinstance(pattern, dict) and "$optional" in pattern
        wanted = pattern["$optional"] if optional else pattern
        if at < len(values) and (mismatch := find_mismatch(wanted, values[at])) is None:
            at += 1
        elif not optional:
            expected = f"as number {number} {show(wanted)}"
            return expected, "nothing" if at >= len(values) else f"{show(values[at])}: {mismatch}"
    return ("nothing more", show(values[at])) if at < len(values) else None


def _flatten(patterns: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for each in patterns:
        if isinstance(each, dict) and "$times" in each:
            times, pattern = each["$times"]
            flat += [pattern] * times
        else:
            flat.append(each)
    return flat


def is_equal(left: Any, right: Any) -> bool:
    """Return whether two JSON values are the same; `1` is `1.0`, but not `true`."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(is_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(is_equal, left, right))
    return bool(left == right)


def show(value: Any) -> str:
    """Return *value* for people, on one line, shortened, without characters that a terminal obeys."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) > SHOWN_CHARS:
        half = SHOWN_CHARS // 2
        text = f"{text[:half]} ... ({len(text)} characters) ... {text[-half:]}"
    shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    return f'"{shown}"' if isinstance(value, str) else shown
