"""What flaws make of values that pass through the reference driver."""

from typing import Any

KNOWN_FIELDS = ("type", "content", "tool_call", "file", "path", "op", "format", "message", "finish_reason", "usage")


def spoil(value: Any, flaw: str) -> Any:
    """Return *value*, or what the flaw makes of it."""
    if flaw == "known fields only" and "action" not in value:
        return {key: each for key, each in value.items() if key in KNOWN_FIELDS}
    if flaw in ("cuts at NUL", "null is empty", "empty is a list", "one kind of line end"):
        return _spoil(value, flaw)
    return value


def _spoil(value: Any, flaw: str) -> Any:
    if isinstance(value, dict):
        return {key: _spoil(each, flaw) for key, each in value.items()} or ([] if flaw == "empty is a list" else {})
    if isinstance(value, list):
        return [_spoil(each, flaw) for each in value]
    if isinstance(value, str):
        if flaw == "one kind of line end":
            return value.replace("\r\n", "\n")
        return value.partition("\0")[0] if flaw == "cuts at NUL" else value
    return {} if value is None and flaw == "null is empty" else value
