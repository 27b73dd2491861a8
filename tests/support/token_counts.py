"""Asking for counts, and what is true of every estimate."""

import itertools
from typing import Any

from tests.support.lines import Object
from tests.support.program import Program

CHAT: Object = {
    "messages": [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "Hi"}],
    "options": {"tools": [{"name": "look_up", "description": "Look a word up."}], "max_tokens": 100},
}

NUMBERS = itertools.count()


def chat_nobody_asked_before() -> Object:
    """Return the params of a chat that no process of this session remembers a count of."""
    return CHAT | {"messages": [*CHAT["messages"], {"role": "user", "content": f"Number {next(NUMBERS)}"}]}


def count(sidecar: Program, provider: str | None, model: str, **params: Any) -> Object:
    """Ask for a count and return the whole reply."""
    given = {"model": model} | (params if "text" in params else chat_nobody_asked_before() | params)
    envelope = {} if provider is None else {"provider": provider}
    return sidecar.ask("count_tokens", given, **envelope)


def check_estimate(data: Object) -> None:
    assert (data["exact"], data["method"]) == (False, "estimate")
    assert data["tokens"] > 0
    assert data["error_band_pct"] > 0
    assert data["basis"].startswith("o200k_base × ")
