"""Recorded exchanges of real providers with an independent reading of each, where they are at hand.

A folder `<provider>/<exchange>/` holds `meta.json` (where it went and what came back),
`response.body` (the bytes) and `expect.json` (what an independent reader found in them).
"""

import json
import random
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.fake_provider import Step
from tests.support.reply_scripts import head

ROOT = Path(__file__).resolve().parents[3] / "shared" / "corpus"

HOP_BY_HOP = frozenset({"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"})
"""Headers of the recorded connection, not of the reply: this one has its own."""

Counts = dict[str, int | None]


class Exchange(NamedTuple):
    """One folder."""

    path: Path

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def provider(self) -> str:
        return self.path.parent.name

    @property
    def meta(self) -> dict[str, Any]:
        return self._json("meta.json")

    @property
    def api(self) -> str:
        """Such as `openai.chat`."""
        return str(self.meta["api"])

    @property
    def status(self) -> int:
        return int(self.meta["response"]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.meta["response"].get("headers", {}).items()}

    @property
    def body(self) -> bytes:
        return (self.path / "response.body").read_bytes()

    @property
    def expected(self) -> dict[str, Any]:
        return self._json("expect.json")

    def _json(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
        return found


def exchanges(*providers: str) -> list[Exchange]:
    """Return the exchanges of the *providers*, none where there are no recordings."""
    found = (Exchange(path.parent) for path in sorted(ROOT.glob("*/*/meta.json")))
    return [exchange for exchange in found if exchange.provider in providers]


def pieces(body: bytes, seed: int) -> list[bytes]:
    """Return *body* cut at random places, never an empty piece."""
    chance = random.Random(seed)
    cuts = sorted({chance.randrange(1, len(body)) for _ in range(chance.randrange(2, 40))}) if len(body) > 1 else []
    return [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]


def script(exchange: Exchange, cut: list[bytes], *, left_out: Container[str] = HOP_BY_HOP) -> list[Step]:
    """Return the recorded reply, each piece of *cut* a chunk of its own, without the headers that are *left_out*."""
    kept = {name: value for name, value in exchange.headers.items() if name not in left_out}
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in cut)
    return [head(exchange.status, transfer_encoding="chunked", **kept) + chunks + b"0\r\n\r\n"]


def tools(exchange: Exchange) -> list[dict[str, Any]]:
    """Return a declaration of each tool that the reply calls, without which its calls are none."""
    return [{"name": name} for name in dict.fromkeys(call["name"] for call in exchange.expected["tool_calls"])]


def _at(raw: dict[str, Any], *path: str) -> int | None:
    found: Any = raw
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, int) else None


def _anthropic(raw: dict[str, Any]) -> Counts:
    # Its `input_tokens` are only those that touched no cache.
    inputs = [_at(raw, key) for key in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")]
    return {
        "input_tokens": sum(count or 0 for count in inputs),
        "output_tokens": _at(raw, "output_tokens"),
        "cache_read_tokens": inputs[1],
        "cache_write_tokens": inputs[2],
        "cache_write_1h_tokens": _at(raw, "cache_creation", "ephemeral_1h_input_tokens"),
        "reasoning_tokens": _at(raw, "output_tokens_details", "thinking_tokens"),
    }


def _openai_chat(raw: dict[str, Any]) -> Counts:
    return {
        "input_tokens": _at(raw, "prompt_tokens"),
        "output_tokens": _at(raw, "completion_tokens"),
        "cache_read_tokens": _at(raw, "prompt_tokens_details", "cached_tokens"),
        "cache_write_tokens": _at(raw, "prompt_tokens_details", "cache_write_tokens"),
        "cache_write_1h_tokens": None,
        "reasoning_tokens": _at(raw, "completion_tokens_details", "reasoning_tokens"),
    }


def _openai_responses(raw: dict[str, Any]) -> Counts:
    return {
        "input_tokens": _at(raw, "input_tokens"),
        "output_tokens": _at(raw, "output_tokens"),
        "cache_read_tokens": _at(raw, "input_tokens_details", "cached_tokens"),
        "cache_write_tokens": _at(raw, "input_tokens_details", "cache_write_tokens"),
        "cache_write_1h_tokens": None,
        "reasoning_tokens": _at(raw, "output_tokens_details", "reasoning_tokens"),
    }


USAGE: dict[str, Callable[[dict[str, Any]], Counts]] = {
    "anthropic.messages": _anthropic,
    "openai.chat": _openai_chat,
    "openai.responses": _openai_responses,
}
"""By API: a provider's counts in the meaning of the protocol's `usage`, read without the program's own code."""

WIRES = {
    "anthropic.messages": "anthropic_messages",
    "bedrock.converse": "bedrock_converse",
    "bedrock.converse_stream": "bedrock_converse",
    "gemini.generate": "gemini",
    "gemini.stream": "gemini",
    "ollama.chat": "ollama",
    "ollama.generate": "ollama",
    "openai.chat": "openai_chat",
    "openai.responses": "openai_responses",
}
"""By the API of a chat: the wire that speaks it."""

PROVIDERS = {
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock": "bedrock",
    "cerebras": "cerebras",
    "cloudflare": "cloudflare",
    "copilot": "copilot",
    "deepseek": "deepseek",
    "gemini": "gemini",
    "groq": "groq",
    "mistral": "mistral",
    "ollama": "ollama",
    "openai": "openai",
    "openrouter": "openrouter",
    "vercel_gateway": "vercel",
    "vertex": "vertex",
    "xai": "xai",
}
"""By folder: the provider whose table it is read by. Folders of others are of compatible ones."""


def usage(exchange: Exchange) -> Counts | None:
    """Return the usage that the exchange's reply reports, in the protocol's meaning."""
    raw = exchange.expected["usage_raw"]
    return None if raw is None else USAGE[exchange.api](raw)
