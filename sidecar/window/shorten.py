"""`options.compact` and `options.overflow`: shortens a chat before it is sent, and says so in its answer.

Must not know who sends the chat.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import anyio.to_thread
import msgspec

from protocol.replies import Chunk, Done, Start, Warn
from protocol.requests import Chat
from protocol.window import Shortened
from sidecar.core.errors import invalid_request
from sidecar.core.request_state import RequestState
from sidecar.outputs.sink import Sink
from sidecar.routing.choice import AUTO
from sidecar.tokens.prompts import estimate_prompt_tokens
from sidecar.upstream.context import Upstream
from sidecar.window.compact import compact
from sidecar.window.limits import Window, find_window, plan_window
from sidecar.window.plan import apply_plan

T = TypeVar("T", Start, Done)

SURE_SHARE = 4
"""A prompt fits, whatever the vocabulary, if its rough estimate is so many times smaller than the limit."""


async def shorten(up: Upstream, state: RequestState, chat: Chat, sink: Sink) -> tuple[Chat, Sink]:
    """Return *chat* shortened as its options ask, and a sink that passes on to *sink* and reports what was left out.

    Raises: SidecarError `invalid_request`, `unknown_provider`.
    """
    shortened, warnings = Shortened(), list[Warn]()
    if chat.options.compact:
        # A text may have many megabytes.
        messages, chars = await anyio.to_thread.run_sync(compact, chat.messages)
        chat, shortened = msgspec.structs.replace(chat, messages=messages), Shortened(compacted_chars=chars)
    if chat.options.overflow is not None:
        chat, shortened, warnings = await _fit(up, state.provider, chat, shortened)
    if shortened == Shortened() and not warnings:
        return chat, sink
    return chat, _ReportingSink(sink, shortened, warnings)


async def _fit(
    up: Upstream, provider: str | None, chat: Chat, shortened: Shortened
) -> tuple[Chat, Shortened, list[Warn]]:
    """Return *chat* as it fits into the window of its model, with the report and the warnings."""
    if provider is None and chat.model == AUTO:
        text = "`params.options.overflow` needs a model: `auto` leaves out the models that are too small."
        raise invalid_request(text, "params.options.overflow")
    window = find_window(up, provider, chat)
    if window.limit is None:
        text = "The longest prompt of the model is unknown, so nothing was left out."
        return chat, shortened, [Warn(code="option_left_out", message=text, param="params.options.overflow")]
    if estimate_prompt_tokens(chat) * SURE_SHARE <= window.limit:
        return chat, shortened, []
    return await _leave_out(up, window, window.limit, chat, shortened)


async def _leave_out(
    up: Upstream, window: Window, limit: int, chat: Chat, shortened: Shortened
) -> tuple[Chat, Shortened, list[Warn]]:
    # The first turn of a task is its prompt.
    keep = ("system",) if chat.task is None else ("system", "first_turn")
    total, plan = await plan_window(up, window, keep, chat.options.overflow or "drop_oldest")
    if not plan.drop and not plan.clear:
        return chat, shortened, []
    report = msgspec.structs.replace(
        shortened,
        dropped=plan.drop,
        cleared=plan.clear,
        tokens=total.tokens,
        tokens_after=plan.tokens_after,
        limit=limit,
        cache_lost_from=plan.cache_lost_from,
    )
    return msgspec.structs.replace(chat, messages=apply_plan(chat.messages, plan)), report, []


class _ReportingSink:
    """Passes everything on, and adds to the first and the last chunk what was left out."""

    def __init__(self, sink: Sink, shortened: Shortened, warnings: Sequence[Warn]) -> None:
        self._sink = sink
        self._shortened = msgspec.UNSET if shortened == Shortened() else shortened
        self._warnings = list(warnings)
        self.send: Callable[[Sequence[Chunk]], None] = self._send_first
        self.send_status = sink.send_status
        self.wait_for_room = sink.wait_for_room

    @property
    def full(self) -> bool:
        """Whether the producer should wait."""
        return self._sink.full

    def _send_first(self, chunks: Sequence[Chunk]) -> None:
        """Add the report to `start`. From then on chunks go straight to the sink."""
        self._sink.send([self._add(each) if isinstance(each, Start) else each for each in chunks])
        if any(isinstance(each, Start) for each in chunks):
            self.send = self._sink.send

    def finish(self, done: Done) -> None:
        """Pass *done* on with the report."""
        self._sink.finish(self._add(done))

    def _add(self, chunk: T) -> T:
        return msgspec.structs.replace(chunk, shortened=self._shortened, warnings=[*self._warnings, *chunk.warnings])
