"""Warnings about fields that do not exist, with the place where they probably belong. [pure]"""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

import msgspec
from msgspec import inspect

from protocol.compare import Compared
from protocol.completion import Completed
from protocol.logins import Authentication, LoggedIn
from protocol.model_streams import ModelsListed
from protocol.replies import Done, ModelList, Warn
from protocol.requests import PARAMS, Envelope
from protocol.tasks import TaskChange, TaskList

MAX_WARNINGS = 3
"""How many fields of a request are named."""

_CLOSE = 0.7
"""How similar two names must be, as `difflib` measures it."""

_OTHER_NAMES = {
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "maxOutputTokens": "max_tokens",
    "maxTokens": "max_tokens",
    "stop_sequences": "stop",
    "stopSequences": "stop",
    "reasoning_effort": "effort",
    "thinking": "reasoning",
    "extra_body": "provider_options",
}
"""The names that other programs have for our fields."""


def make_warnings(action: str, unknown: Sequence[str]) -> list[Warn]:
    """Return a warning for each of the first paths in *unknown*, which a request for *action* does not have."""
    return [_make_warning(action, path) for path in unknown[:MAX_WARNINGS]]


def _make_warning(action: str, path: str) -> Warn:
    likely = find_likely_place(action, path)
    question = f" Did you mean `{likely}`?" if likely else ""
    return Warn(
        code="unknown_field", message=f"`{path}` is not a field of {action} and was ignored.{question}", param=path
    )


def find_likely_place(action: str, path: str) -> str | None:
    """Return the path of the field that *path*, which does not exist, was probably meant to be."""
    parent, _, name = path.rpartition(".")
    name = _OTHER_NAMES.get(name, name)
    # A field of another variant, such as of another `type`, has a place that is no place for it.
    places = [place for place in _list_places(action) if place != path]
    if "[" in parent:
        # A field of a message belongs nowhere else.
        return None
    if same := [place for place in places if place.rpartition(".")[2] == name]:
        return same[0]
    siblings = [place for place in places if place.rpartition(".")[0] == parent]
    for some in (siblings, places):
        names = {place.rpartition(".")[2]: place for place in reversed(some)}
        if close := get_close_matches(name, names, n=1, cutoff=_CLOSE):
            return names[close[0]]
    return None


def _list_places(action: str) -> list[str]:
    """Return the paths of the fields of a request that are not within lists, those with fewer steps first."""
    places = [*Envelope.__struct_fields__, *_list_paths(inspect.type_info(PARAMS[action]), "params")]
    return sorted(places, key=lambda place: place.count("."))


def _list_paths(kind: inspect.Type, path: str) -> Iterator[str]:
    for each in kind.types if isinstance(kind, inspect.UnionType) else (kind,):
        if isinstance(each, inspect.StructType):
            for field in each.fields:
                yield f"{path}.{field.encode_name}"
                yield from _list_paths(field.type, f"{path}.{field.encode_name}")


_WITH_WARNINGS = (
    *(Authentication, Compared, Completed, Done),
    *(LoggedIn, ModelList, ModelsListed, TaskChange, TaskList),
)


def add_warnings(data: object, warnings: Sequence[Warn]) -> object | None:
    """Return the answer *data* with *warnings* before its own, or None if it has no field for them."""
    if isinstance(data, _WITH_WARNINGS):
        return msgspec.structs.replace(data, warnings=[*warnings, *data.warnings])
    if isinstance(data, dict) and "warnings" in data:
        return data | {"warnings": [*warnings, *data["warnings"]]}
    return None
