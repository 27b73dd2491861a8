"""A provider's own count of a prompt: asked through the gate of its chats, asked again as they are, and remembered.

Knows which counters there are and what is kept of their answers. Must not know a wire's fields, nor what is said of
a count.
"""

import hashlib
from typing import NamedTuple, cast

import anyio
import anyio.to_thread
import msgspec

from protocol.requests import Chat
from sidecar.auth import authorize
from sidecar.auth.authorize import Call
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.core.http_bodies import read_body, read_error_body
from sidecar.core.request_state import RequestState
from sidecar.generation.run import gate_of, max_attempts
from sidecar.providers import resolve
from sidecar.providers.resolve import Target
from sidecar.upstream import retry
from sidecar.upstream.context import Upstream, call_for
from sidecar.upstream.settings_discovery import informed
from sidecar.wires.counts import registry
from sidecar.wires.shared.types import TokenCounter

LIMITS = HttpTimeouts(first_byte=30.0, idle=30.0)
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


class _Question(NamedTuple):
    """What is to be asked, and how what comes back is read."""

    counter: TokenCounter
    unable: list[str]
    """Codes of failures that say that it does not count this."""
    call: Call

    @property
    def request(self) -> HttpRequest:
        return cast("HttpRequest", self.call.request)


async def ask(up: Upstream, state: RequestState, provider: str | None, chat: Chat) -> Counted | None:
    """Return the provider's own count of *chat*, or None where it has none for this model.

    Raises: SidecarError with whatever the provider answers, once there is no sense in asking again.
    """
    await up.look_into_store()
    name, _ = resolve.split_model(up.config, provider, chat.model)
    if not resolve.known_providers(up.setup)[name].counters:
        return None
    origin = resolve.chat_target(await informed(up, provider, chat), provider, chat)
    row = origin.row.counters.get(origin.route.wire)
    if row is None:
        return None
    counter = registry.load(row.module)
    target = await authorize.prepare(call_for(up, origin))
    call = msgspec.structs.replace(call_for(up, target), chat=chat, origin=origin)
    question = _Question(counter, row.unable, _saying(counter, call, target))
    kept: dict[bytes, int] = up.sessions.setdefault(__name__, {})
    key = await anyio.to_thread.run_sync(_key, origin, question.request)
    known = kept.pop(key, None)
    tokens = await _answer(up, state, origin, question) if known is None else known
    if tokens is None:
        return None
    kept[key] = tokens
    if len(kept) > MAX_KEPT:
        del kept[next(iter(kept))]
    return Counted(tokens, counter.EXACT, known is not None)


def _saying(counter: TokenCounter, call: Call, target: Target) -> Call:
    """Return *call* with the request that asks *target*."""
    request = counter.encode_count(cast("Chat", call.chat), target.route)
    return msgspec.structs.replace(call, target=target, request=request)


def _key(target: Target, request: HttpRequest) -> bytes:
    """Return what a count is remembered by: who is asked, as whom, and every byte of the question."""
    secret = target.credential.reveal() if target.credential else None
    head = msgspec.json.encode([target.route.provider, target.route.model, secret, request.url, request.headers])
    return hashlib.sha256(hashlib.sha256(head).digest() + request.body).digest()


async def _answer(up: Upstream, state: RequestState, origin: Target, question: _Question) -> int | None:
    """Ask until the provider answers or there is no sense in asking again."""
    chat, gate = cast("Chat", question.call.chat), gate_of(up, origin)
    most = max_attempts(up, origin, chat)
    tried, paid, renewed = 1, 0, False
    while True:
        try:
            state.progress.phase = "queue"
            patience_ms = state.remaining_ms if tried < most else 0
            async with gate.slot(chat.options.priority, patience_ms, origin.route.model) as turn:
                tokens = await _ask(up, state, question)
                turn.succeeded()
        except SidecarError as error:
            failure = authorize.hide(error, question.call.target, state.progress.authorized)
            if not renewed and (target := await authorize.renew(question.call, error)) is not None:
                renewed, question = True, question._replace(call=_saying(question.counter, question.call, target))
                continue
            wait_ms, paid = retry.paid_wait_ms(failure.body, tried, most, state.remaining_ms, gate.budget)
            if wait_ms is None:
                raise failure from None
        else:
            gate.budget.give_back(paid)
            return tokens
        await anyio.sleep(wait_ms / 1000)
        tried += 1


async def _ask(up: Upstream, state: RequestState, question: _Question) -> int | None:
    """Ask once. What the reply says of limits is not learned: counts have their own."""
    state.progress.tries += 1
    counter, request = question.counter, question.request
    state.progress.authorized = authorized = await authorize.headers(question.call)
    async with up.http.send(request, authorized, LIMITS, state.progress) as response:
        if response.status >= 300:
            body = await read_error_body(response)
            failure = counter.classify(response.status, response.headers, body)
            if failure.body.code in question.unable:
                return None
            raise failure
        return counter.decode_count(await read_body(response))
