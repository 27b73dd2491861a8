"""The rows of tasks: those that come with the program, and what makes a row unusable.

A row in the configuration has the same columns as one of `sidecar/tasks/built_in.toml`, and is laid over it. Must not
know how an input is rendered or what becomes of a row.
"""

import re
from collections.abc import Iterator
from functools import cache
from string import Template
from typing import Any, Literal, get_args

import msgspec

from protocol.outputs import CodeOutput, FilesOutput, TextOutput
from sidecar.core import resources
from sidecar.core.json_values import make_validation_error

KindName = Literal["text", "path", "paths", "files", "phase", "phases", "issues", "image"]
"""What an input is. A `?` after it in a row means that a request may leave the input out."""

MODEL_KEYS = ("model", "models", "chain")
"""The columns of which a row has one at most: who is asked."""

_MERGED = ("options", "input", "choices")
"""The columns whose keys are laid over those below one by one."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

Problem = tuple[tuple[str, ...], str]
"""The keys of the row that lead to it, and what is wrong."""


class TaskRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task."""

    summary: str = ""
    """One sentence for people."""
    model: str | None = None
    """The model to ask. Default: `[tasks] default`."""
    models: list[str] = []
    """Instead of `model`: the model to ask, and its fallbacks."""
    chain: str | None = None
    """Instead of `model`: the name of such a list in `[chains]`."""
    options: dict[str, Any] = {}
    """As in a chat."""
    system: str = ""
    """The template of the system message. Default: there is none."""
    prompt: str = ""
    """The template of the user's message. Default: the messages of the request follow."""
    input: dict[str, str] = {}
    """Name → kind."""
    choices: dict[str, dict[str, str]] = {}
    """Name of a text → the values that it may have → what stands for each in the templates. Default: any text."""
    output: dict[str, Any] = {}
    """The shape of the answer. Default: text."""
    max_chars: int = 400_000
    """The longest rendering of an input."""
    max_file_chars: int = 100_000
    """The longest text of one file in it."""


@cache
def read_built_in() -> dict[str, dict[str, Any]]:
    """Return the tables of the tasks that come with the program, by name."""
    return dict(msgspec.toml.decode(resources.find("tasks/built_in.toml").read_bytes(), type=dict[str, dict[str, Any]]))


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return the table *below* with that *above* laid over it."""
    kept = {key: value for key, value in below.items() if key not in MODEL_KEYS or not any(map(above.get, MODEL_KEYS))}
    return kept | above | {key: below.get(key, {}) | above[key] for key in _MERGED if key in above}


def find_problems(row: TaskRow) -> Iterator[Problem]:
    """Yield what is wrong with *row*, whose columns have the right types."""
    if sum(bool(getattr(row, key)) for key in MODEL_KEYS) > 1:
        yield (), "takes one of `model`, `models` and `chain`"
    if not row.system and not row.prompt:
        yield (), "needs a `prompt`, or a `system` message before the messages of the request"
    for name, kind in row.input.items():
        if not _NAME.fullmatch(name):
            yield ("input", name), "must be a word of small letters, digits and `_`"
        if kind.removesuffix("?") not in get_args(KindName):
            yield ("input", name), f"must be one of {', '.join(get_args(KindName))}, with `?` after it if optional"
    for name in row.choices:
        if row.input.get(name, "").removesuffix("?") != "text":
            yield ("choices", name), "must be the name of an input whose kind is text"
    yield from _find_template_problems(row)
    yield from ((("output",), problem) for problem in _find_output_problems(row.output))


_OUTPUTS: dict[str, type[msgspec.Struct]] = {"text": TextOutput, "code": CodeOutput, "files": FilesOutput}


def _find_output_problems(output: dict[str, Any]) -> Iterator[str]:
    kind = _OUTPUTS.get(output.get("type", ""))
    if output and output.get("type") != "json" and kind is None:
        yield "its `type` must be one of text, json, code, files"
        return
    names = kind.__struct_fields__ if kind else ("schema",)
    if unknown := sorted(output.keys() - {"type", *names}):
        yield f"there is no key {', '.join(unknown)}"
    elif kind is None:
        if not isinstance(output.get("schema", {}), dict):
            yield "`schema` must be a table"
    else:
        try:
            # What an input stands for is known only in a request.
            msgspec.convert({key: each for key, each in output.items() if not list_references(each)}, kind)
        except msgspec.ValidationError as error:
            yield make_validation_error(error, "", kind).body.message


def _find_template_problems(row: TaskRow) -> Iterator[Problem]:
    used = list_references(row.output)
    for key in ("system", "prompt"):
        template = Template(getattr(row, key))
        if not template.is_valid():
            yield (key,), "has a `$` that begins no input; write `$$` for a dollar sign"
        names = set(template.get_identifiers())
        used |= names
        for name in sorted(names - row.input.keys()):
            yield (key,), f"uses `${name}`, which is not in `input`"
        for name in sorted(name for name in names & row.input.keys() if row.input[name].startswith("image")):
            yield (key,), f"uses `${name}`, an image; images follow the prompt by themselves"
    for name in sorted(list_references(row.output) - row.input.keys()):
        yield ("output",), f"uses `${name}`, which is not in `input`"
    for name, kind in row.input.items():
        if name not in used and not kind.startswith("image"):
            yield ("input", name), "is not used: write it into the prompt with a `$` before it"


def list_references(output: Any) -> set[str]:
    """Return the inputs for which a value in *output* stands, such as `$language`."""
    if isinstance(output, str):
        return {output[1:]} if output.startswith("$") else set()
    if isinstance(output, dict):
        return {name for value in output.values() for name in list_references(value)}
    return set()
