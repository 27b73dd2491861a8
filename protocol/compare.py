"""Several models at once: what `compare` sends beside the chunks of its branches, and how it ends.

A chunk of an answer carries the number of its branch in `branch`, whatever its type.
"""

from typing import Any, Literal

import msgspec

from protocol.errors import ErrorBody
from protocol.messages import FinishReason, Usage
from protocol.replies import AnswerChunk, Attempt, Done, ReplyId, Timings, Warn

Why = Literal[
    "host_chooses",
    "only_answer",
    "first_valid",
    "none_valid",
    "longest",
    "vote",
    "no_majority",
    "judge",
    "judge_tie",
    "judge_failed",
    "deadline",
]
"""Why a branch was chosen, or none."""


class CostSum(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of several attempts."""

    usd: str | None
    """The sum of the known costs: US dollars as a decimal string. Null: none of them is known."""
    unpriced: int
    """Attempts whose cost is unknown, and which the sum leaves out."""


class BranchDone(Done, frozen=True, tag_field="type", tag="branch_done", kw_only=True):
    """The end of a branch that has its answer: all that `done` has."""

    branch: int


class BranchError(msgspec.Struct, frozen=True, tag_field="type", tag="branch_error", kw_only=True):
    """The end of a branch that failed. The others go on."""

    branch: int
    error: ErrorBody


class BranchRow(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How one branch ended."""

    branch: int
    state: Literal["completed", "failed", "cancelled"]
    provider: str | None = None
    model: str | None = None
    finish_reason: FinishReason | None = None
    error: ErrorBody | None = None
    """Why it did not complete."""
    usage: Usage | None = None
    """The sum of its attempts; absent if nothing was reported."""
    cost: CostSum
    """The sum of its attempts."""
    attempts: list[Attempt] = []
    timings: Timings | None = None
    """Present if the branch completed."""
    answer: dict[str, Any] | None = None
    """Present if the branch completed and `stream` is false: the fields of `generate`."""


class JudgeRow(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One question to the judge."""

    order: list[int]
    """The branches, in the order in which the judge saw their answers."""
    chosen: int | None = None
    """The branch that the judge chose; absent if it failed, or named none."""
    provider: str | None = None
    model: str | None = None
    error: ErrorBody | None = None
    usage: Usage | None = None
    cost: CostSum
    attempts: list[Attempt] = []


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `compare`, which succeeds when one branch does."""

    chosen: int | None
    """The branch that was chosen; null: none, and `why` says why."""
    why: Why
    branches: list[BranchRow]
    """One for each model, in the order of the request."""
    judge: list[JudgeRow] | msgspec.UnsetType = msgspec.UNSET
    """Present if a judge was asked."""
    usage: Usage | None
    """The sum of all attempts, the judge's included."""
    cost: CostSum
    """The sum of all attempts, the judge's included."""
    timings: Timings
    warnings: list[Warn] = []


class CompareDone(Compared, frozen=True, tag_field="type", tag="done", kw_only=True):
    """The end of the stream of `compare`."""


CompareChunk = AnswerChunk | BranchDone | BranchError | CompareDone


class StreamedCompare(msgspec.Struct, frozen=True):
    """One line of the stream of `compare`."""

    id: ReplyId
    success: Literal[True]
    streaming: Literal[True]
    seq: int
    data: CompareChunk
