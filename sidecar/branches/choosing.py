"""Chooses one of several answers by the answers alone. [pure]

A way of choosing is a row of functions: measure an answer, decide over all answers, decide before all have ended.
Must not know models, costs, or how branches run. The judge is asked in `sidecar.branches.judging`.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from protocol.compare import Why
from protocol.messages import ToolCallPart
from protocol.replies import Done
from sidecar.core.message_content import join_texts, list_parts

MAX_VOTE_CHARS = 200
"""The longest answer that has a vote. Longer answers hardly ever agree word for word."""

MAX_JUDGED_CHARS = 40_000
"""How much of an answer a judge is shown."""

GOOD_ENDS = frozenset({"stop", "tool_calls"})
"""The finish reasons of a complete answer."""

_MARKS = re.compile(r"^[\s\W_]+|[\s\W_]+$")


class Verdict(NamedTuple):
    """The chosen branch, or None, and why."""

    chosen: int | None
    why: Why


class Measured(NamedTuple):
    """A branch that has its answer, and the measure of that."""

    branch: int
    merit: Any


class Way(NamedTuple):
    """One way of choosing."""

    measure: Callable[[Done], Any]
    """Returns the merit of an answer: what `decide` needs to know of it."""
    decide: Callable[[Sequence[Measured]], Verdict]
    """Returns the verdict over all answers, in the order in which they came."""
    decide_early: Callable[[Sequence[Measured], int], Verdict | None] = lambda _, __: None
    """Returns the verdict that the given number of running branches cannot change, or None."""


# --- first valid -----------------------------------------------------------------------------


def is_valid(done: Done) -> bool:
    """Return whether an answer is complete, conforms to its schema and has usable files and code."""
    parts = list_parts(done.message)
    has_content = any(isinstance(part, ToolCallPart) for part in parts) or bool(join_texts(done.message).strip())
    if done.finish_reason not in GOOD_ENDS or not has_content:
        return False
    if any(isinstance(part, ToolCallPart) and part.arguments is None for part in parts):
        return False
    return _fits(done.structured, "valid", good=True) and _has_usable_files(done)


def _has_usable_files(done: Done) -> bool:
    if done.files is not msgspec.UNSET and not (done.files and all(file.complete for file in done.files)):
        return False
    return _fits(done.code, "problem", good=None)


def _fits(result: object, field: str, *, good: object) -> bool:
    """Return whether *result*, which is UNSET if it was not asked for, has the *good* value in its *field*."""
    return result is msgspec.UNSET or getattr(result, field) is good


def _find_first_valid(measured: Sequence[Measured]) -> Verdict | None:
    return next((Verdict(each.branch, "first_valid") for each in measured if each.merit), None)


# --- longest ---------------------------------------------------------------------------------


def _find_longest(measured: Sequence[Measured]) -> Verdict:
    longest = max(measured, key=lambda each: (each.merit, -each.branch))
    return Verdict(longest.branch, "longest")


# --- vote ------------------------------------------------------------------------------------


def read_vote(done: Done) -> str | None:
    """Return a short answer in the form in which it is counted, or None for a long or an empty one.

    Case, white space, and punctuation and marks around the answer do not count. JSON counts by its value.
    """
    if isinstance(done.structured, msgspec.Struct) and done.structured.value is not None:
        text = msgspec.json.encode(done.structured.value, order="deterministic").decode()
        return text if len(text) <= MAX_VOTE_CHARS else None
    text = join_texts(done.message)
    if done.finish_reason not in GOOD_ENDS or len(text) > 4 * MAX_VOTE_CHARS:
        return None
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    # An answer may consist of marks only.
    vote = _MARKS.sub("", folded) or folded
    return vote if 0 < len(vote) <= MAX_VOTE_CHARS else None


def _count_votes(measured: Sequence[Measured]) -> list[tuple[str, int]]:
    """Return the answers with their votes, most votes first, and two without votes: there is always a second."""
    votes = Counter(each.merit for each in measured if each.merit is not None)
    return [*votes.most_common(2), ("", 0), ("", 0)]


def _find_most_votes(measured: Sequence[Measured]) -> Verdict:
    (vote, most), (_, second), *_ = _count_votes(measured)
    if most < 2 or most == second:
        return Verdict(None, "no_majority")
    return Verdict(min(each.branch for each in measured if each.merit == vote), "vote")


def _find_certain_vote(measured: Sequence[Measured], left: int) -> Verdict | None:
    (_, most), (_, second), *_ = _count_votes(measured)
    return _find_most_votes(measured) if most > second + left else None


# --- judge -----------------------------------------------------------------------------------


def _show_answer(done: Done) -> str:
    """Return what a judge is shown of an answer: its text and tool calls, with one character too many if it is cut."""
    calls = [part for part in list_parts(done.message) if isinstance(part, ToolCallPart)]
    shown = [join_texts(done.message), *(f"[calls {call.name} with {call.arguments_text}]" for call in calls)]
    return "\n".join(text for text in shown if text)[: MAX_JUDGED_CHARS + 1]


WAYS: dict[str, Way] = {
    "none": Way(lambda _: None, lambda _: Verdict(None, "host_chooses")),
    "first_valid": Way(
        is_valid,
        lambda measured: _find_first_valid(measured) or Verdict(None, "none_valid"),
        lambda measured, _: _find_first_valid(measured),
    ),
    "longest": Way(lambda done: len(join_texts(done.message)), _find_longest),
    "vote": Way(read_vote, _find_most_votes, _find_certain_vote),
    # The verdict for a judge that cannot be asked.
    "judge": Way(_show_answer, lambda _: Verdict(None, "judge_failed")),
}
"""By the word in `choose.by`."""

TAKING_THE_ONLY_ONE = frozenset({"longest", "vote", "judge"})
"""The ways that compare answers. If there is only one, it is chosen."""


def choose(by: str, measured: Sequence[Measured]) -> Verdict:
    """Return the verdict over all answers. A judge is asked elsewhere, unless there is only one answer."""
    if len(measured) == 1 and by in TAKING_THE_ONLY_ONE:
        return Verdict(measured[0].branch, "only_answer")
    return WAYS[by].decide(measured)
