"""The action `count_tokens`: by the provider itself where that is asked for and it can, else by a vocabulary of ours.

Knows which of them answers and what may be said of the answer. Must not know how a provider is asked
(`provider_counts`), nor how a prompt is made up (`tokens`).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import anyio
import anyio.from_thread
import anyio.to_thread

from protocol.messages import Message
from protocol.replies import Warn
from protocol.requests import Chat, CountTokens
from sidecar.core.errors import invalid
from sidecar.providers import resolve
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest
from sidecar.tokens import estimates, families, vocabularies
from sidecar.tokens.estimates import Count, Estimate, Family
from sidecar.upstream import token_counts

THREADS = 2
"""How many counts run at once: more would keep each other from the processors."""


class Kept:
    """The vocabularies that have been loaded, and who may use them."""

    def __init__(self) -> None:
        self.encodings: dict[str, Any] = {}
        self.limiter = anyio.CapacityLimiter(THREADS)


class Asked(NamedTuple):
    """What is to be counted: a chat, or the *text* alone that is its only message."""

    chat: Chat
    text: str | None
    family: Family


async def count(app: App, entry: OpenRequest, params: CountTokens) -> dict[str, Any]:
    """Return the answer to `count_tokens`.

    Raises: SidecarError `invalid_request`, `unknown_provider`; with `exact`, whatever the provider answers.
    """
    provider, chat = resolve.with_preset(app.upstream.config, entry.envelope.provider, _chat(params))
    model = resolve.described(app.upstream.setup, provider, chat.model, chat.settings)
    entry.state.progress.provider, entry.state.progress.model = model.provider, model.model
    asked = Asked(chat, params.text, families.family_of(model.usual_name))
    if not params.exact or (params.text is not None and asked.family.own):
        return await _estimate(app, asked)
    counted = await _by_provider(app, entry, provider, asked)
    if counted is not None:
        return counted
    warning = Warn(code="estimated", message="The provider does not count this itself: the count is an estimate.")
    return await _estimate(app, asked) | {"warnings": [warning]}


def _chat(params: CountTokens) -> Chat:
    if (params.messages is None) == (params.text is None):
        raise invalid("Either `params.messages` or `params.text` is counted.", "params.messages")
    return Chat(
        model=params.model,
        messages=[Message(role="user", content=params.text or "")] if params.messages is None else params.messages,
        options=params.options,
        api_key=params.api_key,
        base_url=params.base_url,
        settings=params.settings,
    )


# --- by the provider -------------------------------------------------------------------------


async def _by_provider(app: App, entry: OpenRequest, provider: str | None, asked: Asked) -> dict[str, Any] | None:
    """Return the provider's own count, or None where it has none for this model."""
    found = await token_counts.count_by_provider(app.upstream, entry.state, provider, asked.chat)
    if found is None:
        return None
    if found.whole or asked.text is not None:
        answer = _answer(Estimate(found.tokens, 0), "provider")
    else:
        frame = estimates.chat_tokens(asked.chat.messages, asked.chat.options, asked.family, lambda _: 0)
        band = math.ceil(frame.tokens * frame.error_band_pct / (found.tokens + frame.tokens))
        answer = _answer(Estimate(found.tokens + frame.tokens, band), "provider", "texts of the prompt")
    return answer | ({"cached": True} if found.cached else {})


# --- by a vocabulary -------------------------------------------------------------------------


async def _estimate(app: App, asked: Asked) -> dict[str, Any]:
    """Return a count that asks nobody."""
    family = asked.family
    kept: Kept = app.upstream.sessions.setdefault(__name__, Kept())
    try:
        encoding = await _encoding(app, kept, vocabularies.file_of(family.vocabulary))
    except vocabularies.VocabularyError:
        guess = await _counted(kept, asked, estimates.by_bytes)
        return _answer(guess._replace(error_band_pct=estimates.BYTES_BAND_PCT), "bytes", "3.5 bytes a token")
    found = await _counted(kept, asked, _pausing(encoding.encode_ordinary))
    if family.own:
        return _answer(found, "vocabulary", family.vocabulary)
    return _answer(found, "estimate", f"{family.vocabulary} × {family.factor:g}")


async def _encoding(app: App, kept: Kept, name: str) -> Any:
    """Return the encoding of that name, loaded once for all requests that wait for it."""
    if name not in kept.encodings:

        async def load() -> None:
            kept.encodings[name] = await anyio.to_thread.run_sync(vocabularies.load, name, abandon_on_cancel=True)

        await app.upstream.single_flight.run_once((__name__, name), load)
    return kept.encodings[name]


def _pausing(encode: Callable[[str], list[int]]) -> Count:
    """Return what counts a text in pieces, and stops between two when the request has ended meanwhile."""

    def count(text: str) -> int:
        total = 0
        for piece in estimates.pieces(text):
            anyio.from_thread.check_cancelled()
            total += len(encode(piece))
        return total

    return count


async def _counted(kept: Kept, asked: Asked, count: Count) -> Estimate:
    """Return the tokens, counted in a thread: the vocabulary lets other threads run meanwhile."""

    def run() -> Estimate:
        if asked.text is not None:
            return estimates.text_tokens(asked.text, asked.family, count)
        return estimates.chat_tokens(asked.chat.messages, asked.chat.options, asked.family, count)

    return await anyio.to_thread.run_sync(run, abandon_on_cancel=True, limiter=kept.limiter)


def _answer(found: Estimate, method: str, basis: str | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = {"tokens": found.tokens, "exact": found.error_band_pct == 0, "method": method}
    if basis is not None:
        answer["basis"] = basis
    if not answer["exact"]:
        answer["error_band_pct"] = found.error_band_pct
    return answer | {"warnings": []}
