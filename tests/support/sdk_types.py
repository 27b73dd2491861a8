"""The SDKs' own types as judges of the bodies that the wires build."""

from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter


def accepted(kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Return what of *body* the SDK's type *kind* has a place for.

    Raises: ValidationError for a field that is missing or of another type.
    """
    taken: dict[str, Any] = _exhausted(_adapter(kind).validate_python(body))
    return taken


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Return what reads *kind*; to make one takes many times as long as to use it."""
    return TypeAdapter(kind)


def _exhausted(value: Any) -> Any:
    """Return *value* with the iterables, which pydantic validates as they are read, turned into lists."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, dict):
        return {key: _exhausted(inner) for key, inner in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    return [_exhausted(inner) for inner in value]
