"""A provider's own count of a prompt, asked through the gate of its chats and cached.

Knows which counters there are. Must not know a wire's fields, or how a count is reported.
"""

import hashlib
from typing import NamedTuple

import anyio.to_thread
import msgspec

from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.core.request_state import RequestState
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.values import Target, make_chat_spec
from sidecar.upstream.context import Upstream
from sidecar.upstream.documents import DocumentQuestion, ask_document
from sidecar.upstream.plan import make_plan
from sidecar.upstream.settings_discovery import discover_settings
from sidecar.wires.counts import registry

TIMEOUTS = HttpTimeouts(first_byte_seconds=30.0, idle_seconds=30.0)
"""Counting is a matter of milliseconds."""


class ProviderCount(NamedTuple):
    """A provider's count."""

    tokens: int
    is_whole: bool
    """Whether the whole prompt was counted. False: its texts alone."""
    is_cached: bool
    """Whether the count comes from the cache."""


async def count_by_provider(
    up: Upstream, state: RequestState, provider: str | None, chat: Chat
) -> ProviderCount | None:
    """Return the provider's own count of *chat*, or None where it has none for this model.

    Raises: SidecarError as `ask_document` does.
    """
    await up.load_credentials()
    resolved = resolve_provider(up.setup, make_chat_spec(provider, chat))
    if not resolved.provider.row.counters:
        return None
    origin = make_target(await discover_settings(up, resolved))
    row = origin.row.counters.get(origin.route.wire)
    if row is None:
        return None
    counter = registry.load(row.name)
    request = counter.encode_count(chat, origin.route)
    key = await anyio.to_thread.run_sync(_hash_question, origin, request)
    if (cached := up.token_counts.get(key)) is not None:
        return ProviderCount(cached, counter.EXACT, is_cached=True)
    question = DocumentQuestion(
        kind="count",
        encode=lambda to: request if to is origin else counter.encode_count(chat, to.route),
        decode=counter.decode_count,
        classify=counter.classify,
        timeouts=TIMEOUTS,
        max_attempts=chat.options.retry.max_attempts if chat.options.retry else None,
        priority=chat.options.priority,
    )
    try:
        tokens = await ask_document(up, state, make_plan(origin, chat), question)
    except SidecarError as error:
        if error.body.code in row.unsupported_codes:
            return None
        raise
    up.token_counts.put(key, tokens)
    return ProviderCount(tokens, counter.EXACT, is_cached=False)


def _hash_question(target: Target, request: HttpRequest) -> bytes:
    """Return the key of a count: who is asked, with which credential, and every byte of the question."""
    secret = target.credential.reveal() if target.credential else None
    head = msgspec.json.encode([target.route.provider, target.route.model, secret, request.url, request.headers])
    return hashlib.sha256(hashlib.sha256(head).digest() + request.body).digest()
