"""One attempt as a row of the ledger, or those of a minute as one. [pure]

No row has content or a credential. Must not know files.
"""

from typing import Any, NamedTuple

import msgspec

from protocol.messages import Usage

MAX_TOKENS = 10**12
"""The most tokens that one attempt is believed to use. A higher count is a provider's mistake, and unknown."""


class PastAnswer(NamedTuple):
    """What an earlier answer of a model has used, and how long it took to begin. None: unknown."""

    task: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    first_chunk_ms: int | None


class Row(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One attempt, in the order of `ledger_schema.COLUMNS`."""

    at: str
    """When it ended, ISO 8601 in UTC."""
    action: str
    """The action of the host's request."""
    kind: str
    """What the provider was asked, one of `kinds.KINDS`."""
    provider: str
    model: str
    """Empty where the question is about no model."""
    outcome: str
    """`ok`, `failed` or `cancelled`."""
    code: str | None
    """Of the error."""
    finish_reason: str | None
    usage: Usage | None
    cost_picousd: int | None
    """Millionths of a millionth of a US dollar; None for an unknown cost."""
    latency_ms: int
    first_chunk_ms: int | None
    task: str | None = None
    """The task that the request does, by its name."""
    saved_picousd: int | None = None
    """What an answer that was used again would have cost; None for an unknown cost, and for every other attempt."""
    requests: int = 1
    """How many attempts share the row. Its counts and its cost are their sums, its latencies their means."""

    @property
    def shared_by(self) -> tuple[object, ...]:
        """What the attempts have in common that may share a row."""
        known = self.usage is None, self.cost_picousd is None, self.first_chunk_ms is None
        words = self.action, self.kind, self.provider, self.model, self.outcome, self.code, self.finish_reason
        return (self.at[:MINUTE_CHARS], *words, self.task, *known)

    @property
    def cost(self) -> tuple[str, str, int]:
        """Day, provider and cost, 0 for an unknown one."""
        return self.at[:10], self.provider, self.cost_picousd or 0

    def make_columns(self) -> tuple[Any, ...]:
        """Return the columns, each a value that SQLite can store."""
        used = self.usage or Usage()
        counts = (
            *(used.input_tokens, used.output_tokens, used.cache_read_tokens, used.cache_write_tokens),
            *(used.cache_write_1h_tokens, used.reasoning_tokens),
        )
        return (
            *(self.at, self.action, self.kind, self.provider, self.model, self.outcome, self.code, self.finish_reason),
            *(count if count is None or 0 <= count <= MAX_TOKENS else None for count in counts),
            *(self.cost_picousd, self.latency_ms, self.first_chunk_ms, self.task, self.saved_picousd),
            self.requests,
        )


MINUTE_CHARS = len("2026-11-20T12:00")

COUNTS = tuple(name for name in Usage.__struct_fields__ if name.endswith("_tokens"))


def join_rows(one: Row, other: Row) -> Row:
    """Return the row of the attempts of both, the *other* being the later."""
    requests = one.requests + other.requests
    return msgspec.structs.replace(
        other,
        usage=_add_usage(one.usage, other.usage),
        cost_picousd=None if other.cost_picousd is None else (one.cost_picousd or 0) + other.cost_picousd,
        latency_ms=_mean(one.latency_ms, one.requests, other.latency_ms, requests),
        first_chunk_ms=None
        if one.first_chunk_ms is None or other.first_chunk_ms is None
        else _mean(one.first_chunk_ms, one.requests, other.first_chunk_ms, requests),
        requests=requests,
    )


def _mean(before: int, times: int, value: int, requests: int) -> int:
    return round((before * times + value * (requests - times)) / requests)


def _add_usage(one: Usage | None, other: Usage | None) -> Usage | None:
    if one is None or other is None:
        return one or other
    sums: dict[str, Any] = {name: _add(getattr(one, name), getattr(other, name)) for name in COUNTS}
    return Usage(**sums)


def _add(one: int | None, other: int | None) -> int | None:
    return one if other is None else (one or 0) + other
