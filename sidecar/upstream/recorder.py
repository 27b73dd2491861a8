"""`--record DIR`: exchanges as they happen, written in the layout that `replay` plays.

Credentials are never written. Must not change what the chat receives.
"""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
import msgspec

from protocol.requests import Chat
from sidecar.auth.redaction import redact_bytes
from sidecar.core.http import HttpRequest, Response
from sidecar.core.log import log
from sidecar.core.private_files import RefusedError, make_folder, open_file
from sidecar.wires.shared.types import Route

MAX_RECORD_BYTES = 16 * 1024 * 1024
"""How much of one reply is recorded."""

RECORDED_HEADERS = frozenset({"content-type", "request-id", "x-request-id", "retry-after", "retry-after-ms"})

_numbers = count(1)


class _Recording(NamedTuple):
    """What is known of an exchange before its reply is read."""

    directory: str
    chat: Chat
    route: Route
    request: HttpRequest
    response: Response
    secrets: Sequence[str]


def record_response(
    directory: str, chat: Chat, route: Route, request: HttpRequest, response: Response, secrets: Sequence[str]
) -> Response:
    """Return *response* with a body that is copied while it is read, and written to *directory* when it ends.

    A provider may repeat the credentials of the request, so *secrets* are removed from everything that is written.
    """
    recording = _Recording(directory, chat, route, request, response, secrets)
    return Response(response.status, response.headers, _copy_body(recording))


async def _copy_body(recording: _Recording) -> AsyncIterator[bytes]:
    copy = bytearray()
    try:
        async for data in recording.response.body:
            if len(copy) < MAX_RECORD_BYTES:
                copy += data
            yield data
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_write, recording, bytes(copy))


def _write(recording: _Recording, body: bytes) -> None:
    directory, chat, route, request, response, secrets = recording
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    name = re.sub(r"[^\w.-]+", "-", route.model)[:60].strip("-.") or "model"
    case = Path(directory) / route.wire / f"{stamp}-{next(_numbers):03}-{name}"
    params = msgspec.structs.replace(chat, model=route.model, api_key=None, base_url=None, settings=None)
    call = {"provider": route.provider, "params": _drop_nulls(msgspec.to_builtins(params))}
    sent = {
        "method": request.method,
        "url": re.sub(r"\?.*$", "", request.url),
        "headers": {key: value for key, value in request.headers.items() if key in RECORDED_HEADERS},
        "body": msgspec.json.decode(request.body) if request.body else None,
    }
    # What the host has put into the options of the provider authorizes too.
    hidden = [*secrets, *_find_credentials(call["params"].get("options"))]
    head = {
        "status": response.status,
        "headers": {key: value for key, value in response.headers.items() if key in RECORDED_HEADERS},
    }
    try:
        make_folder(case)
        _write_file(case / "response.bin", redact_bytes(body, hidden))
        for file, content in (("call.json", call), ("request.json", sent), ("head.json", head)):
            document = msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
            _write_file(case / file, redact_bytes(document, hidden))
    except OSError as error:
        log("error", "record.failed", reason=error.strerror)
    except RefusedError:
        log("error", "record.failed", reason="link")


def _write_file(path: Path, data: bytes) -> None:
    with open_file(path, "xb") as file:
        file.write(data)


_CREDENTIAL = re.compile(
    r"authorization|cookie|passw|secret|(?:access|api|auth|bearer|id|refresh|session)[-_]?(?:key|token)", re.IGNORECASE
)
"""The names of fields that hold a credential, such as those of a server of tools in `provider_options`."""

_CREDENTIALS = frozenset({"key", "token", "credential", "credentials", "user_code"})


def names_credential(name: str) -> bool:
    """Return whether a field of that *name* holds a credential."""
    return _CREDENTIAL.search(name) is not None or name.lower() in _CREDENTIALS


def _find_credentials(value: Any) -> Iterator[str]:
    """Yield the strings of *value*, plain JSON, that stand under the name of a credential."""
    if isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, str) and names_credential(name):
                yield each
                # The name of a scheme may precede it.
                yield each.rpartition(" ")[2]
            else:
                yield from _find_credentials(each)
    elif isinstance(value, list):
        for each in value:
            yield from _find_credentials(each)


def _drop_nulls(value: Any) -> Any:
    return {key: each for key, each in value.items() if each is not None}
