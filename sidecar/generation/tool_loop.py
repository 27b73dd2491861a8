"""A chat that continues with the results of its tools: several answers, called rounds, in one stream.

Knows when a round waits, for how long, and what all rounds have used. Must not know how an answer comes about, or who
runs the tools.
"""

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

import anyio
import msgspec

from protocol.messages import Message, ToolCallPart, ToolResultPart
from protocol.options import Options
from protocol.replies import Chunk, Done, Start, Status
from protocol.requests import Chat
from protocol.tool_loop import Round, ToolLoop, ToolRound
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.message_content import list_parts, make_portable
from sidecar.core.request_state import Progress, RequestState, ToolWait
from sidecar.outputs.sink import Sink
from sidecar.usage.cost import sum_costs, sum_usage

GRACE_MS = 1000
"""How much later than the wait for results the deadline of the request is."""

Answer = Callable[[Chat, Sink], Awaitable[None]]
"""Answers a chat once, and sends every chunk to the sink."""


class _RoundSink:
    """Passes the chunks of one round on, and keeps its terminal chunk."""

    def __init__(self, state: RequestState, sink: Sink, rounds: list[Done], max_rounds: int) -> None:
        """Append the terminal chunk to *rounds*, which has those of the earlier rounds."""
        self._state = state
        self._sink = sink
        self._rounds = rounds
        self._number = len(rounds) + 1
        self._max_rounds = max_rounds
        self._has_begun = False
        self.wait: ToolWait | None = None
        """What the round waits for at its end."""
        self.wait_for_room = sink.wait_for_room
        self.send_status: Callable[[Status], None] = sink.send_status

    @property
    def full(self) -> bool:
        """Whether the producer should wait."""
        return self._sink.full

    @property
    def is_complete(self) -> bool:
        """Whether the round has its terminal chunk."""
        return len(self._rounds) == self._number

    def send(self, chunks: Sequence[Chunk]) -> None:
        """Pass *chunks* on, without the `start` of any round but the first."""
        if not self._has_begun and self._number > 1:
            chunks = [chunk for chunk in chunks if not isinstance(chunk, Start)]
        self._has_begun = True
        if chunks:
            self._sink.send(chunks)

    def finish(self, done: Done) -> None:
        """Keep *done*. The host may send results as soon as it knows of the calls."""
        self._rounds.append(done)
        calls = [part.id for part in list_parts(done.message) if isinstance(part, ToolCallPart)]
        if done.finish_reason == "tool_calls" and calls and self._number < self._max_rounds:
            self.wait = ToolWait(calls)
            if not self._state.input_ended:
                self._state.tool_wait = self.wait
            self._sink.send([ToolRound(round=self._number, calls=calls, message=make_portable(done.message))])


async def answer_in_rounds(state: RequestState, chat: Chat, loop: ToolLoop, sink: Sink, answer: Answer) -> None:
    """Answer *chat*, and continue with the results of its tools until the model calls none.

    Raises: SidecarError, the failure of a round; `timeout` if results do not come in time.
    """
    _check(state)
    rounds: list[Done] = []
    messages: list[Message] = []
    round_sink = _RoundSink(state, sink, rounds, loop.max_rounds)
    try:
        while True:
            asked = msgspec.structs.replace(
                chat, messages=[*chat.messages, *messages], options=_make_options(chat.options, rounds)
            )
            reached = await _answer_round(asked, round_sink, answer, is_first=not rounds)
            if round_sink.is_complete:
                messages.append(rounds[-1].message)
            if round_sink.wait is None:
                break
            if sink.full:
                await sink.wait_for_room()
            _report(state.progress, rounds)
            messages += await _wait_for_results(state, round_sink.wait, loop.result_timeout_ms)
            reached = _find_reached_limit(chat.options, rounds)
            if round_sink.wait.has_stopped or reached:
                break
            _begin_round(state, rounds)
            round_sink = _RoundSink(state, sink, rounds, loop.max_rounds)
    except BaseException:
        _report(state.progress, rounds, is_broken=not round_sink.is_complete)
        raise
    sink.finish(_join(state, rounds, messages, reached))


def _check(state: RequestState) -> None:
    """Refuse an action during which no host could send results.

    Raises: SidecarError `invalid_request`.
    """
    if state.action != "stream_chat":
        text = "`params.options.tool_loop` is for `stream_chat`: no other action can report calls and continue."
        raise invalid_request(text, "params.options.tool_loop")


async def _answer_round(chat: Chat, sink: _RoundSink, answer: Answer, *, is_first: bool) -> str | None:
    """Answer *chat* once. Return the option whose limit left no room for the round, or None."""
    try:
        await answer(chat, sink)
    except SidecarError as error:
        if sink.is_complete:
            # The answer is complete. Only the end of its connection failed.
            return None
        if not is_first and error.body.reason == "budget_usd":
            return "budget_usd"
        raise
    return None


