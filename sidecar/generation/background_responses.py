"""Background responses, which their provider goes on with whoever listens.

Resumed where the connection broke, cancelled at the provider where nobody wants them. Must not know any wire or
provider.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import cast

import anyio
import msgspec

from protocol.requests import Chat, ResumeChat
from sidecar.auth import authorize
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.http import HttpRequest, HttpTimeouts, Response
from sidecar.core.http_bodies import drain
from sidecar.core.request_state import RequestState
from sidecar.generation.recovery import ChatPlan
from sidecar.generation.response_stream import ResponseStream
from sidecar.generation.timeouts import choose_timeouts
from sidecar.upstream.ask import check_status
from sidecar.upstream.context import Upstream, make_call
from sidecar.wires import registry
from sidecar.wires.shared.types import ContinuingWire, Cursor, Encoded

MAX_RECONNECTS = 3
"""Connections made for one answer after the first has broken."""

RECONNECT_SECONDS = 0.5
"""The delay before the second of them; before the third it is twice as long."""

CANCEL_SECONDS = 5.0


def is_background(chat: Chat) -> bool:
    """Return whether the provider goes on with the answer to *chat* by itself."""
    return chat.options.provider_options.get("background") is True or _is_resumed(chat)


def encode_request(plan: ChatPlan) -> Encoded:
    """Return the request of *plan*: for a new answer, or for all of one that has begun before.

    Raises: SidecarError `invalid_request`.
    """
    chat, route = plan.chat, plan.target.route
    if isinstance(chat, ResumeChat) and _is_resumed(chat):
        return Encoded(_load_continuing_wire(route.wire).continue_request(route, chat.response_id or "", None))
    return registry.load(route.wire).encode(chat, route)


def find_last_seen(chat: Chat) -> int | None:
    """Return the number of the last event that the host has seen, for an answer that is resumed."""
    return chat.starting_after if isinstance(chat, ResumeChat) and _is_resumed(chat) else None


def _is_resumed(chat: Chat) -> bool:
    return isinstance(chat, ResumeChat) and chat.method == "cursor"


def _load_continuing_wire(wire: str) -> ContinuingWire:
    module = registry.load(wire)
    if not hasattr(module, "continue_request"):
        raise invalid_request("`params.method`: this model's answers cannot be resumed.", "params.method")
    return cast("ContinuingWire", module)


async def _read_on(
    up: Upstream, state: RequestState, plan: ChatPlan, stream: ResponseStream, response: Response
) -> AsyncGenerator[bytes, None]:
    """Yield the body of *response* and, where it breaks off, the rest from other connections.

    Raises: SidecarError as the last of them failed.
    """
    failure: SidecarError | None = None
    timeouts = choose_timeouts(plan.target, plan.chat.options.timeouts).for_http
    try:
        async for data in response.body:
            yield data
    except SidecarError as error:
        failure = error
    for times in range(MAX_RECONNECTS):
        cursor = stream.cursor
        if stream.finished or cursor is None:
            break
        await anyio.sleep(RECONNECT_SECONDS * times)
        stream.expect_new_connection()
        wire, route = _load_continuing_wire(plan.target.route.wire), plan.target.route
        request = wire.continue_request(route, cursor.response_id, cursor.sequence)
        try:
            async with up.http.send(request, await _authorize(up, plan, request), timeouts, state.progress) as rest:
                await check_status(rest, wire.classify)
                async for data in rest.body:
                    yield data
            failure = None
        except SidecarError as error:
            failure = error
    if failure is not None:
        raise failure


async def _authorize(up: Upstream, plan: ChatPlan, request: HttpRequest) -> dict[str, str]:
    call = msgspec.structs.replace(make_call(up, plan.target), request=request, chat=plan.chat)
    return (await authorize.make_headers(call)).headers


@asynccontextmanager
async def follow(
    up: Upstream, state: RequestState, plan: ChatPlan, stream: ResponseStream, response: Response
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Give the bytes of an answer from *response* on, over further connections where it breaks off.

    Leaving ends the answer at the provider unless it is finished or can still be resumed.
    """
    try:
        async with aclosing(_read_on(up, state, plan, stream, response)) as body:
            yield body
        if not stream.finished:
            # The request has reached a limit of its own.
            _abandon(up, plan, stream)
    except BaseException:
        if is_unwanted(state, plan.chat):
            _abandon(up, plan, stream)
        raise


def is_unwanted(state: RequestState, chat: Chat) -> bool:
    """Return whether nobody will ask for the rest of an answer that broke off.

    The host has cancelled it, or has seen nothing of it: then another answer takes its place, or none.
    """
    return state.is_cancelled_by_host or (not state.progress.delivered and not _is_resumed(chat))


def _abandon(up: Upstream, plan: ChatPlan, stream: ResponseStream) -> None:
    if stream.cursor is not None:
        up.tasks.start_soon(_cancel_at_provider, up, plan, stream.cursor)


async def _cancel_at_provider(up: Upstream, plan: ChatPlan, cursor: Cursor) -> None:
    """End the answer at the provider, which would go on with it and charge for it."""
    request = _load_continuing_wire(plan.target.route.wire).cancel_request(plan.target.route, cursor.response_id)
    try:
        with anyio.move_on_after(CANCEL_SECONDS):
            async with up.http.send(request, await _authorize(up, plan, request), HttpTimeouts()) as answer:
                await drain(answer)
    except SidecarError:
        # The host has had its last word; there is nobody to tell.
        return
