"""Who may ask a provider now: slots, a queue of two lanes, requests and tokens a minute, rate limits, a breaker.

One `Gate` for each provider, address and credential. Knows time and fairness. Must not know
requests or HTTP. Everything here runs in the event loop's thread.
"""

import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import chain
from typing import Literal

import anyio
import msgspec

from protocol.errors import ErrorBody
from sidecar.catalogue.limit_kinds import LimitKind
from sidecar.core import event_loop
from sidecar.core.errors import SidecarError
from sidecar.upstream.gates.retry import MAX_ASKED_MS, THROTTLED, Budget
from sidecar.upstream.gates.token_buckets import Meters

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

REFUSED = frozenset({"rate_limited", "quota_exceeded", "auth_failed"})
"""Failures of a credential: another one of the same provider may do better."""

REST_SECONDS = 60.0
"""How long a credential that was refused is not chosen while there is another."""

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

    __slots__ = ("_gate", "admitted", "answered", "heard", "model", "priority", "probe", "taken", "tokens")

    def __init__(self, gate: "Gate", priority: Priority, model: str, tokens: int) -> None:
        self._gate = gate
        self.priority: Priority = priority
        self.model = model
        self.tokens = tokens
        """About how many its prompt has."""
        self.admitted = anyio.Event()
        self.taken = False
        self.answered = False
        self.heard = False
        """Whether the provider has said anything, so that it has counted the request."""
        self.probe = False
        """Whether it is one of the few that may try after a rate limit."""

    @property
    def budget(self) -> Budget:
        """What asking again is paid from."""
        return self._gate.budget

    def learn(self, headers: Mapping[str, str], names: Mapping[LimitKind, str]) -> None:
        """Learn from the rate-limit headers of a reply, which have these *names*."""
        self._gate.learn(self, headers, names)

    def used(self, tokens: int) -> None:
        """Learn how many tokens, prompt and answer, the request has used."""
        self._gate.used(max(0, tokens - self.tokens))

    def accepted(self) -> None:
        """Learn that no limit has kept the request out, whenever its answer begins. More than once is once."""
        if not self.taken:
            self.taken = True
            self._gate.accepted(self)

    def succeeded(self) -> None:
        """Learn that the provider has begun to answer. More than once is once."""
        self.accepted()
        if not self.answered:
            self.answered = True
            self._gate.answered()


