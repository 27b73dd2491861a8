"""Completion: the text at the cursor of an editor, for the actions `complete` and `stream_complete`."""

from typing import Annotated, Any, Literal

import msgspec

from protocol.messages import FinishReason, Usage
from protocol.replies import Attempt, ReplyId, Start, Status, Timings, Warn
from protocol.settings import Settings
from protocol.tasks import FilePath
from protocol.values import Model, Secret, Url

MAX_CODE_CHARS = 1_000_000
"""The longest text before or after the cursor, or of another file."""

MAX_ITEMS = 8

Code = Annotated[str, msgspec.Meta(max_length=MAX_CODE_CHARS)]
"""A part of a file, as it stands in the editor."""

Method = Literal["fim", "template", "chat"]
"""How the model is asked. `fim`: at the provider's own endpoint for completions. `template`: the same with the tokens
of the model's family, written by the sidecar. `chat`: in words."""

CutBy = Literal["line", "suffix_overlap", "repeat", "fence", "token", "budget"]
"""Why a text ends before the model's own end. `line`: one line was wanted, or the block has ended. `suffix_overlap`:
what follows repeats the text after the cursor. `repeat`: what follows repeats itself, or the line above. `fence`: the
text was wrapped in a Markdown fence. `token`: a token follows that is no text. `budget`: `budget_ms` was over."""


class CompletionOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How to complete: `params.options`."""

    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=8192)] = 128
    """The longest text, in tokens."""
    lines: Literal["auto", "one", "many"] = "auto"
    """`one`: to the end of the line. `many`: as long as the model writes. `auto`: one line, unless the cursor is on a
    line of its own or the line opens a block; then to the end of the block."""
    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_ITEMS)] = 1
    """How many texts to ask for. A provider may give fewer."""
    budget_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)] | None = None
    """What has come after this many milliseconds is the answer."""
    trim: bool = True
    """False: give the text as the model wrote it."""
    method: Literal["auto", "fim", "template", "chat"] = "auto"
    """Ask in this way or not at all; `auto`: in the best way that the provider and the model have."""
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)] | None = None
    stop: Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=256)]], msgspec.Meta(max_length=16)] = []
    """The text ends before the first of these."""
    provider_options: dict[str, Any] = {}
    """Fields of the provider's own request, as they are."""


class ContextFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of another file, which the model reads first."""

    path: FilePath
    text: Code


class Complete(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Complete the text at the cursor, which stands between `prefix` and `suffix`."""

    model: Model
    prefix: Code = ""
    suffix: Code = ""
    path: FilePath | None = None
    """The file's path, as the model reads it."""
    language: Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[A-Za-z0-9_+#.-]*(?!\n)$")] | None = None
    """The file's language, as editors name it: `python`, `typescriptreact`, …"""
    context: Annotated[list[ContextFile], msgspec.Meta(max_length=64)] = []
    slot: Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[^\x00]*(?!\n)$")] | None = None
    """A place for one completion at a time, such as a window. A newer request takes the slot of an older one, which
    ends with the error `cancelled`, reason `superseded`."""
    options: CompletionOptions = CompletionOptions()
    api_key: Secret | None = None
    base_url: Url | None = None
    settings: Settings | None = None


class CompletionItem(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One text for the place of the cursor."""

    text: str
    """Empty: there is nothing to insert."""
    finish_reason: FinishReason
    provider_finish_reason: str | None = None
    cut_by: CutBy | None = None
    """Absent: the text is as long as the model wrote it."""


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `complete`."""

    items: list[CompletionItem]
    """At least one, in the provider's order."""
    method: Method
    reused: bool
    """The stream of an older request of the slot gave the text, because what was typed since was its beginning."""
    usage: Usage | None
    cost: dict[str, Any]
    provider: str
    model: str
    request_id: str | None
    attempts: list[Attempt]
    timings: Timings
    warnings: list[Warn] = []


class ItemDelta(msgspec.Struct, frozen=True, tag_field="type", tag="item_delta", kw_only=True):
    """A piece of the text of an item. What is sent is never taken back."""

    item: int
    """The number of the item, from 0."""
    text: str


class CompletionDone(Completed, frozen=True, tag_field="type", tag="done", kw_only=True):
    """The end of the stream of `stream_complete`: all that `complete` answers."""


CompletionChunk = Start | Status | ItemDelta | CompletionDone


class StreamedCompletion(msgspec.Struct, frozen=True):
    """One line of the stream of `stream_complete`."""

    id: ReplyId
    success: Literal[True]
    streaming: Literal[True]
    seq: int
    data: CompletionChunk
