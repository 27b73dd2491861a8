"""Who may ask a provider now: slots, a queue of two lanes, requests and tokens per minute, rate limits, a breaker.

There is one `Gate` for each provider, address and credential. Knows time and fairness. Must not know requests or HTTP.
Everything here runs in the event loop's thread.
"""

import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import chain
from typing import Literal

import anyio
import msgspec

from protocol.errors import ErrorBody
from sidecar.catalogue.limit_kinds import LimitKind
from sidecar.core import event_loop
from sidecar.core.errors import SidecarError
from sidecar.upstream.gates.breaker import Breaker
from sidecar.upstream.gates.retry import MAX_RETRY_AFTER_MS, THROTTLED_CODES, RetryBudget
from sidecar.upstream.gates.token_buckets import RateLimits

Priority = Literal["interactive", "background"]

GateStateName = Literal["closed", "limited", "open", "half_open"]
"""As of a circuit breaker, so `closed` lets everything through. `limited`: the provider asked to wait, or few requests
may try after that. `open` and `half_open`: see `sidecar.upstream.gates.breaker`."""

CONCURRENCY = 1024
"""How many requests of one gate run at once."""

QUEUE_LENGTH = 1000
"""How many requests may wait at one gate. One more is refused at once."""

BACKGROUND_EVERY = 10
"""After this many admissions the background lane goes first, so that it never starves."""

MAX_PROBES = 32
"""After a rate limit 1, 2, 4… requests may try at once, as each answer lets two more in. Beyond this all may."""

REFUSAL_CODES = frozenset({"rate_limited", "quota_exceeded", "auth_failed"})
"""Failures that are due to the credential: another one of the same provider may do better."""

COOLDOWN_SECONDS = 60.0
"""How long a refused credential is avoided while there is another."""

FULL_QUEUE_RETRY_MS = 1000
"""When to come again to a full queue if no limit says when it will be shorter."""


