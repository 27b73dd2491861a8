"""Who may ask a provider now: slots, a queue of two lanes, a gate after rate limits, a breaker.

One `Gate` for each provider, address and credential. Knows time and fairness. Must not know
requests or HTTP. Everything here runs in the event loop's thread.
"""

import re
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import anyio
import msgspec

from protocol.errors import ErrorBody
from sidecar import stdio
from sidecar.errors import SidecarError
from sidecar.retry import MAX_ASKED_MS, THROTTLED, Budget

Priority = Literal["interactive", "background"]

GateWord = Literal["closed", "limited", "open", "half_open"]
"""`closed` as a circuit is: everything goes through. `limited`: the provider asked to wait, or few may try after
that. `open`: it has been failing, and a request with a fallback goes there. `half_open`: one may try it again."""

CONCURRENCY = 1024
"""Requests of one gate at once."""

QUEUE_LENGTH = 1000
"""Requests that may wait at one gate; one more is refused at once."""

BACKGROUND_EVERY = 10
"""Every so many admissions the background lane goes first, so that it never starves."""

PROBES = 32
"""Requests that may try at once after a rate limit before all may: 1, 2, 4…, as each answer lets two more in."""

BREAKER_FAILURES = 5
"""Outages in a row after which the breaker opens."""

BREAKER_SECONDS = 30.0
"""How long it stays open before one request may try."""

QUEUE_FULL_MS = 1000
"""When to come again to a queue that is full for no reason that says when it will not be."""


