"""Requests and tokens per minute, as a provider's headers report them and as the user limits them. [pure]

Each limit is a token bucket: it fills steadily, and every request that is admitted takes from it. Must not know gates,
requests or clocks: every `now` is the caller's, in seconds of one monotonic clock.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sidecar.catalogue.limit_kinds import LimitKind

MINUTE_SECONDS = 60.0

MAX_REPORTED_WAIT_SECONDS = 60.0
"""When headers imply a longer wait the provider is asked anyway: its answer counts more."""

MAX_MODELS = 64
"""How many models of one credential have limits of their own."""

SUFFICIENT_SHARE = 0.1
"""The share of a limit on tokens that is enough for any prompt; `RateLimits.compute_wait_seconds` says why."""


class TokenBucket:
    """An amount that is taken from and fills up again."""

    __slots__ = ("_level", "_level_at", "_limit", "_per_second")

    def __init__(self, limit: float, per_second: float, level: float, now: float) -> None:
        self._limit = limit
        self._per_second = per_second
        self._level = level
        self._level_at = now

    def get_level(self, now: float) -> float:
        """Return how much is left. It is negative when more was taken than there was."""
        return min(self._limit, self._level + (now - self._level_at) * self._per_second)

    def take(self, amount: float, now: float) -> None:
        """Take *amount*, whether there is enough or not."""
        self._level, self._level_at = self.get_level(now) - amount, now

    def compute_wait_seconds(self, amount: float, now: float) -> float:
        """Return how long it takes until there is *amount*, or a full bucket if that is less."""
        missing = min(amount, self._limit) - self.get_level(now)
        if missing <= 0:
            return 0.0
        return missing / self._per_second if self._per_second > 0 else math.inf

    def compute_prompt_wait_seconds(self, tokens: int, now: float) -> float:
        """Return how long a prompt of *tokens* waits. A share of the limit is enough for it."""
        return self.compute_wait_seconds(max(1, min(tokens, self._limit * SUFFICIENT_SHARE)), now)


Buckets = dict[LimitKind, TokenBucket]


class RateLimits:
    """The limits of one provider and credential: the user's, for all models, and the reported ones of each model."""

    def __init__(self, now: float, requests_per_minute: int = 0, tokens_per_minute: int = 0) -> None:
        """Take the user's limits; 0 is no limit."""
        self._shared: Buckets = {}
        self._reported: dict[str, Buckets] = {}
        """By model, from its last reply."""
        limits: tuple[tuple[LimitKind, int], ...] = (("requests", requests_per_minute), ("tokens", tokens_per_minute))
        for kind, limit in limits:
            if limit:
                self._shared[kind] = TokenBucket(limit, limit / MINUTE_SECONDS, limit, now)

    @property
    def counts_tokens(self) -> bool:
        """Whether some limit is on tokens."""
        return "tokens" in self._shared or any("tokens" in buckets for buckets in self._reported.values())

    def compute_wait_seconds(self, model: str, tokens: int, now: float) -> float:
        """Return how long the next request for *model* has to wait if its prompt has about so many *tokens*.

        Nobody knows beforehand how much of a prompt is read from a cache, and providers often do not count that part.
        So a share of the limit is enough for any prompt, and what was taken in excess delays the next one.
        """
        if not self._shared and not self._reported:
            return 0.0
        reported = _compute_wait_seconds(self._reported.get(model, {}), tokens, now)
        return max(
            self.compute_shared_wait_seconds(tokens, now),
            reported if reported <= MAX_REPORTED_WAIT_SECONDS else 0.0,
        )

    def compute_shared_wait_seconds(self, tokens: int, now: float) -> float:
        """Return the part of the wait that is due to the user's limits, which all models share."""
        return _compute_wait_seconds(self._shared, tokens, now)

    def take(self, model: str, tokens: int, now: float) -> None:
        """Take a request for *model* that is expected to use *tokens*."""
        for buckets in (self._shared, self._reported.get(model, {})):
            for kind, bucket in buckets.items():
                bucket.take(1 if kind == "requests" else tokens, now)

    def take_tokens(self, tokens: int, now: float) -> None:
        """Take *tokens* that a request used beyond its estimate. The provider keeps count of its own limits itself."""
        if bucket := self._shared.get("tokens"):
            bucket.take(tokens, now)

    def learn(
        self,
        model: str,
        headers: Mapping[str, str],
        names: Mapping[LimitKind, str],
        in_flight: Mapping[LimitKind, int],
        now: float,
    ) -> None:
        """Learn from the headers of a reply by *model*.

        *names* are the provider's header names, in which `{}` stands for `limit`, `remaining` and `reset`. *in_flight*
        is what the unanswered requests use: the provider may not have counted them yet.
        """
        for kind, template in names.items():
            reported = _read_limit(headers, template)
            if reported is None:
                continue
            if model not in self._reported and len(self._reported) >= MAX_MODELS:
                self._reported.clear()
            level = reported.remaining - in_flight.get(kind, 0)
            bucket = TokenBucket(reported.limit, reported.per_second, level, now)
            self._reported.setdefault(model, {})[kind] = bucket