class GateState(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The state of a gate, as `list_providers` reports it."""

    state: GateStateName
    active: int
    queued: int
    retry_after_ms: int | None = None
    """How long the gate admits nobody."""


class Turn:
    """One request at the gate: it waits, is admitted, and reports what became of it."""

    __slots__ = (
        "_gate",
        "admitted",
        "is_accepted",
        "is_answered",
        "is_counted",
        "is_probe",
        "model",
        "priority",
        "tokens",
    )

    def __init__(self, gate: "Gate", priority: Priority, model: str, tokens: int) -> None:
        self._gate = gate
        self.priority: Priority = priority
        self.model = model
        self.tokens = tokens
        """The estimate of its prompt."""
        self.admitted = anyio.Event()
        self.is_accepted = False
        self.is_answered = False
        self.is_counted = False
        """Whether the provider has counted the request."""
        self.is_probe = False
        """Whether it is one of the few that may try after a rate limit."""

    @property
    def retry_budget(self) -> RetryBudget:
        """Pays for further attempts."""
        return self._gate.retry_budget

    def learn_limits(self, headers: Mapping[str, str], names: Mapping[LimitKind, str]) -> None:
        """Learn the rate limits that a reply reports in the headers *names*."""
        self._gate.learn_limits(self, headers, names)

    def report_tokens(self, tokens: int) -> None:
        """Report how many tokens, prompt and answer, the request has used."""
        self._gate.take_tokens(max(0, tokens - self.tokens))

    def report_accepted(self) -> None:
        """Report that no limit has kept the request out, whenever its answer begins. Only the first call counts."""
        if not self.is_accepted:
            self.is_accepted = True
            self._gate.end_probe(self)

    def report_success(self) -> None:
        """Report that the provider has begun to answer. Only the first call counts."""
        self.report_accepted()
        if not self.is_answered:
            self.is_answered = True
            self._gate.breaker.reset()


class Gate:
    """The gate of one provider and credential."""

    def __init__(
        self,
        concurrency: int = CONCURRENCY,
        queue_length: int = QUEUE_LENGTH,
        requests_per_minute: int = 0,
        tokens_per_minute: int = 0,
    ) -> None:
        """Take the user's limits; a rate of 0 is no limit."""
        self.retry_budget = RetryBudget()
        self.breaker = Breaker()
        self._rate_limits = RateLimits(time.monotonic(), requests_per_minute, tokens_per_minute)
        self._concurrency = concurrency
        self._queue_length = queue_length
        self._active = 0
        self._queues: dict[Priority, deque[Turn]] = {"interactive": deque(), "background": deque()}
        self._admissions = 0
        self._in_flight: dict[str, dict[LimitKind, int]] = {}
        """By model: what admitted requests use that the provider has not counted yet."""
        self._blocked_until = 0.0
        self._timer_at = 0.0
        """When the timer admits those who may enter then; 0 without a timer."""
        self._cooldown_until = 0.0
        self._max_probes: int | None = None
        """How many requests may try after a rate limit; None: no limit."""
        self._probes = 0

    # --- entering and leaving ---

    @asynccontextmanager
    async def hold_slot(
        self, priority: Priority, max_wait_ms: float = MAX_RETRY_AFTER_MS, model: str = "", tokens: int = 0
    ) -> AsyncIterator[Turn]:
        """Hold one slot, waiting for it in the lane of *priority*, and learn from the failure that leaves it.

        *tokens* is an estimate of the prompt for *model*. A rate limit blocks the gate for as long as the provider
        asks, unless that is over *max_wait_ms*: such a limit is reported to the host, which then decides.

        Raises: SidecarError `queue_full` when too many wait already.
        """
        turn = await self._enter(priority, model, tokens)
        try:
            yield turn
        except SidecarError as error:
            # Before the slot is free: the next request must find the gate blocked.
            self._learn_failure(turn, error.body, max_wait_ms)
            raise
        finally:
            self._leave(turn)

    @property
    def is_free(self) -> bool:
        """Whether a request would be admitted at once."""
        return self._has_room and not self._queued and self._delay_ms is None

    @property
    def is_idle(self) -> bool:
        """Whether nobody is here and nothing would delay a request."""
        return not self._active and not self._queued and self._state_name == "closed"

    @property
    def counts_tokens(self) -> bool:
        """Whether some limit is on tokens."""
        return self._rate_limits.counts_tokens

    def rank(self, model: str) -> tuple[bool, int, int, int]:
        """Return the rank of the gate for *model* among those of several credentials: the lowest is asked next."""
        is_cooling_down = time.monotonic() < self._cooldown_until
        return is_cooling_down, self.compute_delay_ms(model, 0) or 0, self._active + self._queued, self._admissions

    async def _enter(self, priority: Priority, model: str, tokens: int) -> Turn:
        turn, queue = Turn(self, priority, model, tokens), self._queues[priority]
        if not self.is_free and self._queued >= self._queue_length:
            text = "Too many requests are waiting for this provider."
            retry_after_ms = self.compute_delay_ms(model, tokens) or FULL_QUEUE_RETRY_MS
            raise SidecarError("queue_full", text, retry_after_ms=retry_after_ms)
        queue.append(turn)
        try:
            self._admit()
            if not turn.admitted.is_set():
                await turn.admitted.wait()
        except BaseException:
            # Cancelled while it waited, or just as it was admitted.
            if turn.admitted.is_set():
                self._leave(turn)
            else:
                queue.remove(turn)
                # It may have been the only one in the way of others.
                self._admit()
            raise
        return turn

    def _leave(self, turn: Turn) -> None:
        # First what lets others in, whatever fails then.
        self._active -= 1
        self._probes -= turn.is_probe
        try:
            self._mark_counted(turn)
        finally:
            self._admit()

    def _admit(self) -> None:
        while self._has_room and (turn := self._pick_next()):
            self._queues[turn.priority].remove(turn)
            self._admissions += 1
            self._active += 1
            turn.is_probe = self._max_probes is not None
            self._probes += turn.is_probe
            in_flight = self._in_flight.setdefault(turn.model, {"requests": 0, "tokens": 0})
            in_flight["requests"] += 1
            in_flight["tokens"] += turn.tokens
            self._rate_limits.take(turn.model, turn.tokens, time.monotonic())
            turn.admitted.set()

    @property
    def _has_room(self) -> bool:
        if self._active >= self._concurrency:
            return False
        return self._max_probes is None or self._probes < self._max_probes

    def _pick_next(self) -> Turn | None:
        """Return the next request to admit; None when none may enter now, and then a timer is set."""
        now, delays = time.monotonic(), dict[str, float]()
        for turn in chain(*self._order_lanes()):
            # Requests for one model keep their order, or small ones would starve large ones.
            if turn.model in delays:
                continue
            delay_seconds = self._compute_delay_seconds(turn.model, turn.tokens, now)
            if not delay_seconds:
                return turn
            delays[turn.model] = delay_seconds
            # A request that waits for its model's limits alone lets requests for other models pass.
            if self._compute_shared_delay_seconds(turn.tokens, now):
                break
        if delays:
            self._set_timer(min(delays.values()))
        return None

    def _order_lanes(self) -> tuple[deque[Turn], ...]:
        interactive, background = self._queues["interactive"], self._queues["background"]
        if self._admissions % BACKGROUND_EVERY == BACKGROUND_EVERY - 1:
            return background, interactive
        return interactive, background

    @property
    def _queued(self) -> int:
        return sum(map(len, self._queues.values()))

    # --- limits ---

    def block(self, seconds: float) -> None:
        """Admit nobody for at least this many *seconds*."""
        self._blocked_until = max(self._blocked_until, time.monotonic() + seconds)
        self._set_timer(self._blocked_until - time.monotonic())

    def compute_delay_ms(self, model: str, tokens: int) -> int | None:
        """Return how long the limits delay a request for *model* with so many *tokens*; None: not at all."""
        delay_seconds = self._compute_delay_seconds(model, tokens, time.monotonic())
        return int(delay_seconds * 1000) + 1 if delay_seconds else None

    @property
    def _delay_ms(self) -> int | None:
        return self.compute_delay_ms("", 0)

    def _compute_delay_seconds(self, model: str, tokens: int, now: float) -> float:
        return max(self._blocked_until - now, self._rate_limits.compute_wait_seconds(model, tokens, now), 0.0)

    def _compute_shared_delay_seconds(self, tokens: int, now: float) -> float:
        return max(self._blocked_until - now, self._rate_limits.compute_shared_wait_seconds(tokens, now), 0.0)

    def _set_timer(self, seconds: float) -> None:
        """Admit those who may enter in *seconds*, unless the timer does so earlier."""
        now = time.monotonic()
        if self._timer_at <= now or now + seconds < self._timer_at:
            self._timer_at = now + seconds
            event_loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        # A timer may be a moment early. A request that still has to wait then sets another.
        self._timer_at = 0.0
        self._admit()

    # --- learning ---

    def learn_limits(self, turn: Turn, headers: Mapping[str, str], names: Mapping[LimitKind, str]) -> None:
        """Learn the rate limits that the reply to *turn* reports in the headers *names*."""
        self._mark_counted(turn)
        in_flight = self._in_flight.get(turn.model, {})
        self._rate_limits.learn(turn.model, headers, names, in_flight, time.monotonic())
        self._admit()

    def _mark_counted(self, turn: Turn) -> None:
        """Take *turn* out of what is in flight: the provider has counted it, or never will."""
        if not turn.is_counted:
            turn.is_counted = True
            in_flight = self._in_flight[turn.model]
            in_flight["requests"] -= 1
            in_flight["tokens"] -= turn.tokens
            if not in_flight["requests"]:
                del self._in_flight[turn.model]

    def take_tokens(self, tokens: int) -> None:
        """Take *tokens* that a request used beyond the estimate of its prompt."""
        self._rate_limits.take_tokens(tokens, time.monotonic())

    def end_probe(self, turn: Turn) -> None:
        """Admit more requests: the provider has accepted *turn*. Two may follow it, and soon all."""
        self._probes -= turn.is_probe
        turn.is_probe = False
        if self._max_probes is not None:
            is_last = self._max_probes >= min(MAX_PROBES, self._concurrency)
            self._max_probes = None if is_last else self._max_probes + 1
            self._admit()

    def _learn_failure(self, turn: Turn, error: ErrorBody, max_wait_ms: float) -> None:
        retry_after_ms = error.retry_after_ms
        if error.code in REFUSAL_CODES:
            cooldown_seconds = retry_after_ms / 1000 if retry_after_ms else COOLDOWN_SECONDS
            self._cooldown_until = time.monotonic() + min(cooldown_seconds, COOLDOWN_SECONDS)
        if error.code == "rate_limited" and retry_after_ms and retry_after_ms <= min(max_wait_ms, MAX_RETRY_AFTER_MS):
            # The limit holds for everybody who uses this credential. After it one request tries first.
            self._max_probes = 1
            self.block(retry_after_ms / 1000)
        if error.code in ("provider_overloaded", "network_error", "timeout") or (error.provider_status or 0) >= 500:
            self.breaker.count_failure(time.monotonic())
        elif error.provider_status and error.code not in THROTTLED_CODES:
            # A refusal is an answer too: the provider is there and lets this credential ask.
            turn.report_success()

    # --- the state ---

    def should_avoid(self) -> bool:
        """Return whether a request that has a fallback should go there; see `Breaker.should_avoid`."""
        return self.breaker.should_avoid(time.monotonic())

    @property
    def state(self) -> GateState:
        """The state of the gate."""
        return GateState(
            state=self._state_name, active=self._active, queued=self._queued, retry_after_ms=self._shown_delay_ms
        )

    @property
    def _shown_delay_ms(self) -> int | None:
        """How long the limits delay a request for any model, or else one that waits for the limits of its own."""
        delays = (self.compute_delay_ms(turn.model, turn.tokens) for turn in self._list_heads())
        return self._delay_ms or min(filter(None, delays), default=None)

    def _list_heads(self) -> Iterator[Turn]:
        """Return the first of the requests that wait for each model: it keeps the others waiting."""
        models = set[str]()
        for turn in chain(*self._queues.values()):
            if turn.model not in models:
                models.add(turn.model)
                yield turn

    @property
    def _state_name(self) -> GateStateName:
        state = self.breaker.get_state(time.monotonic())
        is_limited = self._shown_delay_ms is not None or self._max_probes is not None
        return "limited" if state == "closed" and is_limited else state
