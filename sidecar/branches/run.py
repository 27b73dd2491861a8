"""`compare`: all branches at once, each below the request, until all have ended or one is chosen.

Knows that a failed branch never ends another, and that branches which are not needed may be cancelled. Must not know
lines, wires or providers.
"""

from collections.abc import Callable, Sequence

import anyio
import msgspec

from protocol.compare import BranchRow, Compared, JudgeRow
from protocol.replies import Attempt, Status, Timings
from protocol.requests import Compare
from sidecar.branches.branch import Output, RunningBranch
from sidecar.branches.choosing import WAYS, Measured, Verdict, choose
from sidecar.branches.plan import plan_branches, read_budget
from sidecar.branches.summary import count_attempts
from sidecar.core.errors import SidecarError
from sidecar.core.log import find_failure
from sidecar.core.request_state import RequestState, SharedBudget, make_cancelled_error
from sidecar.generation import pipeline
from sidecar.upstream.context import Upstream


class Race:
    """The branches of one request, and the answers in the order in which they came."""

    def __init__(self, params: Compare, branches: Sequence[RunningBranch]) -> None:
        self.params = params
        self.branches = branches
        self.measured: list[Measured] = []
        self.judged: list[JudgeRow] = []
        self.left = len(branches)
        self.all_ended = anyio.Event()

    def note_end(self, branch: RunningBranch) -> None:
        """Take the end of *branch*, and cancel the others if that makes the choice certain."""
        self.left -= 1
        if branch.row is not None and branch.row.state == "completed":
            self.measured.append(Measured(branch.branch.number, branch.merit))
        if not self.left:
            self.all_ended.set()
        elif self.params.choose.cancel_rest and WAYS[self.params.choose.by].decide_early(self.measured, self.left):
            for each in self.branches:
                if each.row is None:
                    each.not_needed = True
                    each.state.cancel("cancelled")


async def compare(
    up: Upstream, state: RequestState, params: Compare, output: Output, finish: Callable[[Compared], None]
) -> None:
    """Ask all models of *params*, send their chunks to *output*, and pass the result to *finish*.

    Raises: SidecarError `invalid_request` for an option that no branch can have; the error of the first branch if all
    failed.
    """
    planned = plan_branches(state.provider, params)
    if (budget_usd := read_budget(params)) is not None:
        state.budget = SharedBudget(budget_usd, "params.budget_usd")
    measure = WAYS[params.choose.by].measure
    branches = [RunningBranch(each, state.make_part("branch", each.provider), output, measure) for each in planned]
    race = Race(params, branches)
    try:
        await _run(up, state, race, finish)
    except anyio.get_cancelled_exc_class():
        if state.ended_by == "timeout" and not race.measured:
            raise make_cancelled_error(state).with_fields(branches=_list_rows(race)) from None
        if state.ended_by == "timeout":
            # Some branches were in time.
            finish(_summarize(state, race, _choose_late(race)))
        raise
    finally:
        _report_progress(state, race)
    if not race.measured:
        raise _make_error(race)


async def _run(up: Upstream, state: RequestState, race: Race, finish: Callable[[Compared], None]) -> None:
    slots = anyio.Semaphore(race.params.concurrency or len(race.branches))
    async with anyio.create_task_group() as tasks:
        for branch in race.branches:
            branch.on_end = race.note_end
            state.branches[branch.branch.number] = branch.state
            branch.send_status(Status(state="pending"))
        for branch in race.branches:
            tasks.start_soon(_run_branch, up, state, branch, slots)
        await race.all_ended.wait()
        if race.measured:
            # A branch that has its answer may still be reading the rest of its reply.
            finish(_summarize(state, race, await _choose(up, state, race)))


async def _run_branch(up: Upstream, state: RequestState, branch: RunningBranch, slots: anyio.Semaphore) -> None:
    """Ask the model of *branch* when it is its turn, and make sure that the branch ends."""
    try:
        with branch.state.scope:
            async with slots:
                branch.send_status(Status(state="generating"))
                await pipeline.answer_chat(up, branch.state, branch.branch.chat, branch)
    except SidecarError as error:
        branch.fail(error)
    except Exception as error:  # noqa: BLE001 - the other branches go on, whatever is wrong with this one
        branch.fail(find_failure(error))
    finally:
        del state.branches[branch.branch.number]
        branch.fail_cancelled()


async def _choose(up: Upstream, state: RequestState, race: Race) -> Verdict:
    choice = race.params.choose
    if choice.judge is None or len(race.measured) == 1:
        return choose(choice.by, race.measured)
    from sidecar.branches import judging  # Few requests have a judge.

    return await judging.ask_judge(up, state, race.params, choice.judge, race.measured, race.judged)


def _choose_late(race: Race) -> Verdict:
    """Return the verdict over the answers that came before the request's deadline."""
    verdict = choose(race.params.choose.by, race.measured)
    return Verdict(None, "deadline") if verdict.chosen is None else verdict


def _list_rows(race: Race) -> list[BranchRow]:
    return [branch.row for branch in race.branches if branch.row is not None]


def _list_attempts(race: Race) -> list[Attempt]:
    listed = [row.attempts for row in _list_rows(race)]
    return [attempt for attempts in (*listed, *(row.attempts for row in race.judged)) for attempt in attempts]


def _summarize(state: RequestState, race: Race, verdict: Verdict) -> Compared:
    usage, cost = count_attempts(_list_attempts(race))
    firsts_ms = [ms for each in race.branches if (ms := each.state.progress.first_chunk_ms) is not None]
    return Compared(
        chosen=verdict.chosen,
        why=verdict.why,
        branches=_list_rows(race),
        judge=race.judged or msgspec.UNSET,
        usage=usage,
        cost=cost,
        timings=Timings(first_chunk_ms=min(firsts_ms, default=None), total_ms=state.elapsed_ms),
    )


def _report_progress(state: RequestState, race: Race) -> None:
    """Note what an error line reports: the usage and cost of all branches, and whether anything was delivered."""
    progress, parts = state.progress, [branch.state.progress for branch in race.branches]
    usage, cost = count_attempts(_list_attempts(race))
    progress.usage, progress.cost = usage, msgspec.to_builtins(cost)
    progress.attempts_begun = sum(part.attempts_begun for part in parts)
    progress.delivered = any(part.delivered for part in parts)


def _make_error(race: Race) -> SidecarError:
    """Return the error of a request whose branches have all failed: that of the first branch, with all rows."""
    rows = _list_rows(race)
    errors = [row.error for row in rows if row.error is not None]
    first = errors[0]
    error = SidecarError(first.code, f"All {len(rows)} branches failed. The first: {first.message}")
    return error.with_fields(
        retryable=any(each.retryable for each in errors),
        retry_after_ms=first.retry_after_ms,
        provider=first.provider,
        model=first.model,
        reason=first.reason,
        param=first.param,
        phase=first.phase,
        hint=first.hint,
        branches=rows,
    )
