"""Values that no program expects, and JSON with one of them in it."""

import json
import random
from collections.abc import Callable
from typing import Any

PLAIN = (
    None,
    True,
    False,
    0,
    1,
    -1,
    5,
    2**53,
    10**15 + 1,
    -(10**30),
    int("9" * 4300),
    0.5,
    1e308,
    "",
    "x",
    "é\u202e\n",
)
STRUCTURED: tuple[Any, ...] = (
    [],
    {},
    [[]],
    [None],
    [{}],
    {"type": None},
    {"": ""},
    "y" * 5000,
    "[" * 1000,
    ["a"] * 300,
)


def nest(levels: int) -> Any:
    """Return an object of so many levels."""
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


DEEP = tuple(map(nest, (150, 200, 240, 300)))


def list_places(value: Any, found: list[tuple[Any, Any]]) -> None:
    """Append each (container, key) inside *value* to *found*."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        found.append((value, key))
        list_places(inner, found)


def mutate_value(payload: Any, chance: random.Random, is_fixed: Callable[[Any], bool] = lambda _: False) -> Any:
    """Return the JSON *payload* with one value replaced, removed or copied from elsewhere in it; may change it.

    A value under a key that *is_fixed* stays where it is.
    """
    places: list[tuple[Any, Any]] = []
    list_places(payload, places)
    places = [place for place in places if not is_fixed(place[1])]
    # A copy: the next change may be inside it.
    junk = _copy(chance.choice(chance.choices((PLAIN, STRUCTURED, DEEP), (8, 4, 1))[0]))
    if not places or chance.random() < 0.02:
        return junk
    container, key = chance.choice(places)
    match chance.randrange(4):
        case 0:
            del container[key]
        case 1:
            other, other_key = chance.choice(places)
            container[key] = _copy(other[other_key])
        case _:
            container[key] = junk
    return payload


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))
