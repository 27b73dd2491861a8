"""The inputs of a task: their kinds and types, and the text that each becomes in a prompt. [pure]

A rendered value is text, and never a template. Must not know tasks, models or messages.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from protocol.messages import ImagePart
from protocol.tasks import DesignPhase, FilePath, Issue
from sidecar.config.task_rows import TaskRow
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.json_values import make_validation_error
from sidecar.core.message_content import read_inline_data

NOTHING = "(none)"
"""What stands in a prompt for an optional input that a request leaves out, and for an empty one."""

_FENCES = re.compile(r"`{3,}")
_PLAIN_KEY = re.compile(r"[\w-]{1,64}", re.ASCII)


class Bounds(NamedTuple):
    """The longest rendering of an input, and the longest text of one file in it."""

    max_chars: int
    max_file_chars: int


class Rendering(NamedTuple):
    """An input as text."""

    text: str
    cut_chars: int = 0
    """How many characters of the input are left out."""


class Kind(NamedTuple):
    """A kind of input: its type, its description for errors, and how it is rendered."""

    type: Any
    description: str
    render: Callable[[Any, Bounds], Rendering]


def _cut(text: str, max_chars: int) -> Rendering:
    """Return *text*, with a note in place of the characters beyond *max_chars*."""
    if len(text) <= max_chars:
        return Rendering(text)
    note = f"\n[Cut: these are the first {max_chars} of {len(text)} characters.]"
    return Rendering(text[:max_chars] + note, len(text) - max_chars)


def _render_text(text: str, bounds: Bounds) -> Rendering:
    return _cut(text, bounds.max_chars)


def _render_paths(paths: list[str], bounds: Bounds) -> Rendering:
    return _cut("\n".join(f"- {path}" for path in paths), bounds.max_chars)


def _render_files(files: dict[str, str], bounds: Bounds) -> Rendering:
    """Return each file below its path, in a fence that its text does not close. Other files are only named."""
    shown, cut_chars, left = list[str](), 0, list[str]()
    room = bounds.max_chars
    for path, text in files.items():
        if room <= 0:
            left.append(path)
            cut_chars += len(text)
            continue
        kept = text[: min(bounds.max_file_chars, room)]
        room -= len(kept) + len(path)
        cut_chars += len(text) - len(kept)
        shown.append(_render_file(path, kept, len(text)))
    if left:
        named = _cut("\n".join(f"- {path}" for path in left), bounds.max_chars)
        shown.append(f"[Cut: {len(left)} more files are not shown:]\n{named.text}")
    return Rendering("\n\n".join(shown), cut_chars)


def _render_file(path: str, kept: str, chars: int) -> str:
    fence = "`" * (1 + max((len(marks) for marks in _FENCES.findall(kept)), default=2))
    line_end = "" if kept.endswith("\n") else "\n"
    note = f"\n[Cut: these are the first {len(kept)} of {chars} characters.]" if len(kept) < chars else ""
    return f"{path}\n{fence}\n{kept}{line_end}{fence}{note}"


def _describe_phase(phase: DesignPhase) -> str:
    files = "\n".join(f"- {file.path}{f': {file.purpose}' if file.purpose else ''}" for file in phase.files)
    return f"{phase.name}\n{phase.description}" + (f"\nFiles:\n{files}" if files else "")


def _render_phase(phase: DesignPhase, bounds: Bounds) -> Rendering:
    return _cut(_describe_phase(phase), bounds.max_chars)


def _render_phases(phases: list[DesignPhase], bounds: Bounds) -> Rendering:
    numbered = (f"{number}. {_describe_phase(phase)}" for number, phase in enumerate(phases, 1))
    return _cut("\n\n".join(numbered), bounds.max_chars)


def _render_issues(issues: list[Issue], bounds: Bounds) -> Rendering:
    return _cut("\n".join(map(_describe_issue, issues)), bounds.max_chars)


def _describe_issue(issue: Issue) -> str:
    place = issue.path if issue.line is None else f"{issue.path}:{issue.line}"
    return f"- {place}: {f'{issue.severity}: ' if issue.severity else ''}{issue.message}"


def _render_image(image: ImagePart, bounds: Bounds) -> Rendering:  # noqa: ARG001 - an image is a part of its own
    return Rendering("")


KINDS: dict[str, Kind] = {
    "text": Kind(str, "a string", _render_text),
    "path": Kind(FilePath, "a path, as a string", _render_text),
    "paths": Kind(list[FilePath], "a list of paths", _render_paths),
    "files": Kind(dict[FilePath, str], "an object whose keys are paths and whose values are texts", _render_files),
    "phase": Kind(DesignPhase, "an object with `name`, `description` and `files`", _render_phase),
    "phases": Kind(list[DesignPhase], "a list of objects with `name`, `description` and `files`", _render_phases),
    "issues": Kind(list[Issue], "a list of objects with `path`, `line`, `severity` and `message`", _render_issues),
    "image": Kind(ImagePart, "an object with `url`, or `data` and `media_type`", _render_image),
}


def find_kind(declared: str) -> Kind:
    """Return the kind that *declared* names. A `?` at its end marks an optional input."""
    return KINDS[declared.removesuffix("?")]


def check_values(task: str, row: TaskRow, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the inputs of *row* by name, each of the type of its kind. Null means absent.

    Raises: SidecarError `invalid_request` for an input that is missing, unknown or of another type.
    """
    for name in given:
        if name not in row.input and given[name] is not None:
            raise _make_unknown_input_error(task, row, name)
    values = {}
    for name, kind in row.input.items():
        value = given.get(name)
        if value is not None:
            values[name] = _convert(value, name, row)
        elif not kind.endswith("?"):
            text = f"`params.input.{name}` is required by the task `{task}`: {_describe(row, name)}."
            raise invalid_request(text, f"params.input.{name}")
    return values


