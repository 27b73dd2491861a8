"""A value checked against a host's JSON Schema, with bounded work. [pure]

Both may be hostile: the schema comes from the host, the value from a model. Each keyword that is applied costs a step,
patterns run on an engine that is linear in the text, and unique items are compared by their JSON. The library is
imported with the first schema.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from sidecar.core.errors import clean_text

MAX_STEPS = 50_000
"""The steps that one check may take, about half a second. Ordinary schemas and answers take a few hundred."""

UNCHECKED = "$: the schema was not checked: "


class UncheckedError(Exception):
    """The check was abandoned; the text says why."""


class _Budget:
    def __init__(self) -> None:
        self._left = MAX_STEPS

    def spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise UncheckedError("it would take too much work")


Check = Callable[[Any, Any, Any, Any], Iterable[Any] | None]
"""A keyword of the library: validator, the keyword's value, instance, schema → errors."""


def find_violation(value: Any, schema: dict[str, Any]) -> str | None:
    """Return the first violation of *schema* in *value*, as `path: problem`, or None.

    Raises: UncheckedError if the check does not fit into the budget.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, best_match
    from jsonschema.validators import extend, validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    budget = _Budget()
    try:
        kind = validator_for(schema, default=Draft202012Validator)
        kind.check_schema(schema)
        counted = {name: _count(check, budget) for name, check in {**kind.VALIDATORS, **_OVERRIDES}.items()}
        # Without a registry of its own the library would fetch the target of a `$ref`.
        checked: Any = extend(kind, counted)  # type: ignore[no-untyped-call]  # the library has no types here
        error = best_match(checked(schema, registry=Registry()).iter_errors(value))
    except SchemaError as wrong:
        return clean_text(f"$: the schema is invalid: {wrong.message}")
    except (Unresolvable, RecursionError, TypeError, AttributeError, ValueError):
        # The library raises these for `"$schema": 5` and the like.
        return "$: the schema cannot be applied"
    return None if error is None else clean_text(f"{error.json_path}: {error.message}")


def _count(check: Check, budget: _Budget) -> Check:
    def run(validator: Any, keyword: Any, instance: Any, schema: Any) -> Iterator[Any]:
        # A comparison with a list of values takes time in proportion to its length.
        budget.spend(1 + (len(keyword) if isinstance(keyword, list) else 0))
        if isinstance(instance, (list, dict)):
            budget.spend(len(instance))
        yield from check(validator, keyword, instance, schema) or ()

    return run


# --- keywords whose own implementation is not linear -----------------------------------------------


@lru_cache(maxsize=64)
def _compile(pattern: str) -> Callable[[str], bool]:
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    try:
        engine = SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError:
        raise UncheckedError("it has a pattern that no linear engine can match") from None
    return engine.isinstance_python


def _check_pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:  # noqa: ARG001 - a keyword
    from jsonschema.exceptions import ValidationError

    if validator.is_type(instance, "string") and not _compile(pattern)(instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _check_pattern_properties(validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any) -> Iterator[Any]:  # noqa: ARG001 - a keyword
    if not validator.is_type(instance, "object"):
        return
    for pattern, subschema in patterns.items():
        matches = _compile(pattern)
        for name, value in instance.items():
            if matches(name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _check_additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if not validator.is_type(instance, "object"):
        return
    patterns = [_compile(pattern) for pattern in schema.get("patternProperties", {})]
    named = schema.get("properties", {})
    extras = [name for name in instance if name not in named and not any(matches(name) for matches in patterns)]
    if validator.is_type(allowed, "object"):
        for name in extras:
            yield from validator.descend(instance[name], allowed, path=name)
    elif allowed is False and extras:
        yield ValidationError(f"additional properties are not allowed ({', '.join(map(repr, sorted(extras)))})")


def _check_unevaluated_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if "patternProperties" in schema:
        raise UncheckedError("it combines `unevaluatedProperties` with `patternProperties`")
    from jsonschema import Draft202012Validator

    yield from Draft202012Validator.VALIDATORS["unevaluatedProperties"](validator, allowed, instance, schema) or ()


def _check_unique_items(validator: Any, unique: Any, instance: Any, schema: Any) -> Iterator[Any]:  # noqa: ARG001 - a keyword
    from jsonschema.exceptions import ValidationError

    if unique and validator.is_type(instance, "array") and len(set(map(_encode_canonically, instance))) < len(instance):
        yield ValidationError("the items are not unique")


def _encode_canonically(value: Any) -> bytes:
    """Return JSON that is the same for equal values: sorted keys, and 1.0 as 1."""
    return msgspec.json.encode(_normalize(value), order="deterministic")


def _normalize(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_normalize(each) for each in value]
    if isinstance(value, dict):
        return {name: _normalize(each) for name, each in value.items()}
    return value


_OVERRIDES: Mapping[str, Check] = {
    "additionalProperties": _check_additional_properties,
    "pattern": _check_pattern,
    "patternProperties": _check_pattern_properties,
    "unevaluatedProperties": _check_unevaluated_properties,
    "uniqueItems": _check_unique_items,
}
