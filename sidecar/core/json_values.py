"""Reading other people's JSON: what is missing, null or of the wrong type becomes an empty value. [pure]"""

from typing import Any

import msgspec


def parse_json(body: bytes) -> Any:
    """Return *body* as a JSON value, or None when it is not JSON."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def read_text(value: object) -> str:
    """Return *value* when it is a string, else ""."""
    return value if isinstance(value, str) else ""


def read_object(value: object) -> dict[str, Any]:
    """Return *value* when it is an object, else {}."""
    return value if isinstance(value, dict) else {}


def read_objects(value: object) -> list[dict[str, Any]]:
    """Return the objects in *value* when it is a list, else []."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def read_count(value: object) -> int | None:
    """Return *value* when it is a whole number of at least 0, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
