"""Asks another model when the first is slow. The first that delivers answers, and the others are cancelled.

Knows the race alone. Must not know how a model is asked, or any wire, scheme or provider.
"""

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from protocol.options import Hedge
from protocol.replies import Attempt, Chunk, Done, Status, Warn
from protocol.requests import Chat, ResumeChat
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.request_state import RequestState, SharedBudget, make_cancelled_error
from sidecar.generation.run import FALLBACK_CODES
from sidecar.outputs.sink import Sink, warn_at_start
from sidecar.routing.candidates import change_model
from sidecar.routing.fallbacks import explain_misfit
from sidecar.upstream.context import Upstream

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

READING_TOOLS = ("function", "custom", "web_search", "web_fetch", "file_search")
"""Prefixes of the types of tools that change nothing: those that the host runs, and those that only search."""

TOOL_FIELDS = ("tools", "mcp_servers", "tool_config", "toolConfig")
"""The fields of `provider_options` that declare tools of the provider."""

Ask = Callable[[RequestState, Chat, Sink], Awaitable[None]]
"""Asks the model of a chat, and its fallbacks when it fails."""


async def answer_hedged(up: Upstream, state: RequestState, chat: Chat, hedge: Hedge, sink: Sink, ask: Ask) -> None:
    """Answer *chat* with the model that delivers first: its own or one of *hedge*. *ask* asks one of them.

    Raises: SidecarError, the failure of the first model, if none answers; `invalid_request` for a chat that must not be
    asked twice.
    """
    _check(chat)
    if chat.options.budget_usd is not None and state.budget is None:
        state.budget = SharedBudget(Decimal(str(chat.options.budget_usd)), "params.options.budget_usd")
    if chat.options.timeouts is not None and chat.options.timeouts.total_ms is not None:
        state.limit(chat.options.timeouts.total_ms)
    chats, warnings = _list_chats(up, chat, hedge)
    race = _Race(state, sink, warnings)
    try:
        async with anyio.create_task_group() as tasks:
            await _start_in_turn(race, tasks, chats, hedge.after_ms / 1000, ask)
    finally:
        race.report_attempts()
    race.raise_failure()


def _check(chat: Chat) -> None:
    """Refuse a chat that must not be asked twice.

    Raises: SidecarError `invalid_request`.
    """
    for field in TOOL_FIELDS:
        if field in chat.options.provider_options and not _only_reads(chat.options.provider_options[field]):
            text = f"`provider_options.{field}` may act, and with `hedge` it may act twice. Leave one of them out."
            raise invalid_request(text, "params.options.hedge")
    if isinstance(chat, ResumeChat) and chat.method == "cursor":
        text = "With `cursor`, only the model that began the answer can continue it. Leave `hedge` out."
        raise invalid_request(text, "params.options.hedge")


def _only_reads(tools: Any) -> bool:
    """Return whether all *tools*, in the form of the provider, are of known types that change nothing."""
    if not isinstance(tools, list):
        return not tools
    return all(isinstance(tool, dict) and str(tool.get("type", "")).startswith(READING_TOOLS) for tool in tools)


def _list_chats(up: Upstream, chat: Chat, hedge: Hedge) -> tuple[list[Chat], list[Warn]]:
    """Return the chat for each model in turn, and warnings about those that are known not to accept it."""
    alone = msgspec.structs.replace(chat.options, hedge=None)
    # Only the first model has fallbacks.
    bare = msgspec.structs.replace(alone, fallbacks=[])
    chats, warnings = [msgspec.structs.replace(chat, options=alone)], list[Warn]()
    for index, model in enumerate(hedge.models):
        other = change_model(msgspec.structs.replace(chat, options=bare), model)
        if reason := explain_misfit(up.setup, other):
            text = f"The hedge `{model}` was skipped: {reason}."
            warnings.append(Warn(code="hedge_skipped", message=text, param=f"params.options.hedge.models[{index}]"))
        else:
            chats.append(other)
    return chats, warnings


async def _start_in_turn(
    race: "_Race", tasks: "TaskGroup", chats: Sequence[Chat], after_seconds: float, ask: Ask
) -> None:
    """Start one runner after another, until one delivers or one fails as every model would."""
    for number, chat in enumerate(chats):
        if number:
            with anyio.move_on_after(after_seconds):
                await race.wait_for_outcome()
            if race.winner is not None or race.is_hopeless:
                return
            race.sink.send_status(Status(state="hedging", attempt=number))
        tasks.start_soon(race.add(number).run, chat, ask)


