"""Files and code in an answer: the chunks that carry them, and what became of each edit.

The sidecar reads what a model wrote and hands it on. It writes no file and runs no command:
the host decides, and must still resolve links, which a path alone does not show.
"""

from typing import Literal

import msgspec

FormatName = Literal["auto", "blocks", "whole", "patch", "udiff", "heredoc", "artifact", "fences"]
"""How files are written in an answer. `blocks` is the sidecar's own; `auto` is the first of them that opens a file."""

Operation = Literal["create", "edit", "delete", "rename"]
"""What the model does with the file. `create` writes the whole file, even if it exists already."""

Body = Literal["full_content", "search_replace", "unified_diff"]
"""What the chunks of a file carry: its text, pairs of texts to find and to put there, or the lines of a diff."""

Side = Literal["search", "replace"]

Refusal = Literal[
    "empty", "absolute", "parent", "drive", "network", "home", "control", "device", "trailing", "stream", "too_long"
]
"""Why a path is refused: it names nothing; begins at a root; climbs by `..`; has a drive, a network share or a home
folder; has characters that cannot be seen; is a device; a part of it ends in a dot or blank, which some systems drop;
has a colon, which some systems take for a stream within a file; is longer than systems take."""

Tolerance = Literal["exact", "whitespace", "indent", "punctuation", "elision", "similar"]
"""How much the searched lines may differ from those of the text, each word allowing all before it: nothing; blanks at
the ends of lines; a uniform indentation; typographic characters and runs of blanks; lines left out, marked by an
ellipsis in an edit or missing from a diff's context; a few characters."""

Match = Literal["exact", "whitespace", "indent", "punctuation", "substring", "elision", "context", "split", "similar"]
"""How an edit was placed. `substring`: within one line. `context`: without the outermost lines of a diff's context.
`split`: a hunk of a diff in several pieces, between which it leaves out lines. The others are as in `Tolerance`."""

EditProblem = Literal["not_found", "ambiguous", "overlap", "incomplete", "refused_path", "no_file"]
"""Why an edit was not placed: no place fits; several places fit; another edit changes the same lines; the answer ended
within it, or its markers are wrong; the path of the file is refused; the text to change is unknown."""


FileProblem = Literal["incomplete", "refused_path", "no_file", "edits_failed"]
"""Why a file cannot be used: the answer or the next file cut it; its path is refused; the text to change is unknown;
some of its edits were not placed."""


class FileStart(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="file_start", kw_only=True):
    """A file begins. Exactly one `file_end` with its number follows, whatever happens to the answer."""

    file: int
    """Counts the files of an answer from 0. A path may come twice: later ones build on earlier ones."""
    path: str
    """Relative, with `/` between its parts; exactly as the model wrote it if it is `refused`."""
    op: Operation
    format: Body
    to: str | None = None
    """With `rename`: the new path."""
    purpose: str | None = None
    """What the model says that the file is for."""
    refused: Refusal | None = None
    """Why the path, or `to`, must not be used. The content is sent anyway."""


class FileChunk(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="file_chunk"):
    """A piece of a file, or of a change of it."""

    file: int
    content: str
    edit: int | None = None
    """With `search_replace`: which edit of the file, from 0."""
    side: Side | None = None
    """With `search_replace`: whether this is text to find, or text to put there."""


class Place(msgspec.Struct, frozen=True):
    """Lines of a text, the first being 1. An insertion has no lines: `end_line` is one less than `start_line`."""

    start_line: int
    end_line: int


class EditResult(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The result of one edit: either `match` with its lines, or `problem`."""

    edit: int
    """Which of the edits, from 0."""
    match: Match | None = None
    start_line: int | None = None
    """The first line that was matched, in the text before any edit; the first is 1."""
    end_line: int | None = None
    """The last one; one less than `start_line` for an insertion."""
    problem: EditProblem | None = None
    candidates: list[Place] = []
    """With `ambiguous`: the places that fit, the first ten of them."""
    hint: str | None = None
    """With `problem`: a sentence that tells the model how to try again."""


class FileEnd(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="file_end", kw_only=True):
    """A file ends."""

    file: int
    path: str
    complete: bool
    """Whether it can be used: all of it arrived, its path is not refused, and all its edits were placed."""
    problem: FileProblem | None = None
    """Why it is not complete."""
    lines: int | None = None
    """The lines of the final text, counting a last one without a line end; absent if there is no final text."""
    sha256: str | None = None
    """The hash of the final text in UTF-8, in hexadecimal; absent if there is no final text."""
    edits: list[EditResult] = []
    """With `edit` or `rename`: one for each edit, in the order of the model."""
    edits_omitted: bool = False
    """The line would be longer than the host's `max_line_bytes`: `edits` is absent."""
    unfenced: bool = False
    """A Markdown fence around the whole text was removed. The chunks had to wait for its end."""


class CommandChunk(msgspec.Struct, frozen=True, tag_field="type", tag="command"):
    """A command that the model wants to be run. The sidecar does not run it."""

    command: str


class FileResult(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A row of `done.files`: one path, after all operations of the answer on it."""

    path: str
    op: Operation
    """The last operation; `create` if a created file is edited later."""
    to: str | None = None
    """With `rename`: the new path."""
    complete: bool
    """Whether every `file_end` of the path is complete."""
    content: str | None = None
    """The final text. Absent for a deleted file, and for one whose edits cannot all be placed."""
    lines: int | None = None
    sha256: str | None = None
    files: list[int]
    """The numbers of the path's `file_start` chunks."""


class CodeBlock(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One fenced block of code."""

    language: str | None = None
    """The first word after the fence, in lower case."""
    code: str
    path: str | None = None
    """The path, if the words after the fence name one."""


class CodeResult(msgspec.Struct, frozen=True, kw_only=True):
    """`done.code`: the code of an answer, without the prose around it."""

    language: str | None
    """The language of `code`, as the answer labels it, or else the requested one."""
    code: str | None
    """Null if it is not clear which text is the code; `problem` says why."""
    blocks: list[CodeBlock]
    """Every fenced block, in order."""
    problem: Literal["empty", "no_fence", "unclosed_fence", "several_blocks", "other_language"] | None
    """`no_fence`: the whole text is given, and some of it reads like prose. `unclosed_fence`: the text ended within
    the block. `several_blocks`: more than one fits, see `blocks`. `other_language`: the block says that it is in
    another one."""


class EditOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `apply_edit`."""

    text: str
    """The edited text; the unchanged text if an edit failed, unless `partial` is true. Line ends, the byte order mark
    and whether the last line has an end stay as they were."""
    applied: list[EditResult]
    failed: list[EditResult]


OutputChunk = FileStart | FileChunk | FileEnd | CommandChunk
"""What `output` adds to the chunks of a chat."""