def _compute_wait_seconds(buckets: Mapping[LimitKind, TokenBucket], tokens: int, now: float) -> float:
    waits = [buckets["requests"].compute_wait_seconds(1, now)] if "requests" in buckets else []
    waits += [buckets["tokens"].compute_prompt_wait_seconds(tokens, now)] if "tokens" in buckets else []
    return max(waits, default=0.0)


class _ReportedLimit(NamedTuple):
    limit: float
    remaining: float
    per_second: float
    """How fast it fills up again."""


def _read_limit(headers: Mapping[str, str], template: str) -> _ReportedLimit | None:
    """Return the limit that a reply reports under names of *template*, or None if something is missing."""
    remaining = _read_count(headers, template.format("remaining"))
    reset_seconds = parse_reset_seconds(headers.get(template.format("reset"), ""), headers.get("date"))
    if remaining is None or reset_seconds is None:
        return None
    limit = max(_read_count(headers, template.format("limit")) or 0.0, remaining, 1.0)
    if limit == remaining or reset_seconds <= 0:
        return _ReportedLimit(limit, remaining, limit / MINUTE_SECONDS)
    return _ReportedLimit(limit, remaining, (limit - remaining) / max(reset_seconds, MIN_RESET_SECONDS))


def _read_count(headers: Mapping[str, str], name: str) -> float | None:
    """Return the number in a header. It is written as a duration without a unit is."""
    return parse_duration_seconds(headers.get(name, ""))


def parse_reset_seconds(text: str, date: str | None) -> float | None:
    """Return the seconds until a reset, given as a duration or as a time. A time is relative to the reply's *date*."""
    seconds = parse_duration_seconds(text)
    if seconds is not None or not text or not date:
        return seconds
    from email.utils import parsedate_to_datetime  # Slow to import, and seldom needed.

    try:
        return max(0.0, (datetime.fromisoformat(text) - parsedate_to_datetime(date)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


MAX_NUMBER = 1e12
"""A larger number of seconds, requests or tokens is no limit, and rates made of it are not numbers."""

MIN_RESET_SECONDS = 0.001

_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?|\.\d+)(ms|[hms]))+", re.ASCII)
_TERM = re.compile(r"(\d*\.?\d+)(ms|[hms])", re.ASCII)


def parse_duration_seconds(text: str) -> float | None:
    """Return a duration such as `1s`, `6m0s`, `20ms`, `2m59.56s` or `12` in seconds; None for anything else."""
    text = text.strip()
    if _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _TERM.findall(text))
    else:
        try:
            seconds = float(text)
        except ValueError:
            return None
    return seconds if 0 <= seconds <= MAX_NUMBER else None