def _make_unknown_input_error(task: str, row: TaskRow, name: str) -> SidecarError:
    # Only a failure needs it.
    from difflib import get_close_matches

    shown = name if _PLAIN_KEY.fullmatch(name) else "…"
    names = ", ".join(f"`{each}`" for each in row.input)
    error = invalid_request(
        f"`params.input.{shown}` is not an input of the task `{task}`. Its inputs are: {names}.",
        f"params.input.{shown}",
    )
    close = get_close_matches(name, row.input, n=1)
    return error.with_fields(hint=f"Did you mean `params.input.{close[0]}`? Otherwise leave it out." if close else None)


def _describe(row: TaskRow, name: str) -> str:
    if name in row.choices:
        return "one of " + ", ".join(f"`{choice}`" for choice in row.choices[name])
    return find_kind(row.input[name]).description


def _convert(value: object, name: str, row: TaskRow) -> Any:
    kind, where = find_kind(row.input[name]), f"params.input.{name}"
    try:
        converted = msgspec.convert(value, kind.type)
    except msgspec.ValidationError as error:
        # Paths in the error begin at the value.
        found = make_validation_error(error, where, kind.type)
        raise found.with_fields(hint=f"`{where}` is {_describe(row, name)}.") from None
    if isinstance(converted, ImagePart):
        read_inline_data(converted, where)
    if name in row.choices and converted not in row.choices[name]:
        raise invalid_request(f"`{where}` must be {_describe(row, name)}.", where)
    return converted


def render(row: TaskRow, name: str, values: Mapping[str, Any]) -> Rendering:
    """Return the text that stands for the input *name* in the templates of *row*."""
    if name not in values:
        return Rendering(NOTHING)
    if name in row.choices:
        return Rendering(row.choices[name][values[name]])
    rendering = find_kind(row.input[name]).render(values[name], Bounds(row.max_chars, row.max_file_chars))
    return rendering if rendering.text.strip() else Rendering(NOTHING)


def make_schema(row: TaskRow) -> dict[str, Any]:
    """Return the JSON Schema of what *row* takes for `params.input`."""
    names = list(row.input)
    schemas, defs = msgspec.json.schema_components([find_kind(row.input[name]).type for name in names])
    properties = dict(zip(names, schemas, strict=True))
    for name, choices in row.choices.items():
        properties[name] = {"type": "string", "enum": list(choices)}
    if "ImagePart" in defs:
        # An image input is never one of several kinds of parts, so it needs no `type`.
        defs["ImagePart"]["required"] = []
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in names if not row.input[name].endswith("?")],
        "additionalProperties": False,
    } | ({"$defs": defs} if defs else {})