class GateState(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a gate looks like from outside."""

    state: GateWord
    active: int
    queued: int
    retry_after_ms: int | None = None
    """How long the gate stays shut after a rate limit."""


class Turn:
    """One request at the gate: it waits, is admitted, and tells what it came to."""

    __slots__ = ("_gate", "admitted", "answered", "probe")

    def __init__(self, gate: "Gate") -> None:
        self._gate = gate
        self.admitted = anyio.Event()
        self.answered = False
        self.probe = False
        """Whether it is one of the few that may try after a rate limit."""

    def learn(self, headers: dict[str, str]) -> None:
        """Learn from the rate-limit headers of a reply: with nothing left, the gate is shut until the reset."""
        for name in ("requests", "tokens"):
            if headers.get(f"x-ratelimit-remaining-{name}") == "0":
                wait = seconds_of(headers.get(f"x-ratelimit-reset-{name}", ""))
                if wait is not None and wait * 1000 <= MAX_ASKED_MS:
                    self._gate.shut(wait)

    def succeeded(self) -> None:
        """Learn that the provider has begun to answer. More than once is once."""
        if not self.answered:
            self.answered = True
            self._gate.answered(self)


class Gate:
    """The door to one provider with one credential."""

    def __init__(self, concurrency: int = CONCURRENCY, queue_length: int = QUEUE_LENGTH) -> None:
        self.budget = Budget()
        self._concurrency = concurrency
        self._queue_length = queue_length
        self._active = 0
        self._queues: dict[Priority, deque[Turn]] = {"interactive": deque(), "background": deque()}
        self._admissions = 0
        self._shut_until = 0.0
        self._will_open = False
        """Whether a timer is set for that time."""
        self._probes: int | None = None
        """How many may try after a rate limit, until they succeed; None: no limit."""
        self._probing = 0
        self._failures = 0
        self._broken_until = 0.0

    # --- entering and leaving ---

    @asynccontextmanager
    async def slot(self, priority: Priority, patience_ms: float = MAX_ASKED_MS) -> AsyncIterator[Turn]:
        """Hold one slot, waiting for it in the lane of *priority*, and learn from the failure that leaves it.

        A rate limit shuts the gate for as long as the provider asks, when the request itself would wait so
        long: *patience_ms*. What a host is told at once is for the host to act upon.

        Raises: SidecarError `queue_full` when too many wait already.
        """
        turn = await self._enter(priority)
        try:
            yield turn
        except SidecarError as error:
            # Before the slot is free: who comes next must find the gate shut.
            self._failed(turn, error.body, patience_ms)
            raise
        finally:
            self._leave(turn)

    @property
    def free(self) -> bool:
        """Whether a request would be let in at once."""
        return self._may_admit() and not any(self._queues.values())

    @property
    def idle(self) -> bool:
        """Whether nobody is here and nothing is remembered that would hold anybody up."""
        return not self._active and not self._queued and self._word == "closed"

    async def _enter(self, priority: Priority) -> Turn:
        turn, queue = Turn(self), self._queues[priority]
        if not self.free and self._queued >= self._queue_length:
            text = "Too many requests wait for this provider."
            raise SidecarError("queue_full", text, retry_after_ms=self._pause_ms or QUEUE_FULL_MS)
        queue.append(turn)
        self._admit()
        if not turn.admitted.is_set():
            try:
                await turn.admitted.wait()
            except BaseException:
                # Cancelled while it waited, or just as it was let in.
                if turn.admitted.is_set():
                    self._leave(turn)
                else:
                    queue.remove(turn)
                raise
        return turn

    def _leave(self, turn: Turn) -> None:
        self._active -= 1
        self._probing -= turn.probe
        self._admit()

    def _admit(self) -> None:
        while self._may_admit() and (queue := self._next_queue()):
            turn = queue.popleft()
            self._admissions += 1
            self._active += 1
            turn.probe = self._probes is not None
            self._probing += turn.probe
            turn.admitted.set()

    def _may_admit(self) -> bool:
        if self._active >= self._concurrency or time.monotonic() < self._shut_until:
            return False
        return self._probes is None or self._probing < self._probes

    def _next_queue(self) -> deque[Turn] | None:
        interactive, background = self._queues["interactive"], self._queues["background"]
        if background and (not interactive or self._admissions % BACKGROUND_EVERY == BACKGROUND_EVERY - 1):
            return background
        return interactive or None

    @property
    def _queued(self) -> int:
        return sum(map(len, self._queues.values()))

    # --- rate limits ---

    def shut(self, seconds: float) -> None:
        """Let nobody in for so many *seconds*, at least."""
        self._shut_until = max(self._shut_until, time.monotonic() + seconds)
        if not self._will_open:
            self._will_open = True
            stdio.call_later(seconds, self._open)

    def _open(self) -> None:
        self._will_open = False
        left = self._shut_until - time.monotonic()
        if left > 0:
            self.shut(left)
        else:
            self._admit()

    @property
    def _pause_ms(self) -> int | None:
        left = self._shut_until - time.monotonic()
        return int(left * 1000) + 1 if left > 0 else None

    # --- learning ---

    def answered(self, turn: Turn) -> None:
        """Learn from a request that the provider answers: two may follow it, and soon all."""
        self._failures = 0
        self._probing -= turn.probe
        turn.probe = False
        if self._probes is not None:
            self._probes = self._probes + 1 if self._probes < min(PROBES, self._concurrency) else None
            self._admit()

    def _failed(self, turn: Turn, error: ErrorBody, patience_ms: float) -> None:
        asked_ms = error.retry_after_ms
        if error.code == "rate_limited" and asked_ms and asked_ms <= min(patience_ms, MAX_ASKED_MS):
            # All who ask with this credential are limited, not this request alone; one will try first.
            self._probes = 1
            self.shut(asked_ms / 1000)
        if error.code in ("provider_overloaded", "network_error", "timeout") or (error.provider_status or 0) >= 500:
            self._failures += 1
            if self._failures == BREAKER_FAILURES:
                self._broken_until = time.monotonic() + BREAKER_SECONDS
        elif error.provider_status and error.code not in THROTTLED:
            # A refusal is an answer too: the provider is there and lets this credential ask.
            turn.succeeded()

    # --- the breaker ---

    def avoided(self) -> bool:
        """Return whether a request with somewhere else to go should go there; after a while one may try."""
        if self._failures < BREAKER_FAILURES:
            return False
        now = time.monotonic()
        if now < self._broken_until:
            return True
        # The others wait for what comes of this one.
        self._broken_until = now + BREAKER_SECONDS
        return False

    @property
    def state(self) -> GateState:
        """Return what the gate looks like."""
        return GateState(state=self._word, active=self._active, queued=self._queued, retry_after_ms=self._pause_ms)

    @property
    def _word(self) -> GateWord:
        if self._failures >= BREAKER_FAILURES:
            return "open" if time.monotonic() < self._broken_until else "half_open"
        return "closed" if self._pause_ms is None and self._probes is None else "limited"


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?|\.\d+)(ms|[hms]))+", re.ASCII)
_TERM = re.compile(r"(\d*\.?\d+)(ms|[hms])", re.ASCII)


def seconds_of(duration: str) -> float | None:
    """Return a duration such as `1s`, `6m0s`, `20ms`, `2m59.56s` or `12` in seconds, or None."""
    text = duration.strip()
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _TERM.findall(text))
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if seconds >= 0 and seconds != float("inf") else None
