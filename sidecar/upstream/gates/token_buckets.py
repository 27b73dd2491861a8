"""Requests and tokens a minute: what a provider's headers leave and what the user allows. [pure]

A meter fills up steadily and is drawn on by each request that is let in. Must not know gates, requests or clocks:
every time is the caller's, in seconds of one monotonic clock.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sidecar.catalogue.limit_kinds import LimitKind

MINUTE_SECONDS = 60.0

MAX_WAIT_SECONDS = 60.0
"""A provider whose headers ask for a longer wait is asked all the same: what it says then is what counts."""


MAX_MODELS = 64
"""Models of one credential that are remembered."""


class Meter:
    """So many of something, filling up again."""

    __slots__ = ("_at", "_level", "_limit", "_per_second")

    def __init__(self, limit: float, per_second: float, level: float, now: float) -> None:
        self._limit = limit
        self._per_second = per_second
        self._level = level
        self._at = now

    def level(self, now: float) -> float:
        """Return how much is left; below nothing when more was drawn than there was."""
        return min(self._limit, self._level + (now - self._at) * self._per_second)

    def draw(self, amount: float, now: float) -> None:
        """Take *amount*, there or not."""
        self._level, self._at = self.level(now) - amount, now

    def wait_seconds(self, wanted: float, now: float) -> float:
        """Return how long it takes until *wanted* is there, or as much as there can be."""
        missing = min(wanted, self._limit) - self.level(now)
        return missing / self._per_second if missing > 0 else 0.0

    def wait_for_some(self, wanted: float, now: float) -> float:
        """Return the same for *wanted*, of which a tenth of the limit is enough."""
        return self.wait_seconds(max(1, min(wanted, self._limit / 10)), now)


class Meters:
    """The meters of one provider and credential: the user's own, and those that its headers tell of each model."""

    def __init__(self, now: float, requests_per_minute: int = 0, tokens_per_minute: int = 0) -> None:
        self._own: dict[LimitKind, Meter] = {}
        self._learned: dict[str, dict[LimitKind, Meter]] = {}
        """Model → what its last reply has said."""
        limits: tuple[tuple[LimitKind, int], ...] = (("requests", requests_per_minute), ("tokens", tokens_per_minute))
        for kind, limit in limits:
            if limit:
                self._own[kind] = Meter(limit, limit / MINUTE_SECONDS, limit, now)

    @property
    def counts_tokens(self) -> bool:
        """Whether it matters how many tokens a request has."""
        return "tokens" in self._own or any("tokens" in meters for meters in self._learned.values())

    @property
    def differ(self) -> bool:
        """Whether one model may have to wait and another not."""
        return bool(self._learned)

    def wait_seconds(self, model: str, tokens: int, now: float) -> float:
        """Return how long the next request for *model* has to wait, its prompt being thought to have so many *tokens*.

        A tenth of the tokens is enough for any prompt: what is read from a cache often is not charged for, and nobody
        knows before. What was drawn too much makes the next one wait.
        """
        if not self._own and not self._learned:
            return 0.0
        own = self.own_wait_seconds(tokens, now)
        asked = _wait(self._learned.get(model, {}), tokens, now)
        return max(own, asked if asked <= MAX_WAIT_SECONDS else 0.0)

    def own_wait_seconds(self, tokens: int, now: float) -> float:
        """Return the same as far as it is by the user's own limits, which all models share."""
        return _wait(self._own, tokens, now)

    def draw(self, model: str, tokens: int, now: float) -> None:
        """Take a request for *model*, with the *tokens* that it is thought to use."""
        for meters in (self._own, self._learned.get(model, {})):
            for kind, meter in meters.items():
                meter.draw(1 if kind == "requests" else tokens, now)

    def used(self, tokens: int, now: float) -> None:
        """Take *tokens* that a request has used beyond what it was thought to: the provider has its own count."""
        if meter := self._own.get("tokens"):
            meter.draw(tokens, now)

    def learn(
        self,
        model: str,
        headers: Mapping[str, str],
        names: Mapping[LimitKind, str],
        unheard: Mapping[LimitKind, int],
        now: float,
    ) -> None:
        """Learn from the headers of a reply by *model*.

        *names* are the provider's, `{}` standing for `limit`, `remaining` and `reset`. *unheard* is what those use
        who were let in and not answered yet: the provider may not have counted them.
        """
        for kind, template in names.items():
            said = _said(headers, template)
            if said is None:
                continue
            if model not in self._learned and len(self._learned) >= MAX_MODELS:
                self._learned.clear()
            meter = Meter(said.limit, said.per_second, said.remaining - unheard.get(kind, 0), now)
            self._learned.setdefault(model, {})[kind] = meter


def _wait(meters: Mapping[LimitKind, Meter], tokens: int, now: float) -> float:
    waits = [meters["requests"].wait_seconds(1, now)] if "requests" in meters else []
    waits += [meters["tokens"].wait_for_some(tokens, now)] if "tokens" in meters else []
    return max(waits, default=0.0)


class _Said(NamedTuple):
    limit: float
    remaining: float
    per_second: float
    """How fast it fills up again."""


def _said(headers: Mapping[str, str], template: str) -> _Said | None:
    """Return what a reply says of one limit, None where that is not enough."""
    remaining = seconds_of(headers.get(template.format("remaining"), ""))
    reset = seconds_until(headers.get(template.format("reset"), ""), headers.get("date"))
    if remaining is None or reset is None:
        return None
    limit = max(seconds_of(headers.get(template.format("limit"), "")) or 0.0, remaining, 1.0)
    if limit == remaining or reset <= 0:
        return _Said(limit, remaining, limit / MINUTE_SECONDS)
    return _Said(limit, remaining, (limit - remaining) / reset)


def seconds_until(text: str, date: str | None) -> float | None:
    """Return the seconds until a reset, which is said as a duration, or as a time beside the reply's own *date*."""
    seconds = seconds_of(text)
    if seconds is not None or not date:
        return seconds
    from email.utils import parsedate_to_datetime  # Slow, and seldom needed.

    try:
        return max(0.0, (datetime.fromisoformat(text) - parsedate_to_datetime(date)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


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
