"""One branch, from `pending` to its end, and the row that is kept of it.

Knows the chunks that begin and end a branch. Must not know the other branches, or how one is chosen.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec

from protocol.compare import BranchDone, BranchError, BranchRow
from protocol.errors import ErrorBody
from protocol.replies import Attempt, Chunk, Done, Status
from sidecar.branches.plan import Branch
from sidecar.branches.summary import count_attempts
from sidecar.core.errors import SidecarError
from sidecar.core.request_state import RequestState, complete_error, make_cancelled_error


class Output(Protocol):
    """Takes what all branches send."""

    @property
    def full(self) -> bool:
        """Whether all branches should wait."""

    @property
    def streams(self) -> bool:
        """Whether the host is sent the chunks."""

    def send(self, branch: int, chunks: Sequence[Chunk]) -> None:
        """Take *chunks* of one branch."""

    def send_status(self, branch: int, status: Status) -> None:
        """Take *status* of one branch."""

    async def wait_for_room(self) -> None:
        """Wait until the output is no longer full."""

    def prepare(self, done: Done) -> tuple[Done, Done]:
        """Return *done* as it can be written, and as much of it as the host is sent.

        Raises: SidecarError for an answer that cannot.
        """

    def fold(self, done: Done) -> dict[str, Any] | None:
        """Return the answer for the branch's row, None where the host has it in chunks."""

    def end(self, chunk: BranchDone | BranchError) -> None:
        """Take the last chunk of a branch."""


class RunningBranch:
    """A branch, and a sink for its chunks."""

    def __init__(self, branch: Branch, state: RequestState, output: Output, measure: Callable[[Done], Any]) -> None:
        """*measure* returns what the choice needs to know of the answer."""
        self.branch = branch
        self.state = state
        self.merit: Any = None
        self.row: BranchRow | None = None
        """How the branch ended; None until it ends."""
        self.not_needed = False
        """Whether it was cancelled because another branch was chosen."""
        self.on_end: Callable[[RunningBranch], None] = lambda _: None
        """Called once, when it ends."""
        self._output = output
        self._measure = measure
        self.send: Callable[[Sequence[Chunk]], None] = partial(output.send, branch.number)
        self.send_status: Callable[[Status], None] = partial(output.send_status, branch.number)
        self.wait_for_room = output.wait_for_room

    @property
    def full(self) -> bool:
        """Whether the host reads more slowly than the branches write."""
        return self._output.full

    def finish(self, done: Done) -> None:
        """Take the end of the answer.

        Raises: SidecarError for an answer that cannot be written.
        """
        if self.row is not None:
            return
        # The whole answer counts for the choice, even if it is too long for the lines of the host.
        done, sent = self._output.prepare(done)
        self.merit = self._measure(done)
        usage, cost = count_attempts(done.attempts)
        row = BranchRow(
            branch=self.branch.number,
            state="completed",
            provider=done.provider,
            model=done.model,
            finish_reason=done.finish_reason,
            usage=usage,
            cost=cost,
            attempts=done.attempts,
            timings=done.timings,
            answer=self._output.fold(done),
        )
        fields = {name: getattr(sent, name) for name in sent.__struct_fields__}
        self._end(row, BranchDone(branch=self.branch.number, **fields), Status(state="completed"))

    def fail(self, error: SidecarError) -> None:
        """End the branch with *error*, unless it has ended."""
        if self.row is not None:
            return
        body = self._complete(error.body)
        attempts = self.state.progress.attempts
        usage, cost = count_attempts(attempts)
        row = BranchRow(
            branch=self.branch.number,
            state="cancelled" if body.code == "cancelled" else "failed",
            provider=body.provider,
            model=body.model,
            # The row itself has usage and cost, and the last chunk has the partial message.
            error=msgspec.structs.replace(body, usage=None, cost=None, partial_message=None),
            usage=usage,
            cost=cost,
            attempts=list[Attempt](attempts),
        )
        self._end(row, BranchError(branch=self.branch.number, error=body), Status(state="failed", code=body.code))

    def fail_cancelled(self) -> None:
        """End the branch, unless it has ended, because it or the whole request was cancelled."""
        error = make_cancelled_error(self.state)
        if self.not_needed:
            error = SidecarError("cancelled", "Another branch was chosen.", reason="not_needed")
        self.fail(error)

    def _end(self, row: BranchRow, chunk: BranchDone | BranchError, status: Status) -> None:
        self.row = row
        self.send_status(status)
        self._output.end(chunk)
        self.on_end(self)

    def _complete(self, body: ErrorBody) -> ErrorBody:
        """Return *body* with what is known of the branch, and of what the host has received."""
        progress = self.state.progress
        is_partial = progress.delivered and self._output.streams
        is_resumable = is_partial and not self.state.is_cancelled_by_host
        return msgspec.structs.replace(
            complete_error(body, self.state),
            partial=is_partial,
            partial_message=progress.partial if is_resumable else None,
            resume=progress.resume if is_resumable else None,
        )
