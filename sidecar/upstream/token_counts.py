"""A provider's own count of a prompt: asked through the gate of its chats, asked again as they are, and remembered.

Knows which counters there are and what is kept of their answers. Must not know a wire's fields, nor what is said of
a count.
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

TIMEOUTS = HttpTimeouts(first_byte=30.0, idle=30.0)
"""Of a count, which is a matter of milliseconds."""

MAX_KEPT = 256
"""Counts that are remembered; the one that was asked for longest ago goes first."""


class Counted(NamedTuple):
    """What a provider says."""

    tokens: int
    whole: bool
    """Whether that is the prompt; false: its texts alone."""
    cached: bool
    """Whether it has said so before, and was not asked again."""


async def count_by_provider(up: Upstream, state: RequestState, provider: str | None, chat: Chat) -> Counted | None:
    """Return the provider's own count of *chat*, or None where it has none for this model.

    Raises: SidecarError as `ask_document` does.
    """
    await up.look_into_store()
    resolved = resolve_provider(up.setup, make_chat_spec(provider, chat))
    if not resolved.provider.row.counters:
        return None
    origin = make_target(await discover_settings(up, resolved))
    row = origin.row.counters.get(origin.route.wire)
    if row is None:
        return None
    counter = registry.load(row.name)
    request = counter.encode_count(chat, origin.route)
    kept = up.token_counts
    key = await anyio.to_thread.run_sync(_hash_question, origin, request)
    if (known := kept.pop(key, None)) is not None:
        kept[key] = known
        return Counted(known, counter.EXACT, cached=True)
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
    kept[key] = tokens
    if len(kept) > MAX_KEPT:
        del kept[next(iter(kept))]
    return Counted(tokens, counter.EXACT, cached=False)


def _hash_question(target: Target, request: HttpRequest) -> bytes:
    """Return what a count is remembered by: who is asked, as whom, and every byte of the question."""
    secret = target.credential.reveal() if target.credential else None
    head = msgspec.json.encode([target.route.provider, target.route.model, secret, request.url, request.headers])
    return hashlib.sha256(hashlib.sha256(head).digest() + request.body).digest()
