"""One answer on its way, for whichever request waits for it, and what has come of it so far.

Must not know who waits, or how the provider is asked.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from protocol.completion import Method
from protocol.messages import Usage
from protocol.replies import Warn
from sidecar.completion.question import Question
from sidecar.core.request_state import RequestState
from sidecar.providers.values import Target
from sidecar.wires.completions.types import Piece

MAX_ITEM_CHARS = 64 * 1024
"""A longer text is no completion: its stream is ended."""


class Item:
    """One text as far as it has come."""

    __slots__ = ("_pieces", "has_ended", "reason", "size_chars")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.size_chars = 0
        self.has_ended = False
        self.reason: str | None = None
        """Why it has ended, in the provider's own word."""

    def add(self, text: str) -> None:
        """Append *text*."""
        self._pieces.append(text)
        self.size_chars += len(text)

    @property
    def text(self) -> str:
        """All of it."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""


class Flight:
    """The answer to *question*."""

    def __init__(self, question: Question, state: RequestState, target: Target) -> None:
        self.target = target
        self.question = question
        """What it answers. A newer question that what was typed leads to may take it over."""
        self.state = state
        """That of the question itself, which may outlive the request that began it."""
        self.items: dict[int, Item] = {}
        """By the provider's number."""
        self.expected_items = 1
        """How many the provider was asked for."""
        self.method: Method = "fim"
        self.usage: Usage | None = None
        self.cost: dict[str, Any] | None = None
        self.model: str | None = None
        """As the provider names it."""
        self.request_id: str | None = None
        self.warnings: list[Warn] = []
        self.cuts: tuple[str, ...] = ()
        """Texts that are tokens, and end the answer."""
        self.headers_at: float | None = None
        self.first_at: float | None = None
        """On the monotonic clock."""
        self.is_enough = False
        """Whether what has come is all that is wanted."""
        self.is_late = False
        """Whether the rest must not be waited for even for a moment."""
        self.has_ended = False
        """Whether all of it has come."""
        self.has_landed = False
        """Whether nothing more can come, for whatever reason."""
        self._reading = anyio.CancelScope()
        self._changed = anyio.Event()

    def begin(self, method: Method, headers_at: float) -> None:
        """Note that the provider has begun to answer."""
        self.method, self.headers_at = method, headers_at
        self.wake()

    def add(self, pieces: list[Piece]) -> None:
        """Add text to the items."""
        if not pieces:
            return
        if self.first_at is None:
            self.first_at = time.monotonic()
            self.state.progress.first_chunk_ms = self.state.elapsed_ms
        for number, text in pieces:
            item = self.items.setdefault(number, Item())
            if item.size_chars < MAX_ITEM_CHARS:
                item.add(text)
        self.wake()

    def end_items(self, reasons: dict[int, str | None]) -> None:
        """Note which items have ended, and why."""
        for number, reason in reasons.items():
            item = self.items.setdefault(number, Item())
            item.has_ended, item.reason = True, reason
        self.wake()

    @property
    def is_full(self) -> bool:
        """Whether every item is as long as one may be."""
        return bool(self.items) and all(item.size_chars >= MAX_ITEM_CHARS for item in self.items.values())

    def end(self) -> None:
        """Note that all has come."""
        self.has_ended = True
        self.wake()

    def take_enough(self, *, is_late: bool) -> None:
        """Read no further: what has come is all that is wanted. Unless it *is_late*, the end may be near."""
        self.is_enough, self.is_late = True, is_late
        self._reading.cancel()
        if self.headers_at is None or self.method == "chat":
            # There is nothing to read, or it is read by others: the question itself is taken back.
            self.state.cancel("cancelled")

    @contextmanager
    def read(self) -> Iterator[None]:
        """Do what stands within until what has come is enough."""
        with anyio.CancelScope() as self._reading:
            if self.is_enough:
                self._reading.cancel()
            yield

    def land(self) -> None:
        """Note that nothing more can come."""
        self.has_landed = True
        self.wake()

    def wake(self) -> None:
        """Wake who waits for news."""
        self._changed.set()
        self._changed = anyio.Event()

    async def wait_for_news(self) -> None:
        """Wait until there is more of it."""
        await self._changed.wait()
