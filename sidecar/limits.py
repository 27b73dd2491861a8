"""Who may ask a provider now: slots, a queue of two lanes, a gate after rate limits, a breaker.

One `Gate` for each provider, address and credential. Knows time and fairness. Must not know
requests or HTTP. Everything here runs in the event loop's thread.
"""

import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import anyio
import msgspec

from protocol.errors import ErrorBody
from sidecar.errors import SidecarError
from sidecar.retry import MAX_ASKED_MS, Budget

Priority = Literal["interactive", "background"]

CONCURRENCY = 1024
"""Requests of one gate at once."""

QUEUE_LENGTH = 1000
"""Requests that may wait at one gate; one more is refused at once."""

BACKGROUND_EVERY = 10
"""Every so many admissions the background lane goes first, so that it never starves."""

BREAKER_FAILURES = 5
"""Outages in a row after which the breaker opens."""

BREAKER_SECONDS = 30.0
"""How long it stays open before one request may try."""


class Ticket:
    """One request that waits."""

    __slots__ = ("admitted", "probe")

    def __init__(self) -> None:
        self.admitted = anyio.Event()
        self.probe = False


class GateState(msgspec.Struct, frozen=True):
    """What a gate looks like from outside."""

    state: Literal["closed", "open", "half_open"]
    """The breaker's: `closed` lets everything through."""
    active: int
    queued: int
    retry_after_ms: int | None


class Gate:
    """The door to one provider with one credential."""

    def __init__(self, concurrency: int = CONCURRENCY, queue_length: int = QUEUE_LENGTH) -> None:
        self.budget = Budget()
        self._concurrency = concurrency
        self._queue_length = queue_length
        self._active = 0
        self._queues: dict[Priority, deque[Ticket]] = {"interactive": deque(), "background": deque()}
        self._admissions = 0
        self._shut_until = 0.0
        self._probes: int | None = None
        """How many may try after a rate limit, until they succeed; None: no limit."""
        self._probing = 0
        self._failures = 0
        self._broken_until = 0.0

    # --- entering and leaving ---

    @asynccontextmanager
    async def slot(self, priority: Priority) -> AsyncIterator[None]:
        """Hold one slot; wait for it in the lane of *priority*.

        Raises: SidecarError `queue_full` when too many wait already.
        """
        ticket = await self._enter(priority)
        try:
            yield
        finally:
            self._active -= 1
            self._probing -= ticket.probe
            self._admit()

    @property
    def free(self) -> bool:
        """Whether a request would be let in at once."""
        return self._may_admit() and not any(self._queues.values())

    async def _enter(self, priority: Priority) -> Ticket:
        ticket, queue = Ticket(), self._queues[priority]
        if sum(map(len, self._queues.values())) >= self._queue_length:
            raise SidecarError(
                "queue_full", "Too many requests wait for this provider.", retry_after_ms=self._pause_ms() or 1000
            )
        queue.append(ticket)
        self._admit()
        try:
            while not ticket.admitted.is_set():
                with anyio.move_on_after(self._pause_seconds()):
                    await ticket.admitted.wait()
                self._admit()
        except BaseException:
            self._forget(ticket, queue)
            raise
        return ticket

    def _forget(self, ticket: Ticket, queue: deque[Ticket]) -> None:
        """Take a cancelled request out, whether it still waits or was let in just now."""
        if ticket.admitted.is_set():
            self._active -= 1
            self._probing -= ticket.probe
            self._admit()
        else:
            queue.remove(ticket)

    def _admit(self) -> None:
        while self._may_admit() and (queue := self._next_queue()):
            ticket = queue.popleft()
            self._admissions += 1
            self._active += 1
            ticket.probe = self._probes is not None
            self._probing += ticket.probe
            ticket.admitted.set()

    def _may_admit(self) -> bool:
        if self._active >= self._concurrency or time.monotonic() < self._shut_until:
            return False
        return self._probes is None or self._probing < self._probes

    def _next_queue(self) -> deque[Ticket] | None:
        interactive, background = self._queues["interactive"], self._queues["background"]
        if background and (not interactive or self._admissions % BACKGROUND_EVERY == BACKGROUND_EVERY - 1):
            return background
        return interactive or None

    def _pause_seconds(self) -> float:
        shut = self._shut_until - time.monotonic()
        return shut if shut > 0 else float("inf")

    def _pause_ms(self) -> int | None:
        shut = self._shut_until - time.monotonic()
        return int(shut * 1000) if shut > 0 else None

    # --- learning ---

    def failed(self, error: ErrorBody) -> None:
        """Learn from a failed attempt."""
        wait_ms = error.retry_after_ms
        if error.code == "rate_limited" and wait_ms and wait_ms <= MAX_ASKED_MS:
            # All who ask with this credential are limited, not this request alone; one will try first.
            self._shut_until = max(self._shut_until, time.monotonic() + wait_ms / 1000)
            self._probes = 1
        if error.code in ("provider_overloaded", "network_error", "timeout") or (error.provider_status or 0) >= 500:
            self._failures += 1
            if self._failures >= BREAKER_FAILURES:
                self._broken_until = time.monotonic() + BREAKER_SECONDS

    def succeeded(self) -> None:
        """Learn from an attempt that began to answer: twice as many may try, and soon all."""
        self._failures = 0
        self._broken_until = 0.0
        if self._probes is not None:
            self._probes = self._probes * 2 if self._probes * 2 < self._concurrency else None
            self._admit()

    def learn(self, headers: dict[str, str]) -> None:
        """Learn from the rate-limit headers of a reply: with nothing left, the gate is shut until the reset."""
        for name in ("requests", "tokens"):
            if headers.get(f"x-ratelimit-remaining-{name}") == "0":
                wait = seconds_of(headers.get(f"x-ratelimit-reset-{name}", ""))
                if wait is not None and wait * 1000 <= MAX_ASKED_MS:
                    self._shut_until = max(self._shut_until, time.monotonic() + wait)

    @property
    def broken(self) -> bool:
        """Whether the breaker is open: a request with somewhere else to go should go there."""
        return time.monotonic() < self._broken_until

    @property
    def state(self) -> GateState:
        """Return what the gate looks like."""
        failing = self._failures >= BREAKER_FAILURES
        return GateState(
            state="open" if self.broken else "half_open" if failing else "closed",
            active=self._active,
            queued=sum(map(len, self._queues.values())),
            retry_after_ms=self._pause_ms(),
        )


def seconds_of(duration: str) -> float | None:
    """Return a duration such as `1s`, `6m0s`, `20ms`, `2m59.56s` or `12` in seconds, or None."""
    total, number = 0.0, ""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    rest = duration.strip()
    if not rest:
        return None
    try:
        return float(rest)
    except ValueError:
        pass
    while rest:
        size = next((n for n, c in enumerate(rest) if not (c.isdigit() or c == ".")), len(rest))
        number, rest = rest[:size], rest[size:]
        unit = "ms" if rest.startswith("ms") else rest[:1]
        if not number or unit not in units or number.count(".") > 1:
            return None
        total += float(number) * units[unit]
        rest = rest[len(unit) :]
    return total