class Gate:
    """The door to one provider with one credential."""

    def __init__(
        self,
        concurrency: int = CONCURRENCY,
        queue_length: int = QUEUE_LENGTH,
        requests_per_minute: int = 0,
        tokens_per_minute: int = 0,
    ) -> None:
        # A rate of 0 is no limit.
        self.budget = Budget()
        self._meters = Meters(time.monotonic(), requests_per_minute, tokens_per_minute)
        self._concurrency = concurrency
        self._queue_length = queue_length
        self._active = 0
        self._queues: dict[Priority, deque[Turn]] = {"interactive": deque(), "background": deque()}
        self._admissions = 0
        self._unheard: dict[str, dict[LimitKind, int]] = {}
        """Model → what was let in and has heard nothing yet."""
        self._shut_until = 0.0
        self._look_at = 0.0
        """For when a timer is set to look who may be let in."""
        self._resting_until = 0.0
        self._probes: int | None = None
        """How many may try after a rate limit, until they succeed; None: no limit."""
        self._probing = 0
        self._failures = 0
        self._broken_until = 0.0

    # --- entering and leaving ---

    @asynccontextmanager
    async def slot(
        self, priority: Priority, patience_ms: float = MAX_ASKED_MS, model: str = "", tokens: int = 0
    ) -> AsyncIterator[Turn]:
        """Hold one slot, waiting for it in the lane of *priority*, and learn from the failure that leaves it.

        *tokens* is about what the prompt for *model* has. A rate limit shuts the gate for as long as the provider
        asks, when the request itself would wait so long: *patience_ms*. What a host is told at once is for the host
        to act upon.

        Raises: SidecarError `queue_full` when too many wait already.
        """
        turn = await self._enter(priority, model, tokens)
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
        return self._has_room and not self._queued and self._pause_ms is None

    @property
    def idle(self) -> bool:
        """Whether nobody is here and nothing is remembered that would hold anybody up."""
        return not self._active and not self._queued and self._word == "closed"

    @property
    def counts_tokens(self) -> bool:
        """Whether it matters how many tokens a prompt has."""
        return self._meters.counts_tokens

    def rank(self, model: str) -> tuple[bool, int, int, int]:
        """Return what the gates of several credentials are ordered by for *model*: the least is asked next."""
        resting = time.monotonic() < self._resting_until
        return resting, self.pause_ms(model, 0) or 0, self._active + self._queued, self._admissions

    async def _enter(self, priority: Priority, model: str, tokens: int) -> Turn:
        turn, queue = Turn(self, priority, model, tokens), self._queues[priority]
        if not self.free and self._queued >= self._queue_length:
            text = "Too many requests wait for this provider."
            raise SidecarError("queue_full", text, retry_after_ms=self.pause_ms(model, tokens) or QUEUE_FULL_MS)
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
                    # It may be all that others have waited behind.
                    self._admit()
                raise
        return turn

    def _leave(self, turn: Turn) -> None:
        self.heard(turn)
        self._active -= 1
        self._probing -= turn.probe
        self._admit()

    def _admit(self) -> None:
        while self._has_room and (turn := self._next()):
            self._queues[turn.priority].remove(turn)
            self._admissions += 1
            self._active += 1
            turn.probe = self._probes is not None
            self._probing += turn.probe
            unheard = self._unheard.setdefault(turn.model, {"requests": 0, "tokens": 0})
            unheard["requests"] += 1
            unheard["tokens"] += turn.tokens
            self._meters.draw(turn.model, turn.tokens, time.monotonic())
            turn.admitted.set()

    @property
    def _has_room(self) -> bool:
        if self._active >= self._concurrency:
            return False
        return self._probes is None or self._probing < self._probes

    def _next(self) -> Turn | None:
        """Return who is let in next, None when nobody may; a timer is set for when somebody may."""
        now, pauses = time.monotonic(), dict[str, float]()
        for turn in chain(*self._lanes()):
            # Nobody goes past who waits for the same, or those that need little would starve those that need much.
            if turn.model in pauses:
                continue
            pause = self._pause_seconds(turn.model, turn.tokens, now)
            if not pause:
                return turn
            pauses[turn.model] = pause
            # Who waits for the limits of one model does not keep others from theirs.
            if self._common_pause_seconds(turn.tokens, now):
                break
        if pauses:
            self._look_in(min(pauses.values()))
        return None

    def _lanes(self) -> tuple[deque[Turn], ...]:
        interactive, background = self._queues["interactive"], self._queues["background"]
        if self._admissions % BACKGROUND_EVERY == BACKGROUND_EVERY - 1:
            return background, interactive
        return interactive, background

    @property
    def _queued(self) -> int:
        return sum(map(len, self._queues.values()))

    # --- limits ---

    def shut(self, seconds: float) -> None:
        """Let nobody in for so many *seconds*, at least."""
        self._shut_until = max(self._shut_until, time.monotonic() + seconds)
        self._look_in(self._shut_until - time.monotonic())

    def pause_ms(self, model: str, tokens: int) -> int | None:
        """Return how long the limits keep out a request for *model* with so many *tokens*, None where they do not."""
        pause = self._pause_seconds(model, tokens, time.monotonic())
        return int(pause * 1000) + 1 if pause else None

    @property
    def _pause_ms(self) -> int | None:
        return self.pause_ms("", 0)

    def _pause_seconds(self, model: str, tokens: int, now: float) -> float:
        return max(self._shut_until - now, self._meters.wait_seconds(model, tokens, now), 0.0)

    def _common_pause_seconds(self, tokens: int, now: float) -> float:
        return max(self._shut_until - now, self._meters.own_wait_seconds(tokens, now), 0.0)

    def _look_in(self, seconds: float) -> None:
        """Look after so many *seconds* who may be let in, unless that is done before."""
        now = time.monotonic()
        if self._look_at <= now or now + seconds < self._look_at:
            self._look_at = now + seconds
            event_loop.call_later(seconds, self._look)

    def _look(self) -> None:
        # A timer may be a moment early: whoever still has to wait sets another.
        self._look_at = 0.0
        self._admit()

    # --- learning ---

    def learn(self, turn: Turn, headers: Mapping[str, str], names: Mapping[LimitKind, str]) -> None:
        """Learn from the rate-limit headers of the reply to *turn*, which have these *names*."""
        self.heard(turn)
        self._meters.learn(turn.model, headers, names, self._unheard.get(turn.model, {}), time.monotonic())
        self._admit()

    def heard(self, turn: Turn) -> None:
        """Learn that the provider has counted the request of *turn*, or will never. More than once is once."""
        if not turn.heard:
            turn.heard = True
            unheard = self._unheard[turn.model]
            unheard["requests"] -= 1
            unheard["tokens"] -= turn.tokens
            if not unheard["requests"]:
                del self._unheard[turn.model]

    def used(self, tokens: int) -> None:
        """Learn of *tokens* beyond what a prompt was thought to have."""
        self._meters.used(tokens, time.monotonic())

    def answered(self) -> None:
        """Learn from a request that the provider answers: it is there."""
        self._failures = 0

    def accepted(self, turn: Turn) -> None:
        """Learn from *turn* that the provider takes requests: two may follow it, and soon all."""
        self._probing -= turn.probe
        turn.probe = False
        if self._probes is not None:
            self._probes = self._probes + 1 if self._probes < min(PROBES, self._concurrency) else None
            self._admit()

    def _failed(self, turn: Turn, error: ErrorBody, patience_ms: float) -> None:
        asked_ms = error.retry_after_ms
        if error.code in REFUSED:
            rest = asked_ms / 1000 if asked_ms else REST_SECONDS
            self._resting_until = time.monotonic() + min(rest, REST_SECONDS)
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
