"""Answers that their provider goes on with whoever listens: taken up where the connection broke, ended where unwanted.

Knows what an attempt leaves behind when it fails. Must not know any wire or provider.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import cast

import anyio
import msgspec

from protocol.requests import Chat, ResumeChat
from sidecar.auth import authorize
from sidecar.core.errors import SidecarError, invalid
from sidecar.core.http import HttpRequest, HttpTimeouts, Response
from sidecar.core.http_bodies import drain, read_error_body
from sidecar.core.request_state import RequestState
from sidecar.generation import resume
from sidecar.generation.recovery import ChatPlan
from sidecar.generation.response_stream import Reply
from sidecar.upstream import http_client
from sidecar.upstream.context import Upstream, call_for
from sidecar.wires import registry
from sidecar.wires.shared.types import ContinuingWire, Cursor, Encoded

MAX_TIMES = 3
"""Connections that are made for one answer after the first has broken."""

WAIT_SECONDS = 0.5
"""Before the second of them, and twice as long before the third."""

END_SECONDS = 5.0


def _is_wanted(chat: Chat) -> bool:
    """Return whether the answer to *chat* goes on at the provider by itself."""
    return chat.options.provider_options.get("background") is True or _is_taken_up(chat)


def encoded(plan: ChatPlan) -> Encoded:
    """Return the request of *plan*: for its answer, or for all of one that has begun before.

    Raises: SidecarError `invalid_request`.
    """
    chat, route = plan.chat, plan.target.route
    if isinstance(chat, ResumeChat) and _is_taken_up(chat):
        return Encoded(_continuing(route.wire).continue_request(route, chat.response_id or "", None))
    return registry.load(route.wire).encode(chat, route)


def known_until(chat: Chat) -> int | None:
    """Return the number of the last event that the host has seen already."""
    return chat.starting_after if isinstance(chat, ResumeChat) and _is_taken_up(chat) else None


def _is_taken_up(chat: Chat) -> bool:
    return isinstance(chat, ResumeChat) and chat.method == "cursor"


def _continuing(wire: str) -> ContinuingWire:
    module = registry.load(wire)
    if not hasattr(module, "continue_request"):
        raise invalid("`params.method`: this model's answers cannot be taken up again.", "params.method")
    return cast("ContinuingWire", module)


async def _lasting(
    up: Upstream, state: RequestState, plan: ChatPlan, reply: Reply, response: Response, limits: HttpTimeouts
) -> AsyncGenerator[bytes, None]:
    """Yield the body of *response* and, where it breaks off, the rest from other connections.

    Raises: SidecarError as the last of them failed.
    """
    failure: SidecarError | None = None
    try:
        async for data in http_client.translated(response.body):
            yield data
    except SidecarError as error:
        failure = error
    for times in range(MAX_TIMES):
        cursor = reply.cursor
        if reply.finished or cursor is None:
            break
        await anyio.sleep(WAIT_SECONDS * times)
        reply.take_up()
        wire, route = _continuing(plan.target.route.wire), plan.target.route
        request = wire.continue_request(route, cursor.response_id, cursor.sequence)
        try:
            async with up.http.send(request, await _headers(up, plan, request), limits, state.progress) as rest:
                if rest.status >= 300:
                    raise wire.classify(rest.status, rest.headers, await read_error_body(rest))
                async for data in http_client.translated(rest.body):
                    yield data
            failure = None
        except SidecarError as error:
            failure = error
    if failure is not None:
        raise failure


async def _headers(up: Upstream, plan: ChatPlan, request: HttpRequest) -> dict[str, str]:
    return await authorize.headers(msgspec.structs.replace(call_for(up, plan.target), request=request, chat=plan.chat))


@asynccontextmanager
async def body(
    up: Upstream, state: RequestState, plan: ChatPlan, reply: Reply, response: Response, limits: HttpTimeouts
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Give the body of *response*, which is that of *reply*, and keep what has come of it should it fail."""
    try:
        if not _is_wanted(plan.chat):
            yield response.body
        else:
            async with aclosing(_lasting(up, state, plan, reply, response, limits)) as lasts:
                yield lasts
        if not reply.finished:
            # The request has come to a limit of its own.
            _leave_off(up, plan, reply)
    except BaseException:
        # Of what nobody has seen nobody can ask for the rest: another answer takes its place, or none.
        unseen = not state.progress.delivered and not _is_taken_up(plan.chat)
        if unseen or (state.scope.cancel_called and state.reason == "cancelled"):
            _leave_off(up, plan, reply)
        elif state.progress.delivered:
            partial = reply.partial()
            state.progress.partial = partial
            state.progress.resume = resume.best(plan.target.route, plan.chat, partial, reply.cursor)
        raise


def _leave_off(up: Upstream, plan: ChatPlan, reply: Reply) -> None:
    if reply.cursor is not None:
        up.tasks.start_soon(_end, up, plan, reply.cursor)


async def _end(up: Upstream, plan: ChatPlan, cursor: Cursor) -> None:
    """End the answer at the provider, which would go on with it, and with its price."""
    request = _continuing(plan.target.route.wire).cancel_request(plan.target.route, cursor.response_id)
    try:
        with anyio.move_on_after(END_SECONDS):
            async with up.http.send(request, await _headers(up, plan, request), HttpTimeouts()) as answer:
                await drain(answer)
    except SidecarError:
        # The host has had its last word; there is nobody to tell.
        return
