"""Reads the body of a reply: all of it, the beginning of an error, or the rest of a finished one."""

from collections.abc import AsyncIterator, Callable

import anyio

from sidecar.core.errors import SidecarError
from sidecar.core.http import PushedBody, Response, is_encoded

MAX_ERROR_BODY_BYTES = 64 * 1024
ERROR_BODY_SECONDS = 5.0
MAX_DOCUMENT_BYTES = 32 * 1024 * 1024

DRAIN_SECONDS = 0.25
"""How long to wait for the rest of a finished reply, so that its connection can be reused."""


async def drain(response: Response) -> None:
    """Read the rest of a finished reply if it arrives soon, so that its connection can be reused."""
    with anyio.move_on_after(DRAIN_SECONDS):
        async for _ in response.body:
            pass


async def push(body: AsyncIterator[bytes], take: Callable[[bytes], bool]) -> bool:
    """Call *take* with each piece of *body* until it returns false, and return true then; false at the end.

    Raises: SidecarError where the body breaks off, and whatever *take* raises.
    """
    if isinstance(body, PushedBody):
        return await body.push(take)
    async for data in body:
        if not take(data):
            return True
    return False


async def read_body(response: Response, limit_bytes: int = MAX_DOCUMENT_BYTES) -> bytes:
    """Return the whole body.

    Raises: SidecarError `provider_error` if it is longer than *limit_bytes*.
    """
    body = bytearray()
    async for data in response.body:
        body += data
        if len(body) > limit_bytes:
            raise SidecarError("provider_error", "The provider's reply is too large.", reason="event_too_large")
    return bytes(body)


async def read_error_body(response: Response) -> bytes:
    """Return the beginning of an error's body: what arrives within a few seconds, up to 64 KiB."""
    if is_encoded(response.headers):
        return b""
    body = bytearray()
    try:
        with anyio.move_on_after(ERROR_BODY_SECONDS):
            async for data in response.body:
                body += data
                if len(body) >= MAX_ERROR_BODY_BYTES:
                    break
    except SidecarError:
        # The connection broke. The status says enough.
        pass
    return bytes(body[:MAX_ERROR_BODY_BYTES])