class _Race:
    """The models that are asked for one answer."""

    def __init__(self, state: RequestState, sink: Sink, warnings: list[Warn]) -> None:
        self.state = state
        self.sink = sink
        self.warnings = warnings
        self.winner: _Runner | None = None
        self._runners: list[_Runner] = []
        self._changed = anyio.Event()
        self._done: Done | None = None
        """The end of the answer, while a loser is still running."""
        self._is_finished = False

    def add(self, number: int) -> "_Runner":
        """Add a runner and return it. The first one has the progress of the request itself."""
        part = self.state.make_part("hedge" if number else self.state.kind, None if number else self.state.provider)
        if not number:
            part.progress = self.state.progress
        runner = _Runner(self, part)
        self._runners.append(runner)
        return runner

    @property
    def is_hopeless(self) -> bool:
        """Whether a model has refused what every model would refuse."""
        return any(each.failure and each.failure.body.code not in FALLBACK_CODES for each in self._runners)

    async def wait_for_outcome(self) -> None:
        """Wait until there is a winner, or every runner so far has failed."""
        while self.winner is None and any(each.is_running for each in self._runners):
            self._changed = anyio.Event()
            await self._changed.wait()

    def claim(self, runner: "_Runner") -> bool:
        """Return whether *runner* may send. The first that asks wins, and the others are cancelled."""
        if self.winner is None:
            self.winner = runner
            # An error of the request reports the progress of the winner.
            self.state.progress = runner.state.progress
            for each in self._runners:
                if each is not runner:
                    each.state.cancel("cancelled")
            self._changed.set()
        return self.winner is runner

    def finish(self, done: Done) -> None:
        """Take the end of the winner's answer, and pass it on when all others have ended."""
        self._done = done
        self._finish_if_over()

    def note_end(self, runner: "_Runner") -> None:
        """Take the end of *runner*."""
        self._changed.set()
        if runner is not self.winner:
            try:
                self._finish_if_over()
            except SidecarError as error:
                self._runners[0].failure = error

    def _finish_if_over(self) -> None:
        if self._done is None or any(each.is_running for each in self._runners if each is not self.winner):
            return
        done, self._done, self._is_finished = self._done, None, True
        # Later rounds of the request stay with a model that a route has chosen.
        self.state.routed_model = self._runners[0].state.routed_model
        lost = [attempt for each in self._runners if each is not self.winner for attempt in each.list_attempts()]
        warnings = [*self.warnings, *done.warnings]
        self.sink.finish(msgspec.structs.replace(done, attempts=[*lost, *done.attempts], warnings=warnings))

    def report_attempts(self) -> None:
        """Add the attempts of the other models to those of the request, unless the end of the answer lists them."""
        if self._is_finished:
            return
        progress = self.state.progress
        others = [each for each in self._runners if each.state.progress is not progress]
        progress.attempts_begun += sum(each.state.progress.attempts_begun for each in others)
        progress.attempts[:0] = [attempt for each in others for attempt in each.list_attempts()]

    def raise_failure(self) -> None:
        """Raise the failure of the winner, or that of the first model if there is no winner."""
        if failure := (self.winner or self._runners[0]).failure:
            raise failure


class _Runner:
    """One model that is asked, and the sink for its chunks."""

    def __init__(self, race: _Race, state: RequestState) -> None:
        self.state = state
        self.failure: SidecarError | None = None
        self.is_running = True
        self._race = race
        self._unwanted: list[Attempt] = []
        """The attempts of a loser that was complete before it could be cancelled."""
        self.send: Callable[[Sequence[Chunk]], None] = self._send_first
        self.wait_for_room = race.sink.wait_for_room

    async def run(self, chat: Chat, ask: Ask) -> None:
        """Ask the model of *chat*. A failure is kept."""
        try:
            with self.state.scope:
                await ask(self.state, chat, self)
            if self.state.scope.cancelled_caught:
                # Another model has won, or the request has run out of time.
                self.failure = self._complete(make_cancelled_error(self.state))
        except SidecarError as error:
            self.failure = self._complete(error)
        finally:
            self.is_running = False
            self._race.note_end(self)

    def _complete(self, error: SidecarError) -> SidecarError:
        body, progress = error.body, self.state.progress
        return error.with_fields(provider=body.provider or progress.provider, model=body.model or progress.model)

    def list_attempts(self) -> list[Attempt]:
        """Return the attempts of a loser, all of which have failed or were cancelled."""
        return [*self.state.progress.attempts, *self._unwanted]

    @property
    def full(self) -> bool:
        """Whether the host reads more slowly than the provider writes."""
        return self._race.sink.full

    def _send_first(self, chunks: Sequence[Chunk]) -> None:
        """Take the first chunks, which decide the race. Those of the winner then go straight to the sink."""
        if not self._race.claim(self):
            self.send = _drop
            return
        self.send = self._race.sink.send
        self.send(warn_at_start(chunks, self._race.warnings) if self._race.warnings else chunks)

    def send_status(self, status: Status) -> None:
        """Pass *status* on, unless another model answers."""
        if self._race.winner in (None, self):
            self._race.sink.send_status(status)

    def finish(self, done: Done) -> None:
        """Take the end of the answer."""
        if self._race.claim(self):
            self._race.finish(done)
        else:
            self._unwanted = [msgspec.structs.replace(each, code=each.code or "cancelled") for each in done.attempts]
            self.state.progress.attempts = []


def _drop(chunks: Sequence[Chunk]) -> None:
    """Drop the chunks that a loser sends before its cancellation takes effect."""
