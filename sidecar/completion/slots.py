"""One completion at a time per slot: a newer request ends the older one, and may take its answer over.

Must not know how anybody is asked.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sidecar.completion.flight import Flight
from sidecar.completion.question import Question, find_typed
from sidecar.core.request_state import RequestState


class Holder:
    """The request that has a slot, and the answer that it waits for."""

    __slots__ = ("flight", "state")

    def __init__(self, state: RequestState) -> None:
        self.state = state
        self.flight: Flight | None = None
        """None: nobody is asked yet."""


class Slots:
    """The slots that are taken, by name. Only open requests have one."""

    def __init__(self) -> None:
        self._holders: dict[str, Holder] = {}

    @contextmanager
    def hold(self, slot: str | None, question: Question, state: RequestState) -> Iterator[tuple[Holder, Flight | None]]:
        """Take *slot* from the request that has it, which ends as superseded once this gives its answer's flight.

        Gives the answer that may be taken over too; None: there is none that fits. Whoever takes it over does so before
        it waits for anything.
        """
        mine = Holder(state)
        if slot is None:
            yield mine, None
            return
        older = self._holders.get(slot)
        self._holders[slot] = mine
        taken = None
        if older is not None:
            if older.flight is not None and fits(older.flight, question):
                taken = mine.flight = older.flight
            older.state.cancel("superseded")
        try:
            yield mine, taken
        finally:
            if self._holders.get(slot) is mine:
                del self._holders[slot]


def fits(flight: Flight, question: Question) -> bool:
    """Return whether the answer on its way begins with what was typed since its question."""
    if flight.has_ended or flight.is_enough or flight.state.scope.cancel_called:
        return False
    typed = find_typed(flight.question, question)
    if typed is None:
        return False
    # What has not come yet agrees with nothing but an unchanged text.
    texts = [item.text for item in flight.items.values()]
    return not typed or (bool(texts) and all(text.startswith(typed) for text in texts))