async def _wait_for_results(state: RequestState, wait: ToolWait, timeout_ms: int) -> list[Message]:
    """Return the message with the results of a round, or no message if there are no results.

    Raises: SidecarError `timeout`.
    """
    state.progress.phase = "tool_result"
    state.grant_anew()
    state.grant(timeout_ms + GRACE_MS)
    try:
        if not state.input_ended:
            with anyio.move_on_after(timeout_ms / 1000):
                await wait.ended.wait()
    finally:
        state.tool_wait = None
    if wait.missing and not wait.has_stopped:
        reason = "input_ended" if state.input_ended else None
        text = "The input has ended, so no results can come." if reason else "The results of the tools did not come."
        raise SidecarError("timeout", text, phase="tool_result", reason=reason, retryable=False)
    results = [wait.results[call] for call in wait.calls if call in wait.results]
    parts = [ToolResultPart(id=each.id, content=each.content, is_error=each.is_error) for each in results]
    return [Message(role="tool", content=[*parts])] if parts else []


# --- what the rounds share -------------------------------------------------------------------


def _begin_round(state: RequestState, rounds: Sequence[Done]) -> None:
    """Reset what limits a request, so that the next round has retries, fallbacks and time of its own."""
    progress = state.progress
    progress.attempts = list(rounds[-1].attempts)
    progress.delivered = progress.waited_for_host = False
    progress.usage = progress.cost = progress.partial = progress.resume = None
    state.grant_anew()


def _report(progress: Progress, rounds: Sequence[Done], *, is_broken: bool = False) -> None:
    """Note in *progress* the usage and cost of all *rounds*, and those of a further one if it *is_broken*."""
    if not rounds:
        return
    usages, costs = [each.usage for each in rounds], [each.cost for each in rounds]
    if is_broken and progress.usage is not None:
        usages.append(progress.usage)
        costs.append(progress.cost or {"usd": None, "reason": "usage_unknown"})
    progress.delivered = True
    progress.usage, progress.cost = sum_usage(usages), sum_costs(costs)


def _make_options(options: Options, rounds: Sequence[Done]) -> Options:
    """Return *options* with what *rounds* have left of its limits.

    After the first round no call is forced: a model that must call a tool in each round would never answer.
    """
    changes: dict[str, Any] = {}
    if options.tool_choice not in (None, "auto", "none"):
        changes["tool_choice"] = "auto"
    if options.token_limit is not None:
        changes["token_limit"] = max(1, options.token_limit - _count_output(rounds))
    if options.budget_usd is not None:
        changes["budget_usd"] = f"{max(Decimal(0), Decimal(str(options.budget_usd)) - _sum_usd(rounds)):.12f}"
    return msgspec.structs.replace(options, **changes) if rounds and changes else options


def _find_reached_limit(options: Options, rounds: Sequence[Done]) -> str | None:
    """Return the option whose limit *rounds* have reached."""
    if options.token_limit is not None and _count_output(rounds) >= options.token_limit:
        return "token_limit"
    if options.budget_usd is not None and _sum_usd(rounds) >= Decimal(str(options.budget_usd)) > 0:
        return "budget_usd"
    return None


def _count_output(rounds: Sequence[Done]) -> int:
    return sum(each.usage.output_tokens or 0 for each in rounds if each.usage)


def _sum_usd(rounds: Sequence[Done]) -> Decimal:
    return sum((Decimal(each.cost["usd"]) for each in rounds if each.cost["usd"] is not None), Decimal(0))


def _join(state: RequestState, rounds: Sequence[Done], messages: list[Message], reached: str | None) -> Done:
    """Return the terminal chunk of all *rounds*; *reached* is the limit that ended them."""
    first, last = rounds[0], rounds[-1]
    seen = [warning for each in rounds for warning in each.warnings]
    return msgspec.structs.replace(
        last,
        finish_reason="length" if reached else last.finish_reason,
        provider_finish_reason=reached or last.provider_finish_reason,
        usage=sum_usage([each.usage for each in rounds]),
        cost=sum_costs([each.cost for each in rounds]),
        timings=msgspec.structs.replace(first.timings, total_ms=state.elapsed_ms),
        warnings=[warning for at, warning in enumerate(seen) if warning not in seen[:at]],
        rounds=[
            Round(
                finish_reason=each.finish_reason,
                provider=each.provider,
                model=each.model,
                request_id=each.request_id,
                usage=each.usage,
                cost=each.cost,
            )
            for each in rounds
        ],
        messages=messages,
    )
