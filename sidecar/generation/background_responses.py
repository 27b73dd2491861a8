"""Background responses, which the provider continues even if nobody listens.

They are resumed after a broken connection, and cancelled at the provider when they are no longer needed.
Must not know any wire or provider.
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
"""How many further connections one answer may take."""

RECONNECT_SECONDS = 0.5
"""The delay before the second of them. The first comes at once, and before the third the delay doubles."""

CANCEL_SECONDS = 5.0


def is_background(chat: Chat) -> bool:
    """Return whether the provider continues the answer to *chat* by itself."""
    return chat.options.provider_options.get("background") is True or _is_resumed(chat)


def encode_request(plan: ChatPlan) -> Encoded:
    """Return the request of *plan*: for a new answer, or for all events of one that began earlier.

    Raises: SidecarError `invalid_request`.
    """
    chat, route = plan.chat, plan.target.route
    if isinstance(chat, ResumeChat) and _is_resumed(chat):
        return Encoded(_load_continuing_wire(route.wire).continue_request(route, chat.response_id or "", None))
    return registry.load(route.wire).encode(chat, route)


def find_last_seen(chat: Chat) -> int | None:
    """Return the number of the last event that the host has seen, or None for a new answer."""
    return chat.starting_after if isinstance(chat, ResumeChat) and _is_resumed(chat) else None


def _is_resumed(chat: Chat) -> bool:
    return isinstance(chat, ResumeChat) and chat.method == "cursor"


def _load_continuing_wire(wire: str) -> ContinuingWire:
    module = registry.load(wire)
    if not hasattr(module, "continue_request"):
        raise invalid_request("`params.method`: this model's answers cannot be resumed.", "params.method")
    return cast("ContinuingWire", module)


async def _read_across_connections(
    up: Upstream, state: RequestState, plan: ChatPlan, stream: ResponseStream, response: Response
) -> AsyncGenerator[bytes, None]:
    """Yield the body of *response* and, after a break, the rest from further connections.

    Raises: SidecarError, the failure of the last connection.
    """
    failure: SidecarError | None = None
    timeouts = choose_timeouts(plan.target, plan.chat.options.timeouts).for_http
    try:
        async for data in response.body:
            yield data
    except SidecarError as error:
        failure = error
    for number in range(MAX_RECONNECTS):
        cursor = stream.cursor
        if stream.finished or cursor is None:
            break
        await anyio.sleep(RECONNECT_SECONDS * number)
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
async def open_body(
    up: Upstream, state: RequestState, plan: ChatPlan, stream: ResponseStream, response: Response
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Give the bytes of an answer, beginning with those of *response*, over further connections after a break.

    Leaving the context cancels the answer at the provider, unless it is finished or can still be resumed.
    """
    try:
        async with aclosing(_read_across_connections(up, state, plan, stream, response)) as body:
            yield body
        if not stream.finished:
            # The request has reached one of its limits.
            _start_cancelling(up, plan, stream)
    except BaseException:
        if is_abandoned(state, plan.chat):
            _start_cancelling(up, plan, stream)
        raise


def is_abandoned(state: RequestState, chat: Chat) -> bool:
    """Return whether nobody will ask for the rest of an interrupted answer.

    Either the host has cancelled it, or the host has seen nothing of it, so that another answer may take its place.
    """
    return state.is_cancelled_by_host or (not state.progress.delivered and not _is_resumed(chat))


def _start_cancelling(up: Upstream, plan: ChatPlan, stream: ResponseStream) -> None:
    if stream.cursor is not None:
        up.tasks.start_soon(_cancel_at_provider, up, plan, stream.cursor)


async def _cancel_at_provider(up: Upstream, plan: ChatPlan, cursor: Cursor) -> None:
    """Cancel the answer at the provider, which would otherwise continue it and charge for it."""
    request = _load_continuing_wire(plan.target.route.wire).cancel_request(plan.target.route, cursor.response_id)
    try:
        with anyio.move_on_after(CANCEL_SECONDS):
            async with up.http.send(request, await _authorize(up, plan, request), HttpTimeouts()) as answer:
                await drain(answer)
    except SidecarError:
        # The request has ended, so nobody can be told.
        return
