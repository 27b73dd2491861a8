"""What a host gets of an answer: pieces on the way, and the whole at its end or when the time is up.

Must not know lines, or how the provider is asked.
"""

from collections.abc import Sequence
from typing import Protocol

import anyio
import msgspec

from protocol.completion import Completed, CompletionItem, CutBy, ItemDelta
from protocol.messages import FinishReason
from protocol.replies import Attempt, Start, Timings
from sidecar.completion import asking
from sidecar.completion.cuts import Cut, Place
from sidecar.completion.flight import Flight, Item
from sidecar.completion.prompt import make_place
from sidecar.completion.question import Question, find_typed
from sidecar.completion.trim import clean_start, may_be_start, settle, trim
from sidecar.core.errors import clean_text
from sidecar.core.request_state import RequestState

REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "word": "stop",
    "length": "length",
    "limit": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
}
"""What the words of providers mean. Any other is `other`; none at all is `stop`."""

MAX_REASON_CHARS = 64


class Sink(Protocol):
    """Takes the pieces of an answer on their way to the host."""

    wants_pieces: bool
    """False: only the whole answer is wanted."""

    def start(self, start: Start) -> None:
        """Take the news that the provider has begun."""

    def send(self, pieces: Sequence[ItemDelta]) -> None:
        """Take *pieces* of items."""

    async def wait_for_room(self) -> None:
        """Wait until the host has read enough of them."""


class Reader:
    """Reads an answer for one question: the one that it was asked for, or one that what was typed has led to."""

    def __init__(self, flight: Flight, asked: Question) -> None:
        self._flight = flight
        self._typed = find_typed(flight.question, asked) or ""
        self.is_reuse = asked is not flight.question
        self._options = asked.params.options
        self._start, self._place = make_place(flight.question.params), make_place(asked.params)
        self._sent: dict[int, int] = {}
        """How many characters of each item the host has."""

    def read(self, number: int, *, is_final: bool) -> Cut:
        """Return what is given of an item; unless *is_final*, more of it may come."""
        item = self._flight.items.get(number)
        if item is None:
            return Cut("")
        if not self._options.trim:
            return Cut(item.text.removeprefix(self._typed))
        text = clean_start(item.text, self._start)
        if not text.startswith(self._typed):
            # The model writes something else than what was typed.
            return Cut("")
        return trim(text[len(self._typed) :], self._ready_place(), is_final=is_final or item.has_ended)

    def list_pieces(self, *, is_final: bool) -> list[ItemDelta]:
        """Return what the host has not got yet of each item, as far as it stays whatever follows."""
        pieces: list[ItemDelta] = []
        for number in self._flight.items:
            text = self.read(number, is_final=True).text if is_final else self._settle(number)
            sent = self._sent.get(number, 0)
            if len(text) > sent:
                self._sent[number] = len(text)
                pieces.append(ItemDelta(item=number, text=text[sent:]))
        return pieces

    def is_enough(self) -> bool:
        """Return whether nothing that may come is wanted."""
        items = self._flight.items
        if len(items) < self._flight.expected_items:
            return False
        return all(item.has_ended or self.read(number, is_final=False).by for number, item in items.items())

    def _settle(self, number: int) -> str:
        item = self._flight.items[number]
        if not self._options.trim:
            return item.text.removeprefix(self._typed)
        if item.has_ended:
            return self.read(number, is_final=True).text
        if may_be_start(item.text, self._start):
            return ""
        text = clean_start(item.text, self._start)
        return settle(text[len(self._typed) :], self._ready_place()) if text.startswith(self._typed) else ""

    def _ready_place(self) -> Place:
        if self._flight.cuts and len(self._place.tokens) == len(self._options.stop):
            self._place = msgspec.structs.replace(self._place, tokens=(*self._flight.cuts, *self._options.stop))
        return self._place


async def follow(flight: Flight, reader: Reader, asked: Question, state: RequestState, sink: Sink) -> bool:
    """Give *sink* what comes until it is enough, or the time is up. Return whether that was by `budget_ms`.

    Returns too when the flight has landed without an answer.
    """
    budget_ms = asked.params.options.budget_ms
    seconds = float("inf") if budget_ms is None else max(0, budget_ms - state.elapsed_ms) / 1000
    has_started = False
    with anyio.move_on_after(seconds) as scope:
        while True:
            if sink.wants_pieces:
                if flight.headers_at is not None and not has_started:
                    has_started = True
                    sink.start(_make_start(flight))
                sink.send(reader.list_pieces(is_final=flight.has_ended))
                await sink.wait_for_room()
            if flight.has_landed or flight.has_ended or reader.is_enough():
                break
            await flight.wait_for_news()
    return scope.cancelled_caught


def _make_start(flight: Flight) -> Start:
    route = flight.target.route
    return Start(provider=route.provider, model=route.model, request_id=flight.request_id, warnings=flight.warnings)


def make_completed(flight: Flight, reader: Reader, state: RequestState, *, is_late: bool) -> Completed:
    """Return the result; *is_late* says that the budget has ended the wait."""
    route = flight.target.route
    usage = flight.usage or asking.estimate_usage(flight)
    cost = flight.cost or asking.price(flight)
    numbers = sorted(flight.items) or [0]
    attempt = Attempt(provider=route.provider, model=route.model, ms=flight.state.elapsed_ms, usage=usage, cost=cost)
    return Completed(
        items=[_make_item(flight.items.get(number), reader.read(number, is_final=True), is_late) for number in numbers],
        method=flight.method,
        reused=reader.is_reuse,
        usage=usage,
        cost=cost,
        provider=route.provider,
        model=flight.model or route.model,
        request_id=flight.request_id,
        attempts=[*flight.state.progress.attempts, attempt],
        timings=Timings(
            headers_ms=_count_ms(flight.headers_at, state),
            first_chunk_ms=_count_ms(flight.first_at, state),
            total_ms=state.elapsed_ms,
        ),
        warnings=flight.warnings,
    )


def _make_item(item: Item | None, cut: Cut, is_late: bool) -> CompletionItem:  # noqa: FBT001 - of one caller
    by: CutBy | None = cut.by
    if by is None and is_late and (item is None or not item.has_ended):
        by = "budget"
    if by == "budget":
        return CompletionItem(text=cut.text, finish_reason="length", cut_by=by)
    word = item.reason if item is not None else None
    said: FinishReason = "stop" if by is not None or word is None else REASONS.get(word, "other")
    clean = clean_text(word)[:MAX_REASON_CHARS] if word else None
    return CompletionItem(text=cut.text, finish_reason=said, cut_by=by, provider_finish_reason=clean)


def _count_ms(at: float | None, state: RequestState) -> int | None:
    """Return how many milliseconds after its line something happened; 0 if it was before."""
    return None if at is None else max(0, int((at - state.started) * 1000))
