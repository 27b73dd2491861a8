"""What to read out of the text of an answer: `params.options.output`."""

from typing import Annotated

import msgspec

from protocol.files import FormatName, Tolerance
from protocol.messages import Name

MAX_EXISTING = 10_000


class TextOutput(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="text"
):
    """The text as it comes. The same as no `output`."""


class CodeOutput(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="code"
):
    """The code of the answer without the prose around it, in `done.code`."""

    language: Name | None = None
    """The language of the code, which tells it from other blocks."""


class FilesOutput(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="type",
    tag="files",
    kw_only=True,
):
    """The files that the answer writes or changes, as chunks and in `done.files`."""

    format: FormatName = "auto"
    existing: Annotated[dict[str, str], msgspec.Meta(max_length=MAX_EXISTING)] = {}
    """Path → text of the files that the answer may change. They are not shown to the model."""
    instruct: bool = False
    """Teach the model the format `blocks` in a system message."""
    tolerance: Tolerance = "elision"


Output = TextOutput | CodeOutput | FilesOutput
