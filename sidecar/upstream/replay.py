"""Provider `replay`: recorded exchanges, played through the real decode path without a key or a network.

Knows the layout of `fixtures/<wire>/<case>/`. It gives a host's tests a deterministic double, and newcomers a stream
at once.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec

from sidecar.config.values import Config
from sidecar.core import resources
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.http import Response
from sidecar.core.json_values import parse_json, read_object
from sidecar.wires import registry
from sidecar.wires.shared import undeclared_calls
from sidecar.wires.shared.types import Route

PIECE_BYTES = 160
"""About one event."""

PACE_SECONDS = 0.015
"""The pause between two pieces, as with a quick model."""


def find_folder(config: Config) -> Path:
    """Return the folder of the exchanges: the user's, or the one that comes with the program."""
    if config.replay_dir:
        return Path(config.replay_dir)
    return resources.find_fixtures()


def list_exchanges(config: Config) -> list[str]:
    """Return the exchanges that can be played, as `wire/case`."""
    wires = registry.list_names()
    cases = (path.parent for path in find_folder(config).glob("*/*/response.*"))
    return sorted(f"{case.parent.name}/{case.name}" for case in cases if case.parent.name in wires)


class _Head(msgspec.Struct):
    status: int = 200
    headers: dict[str, str] = {}


@asynccontextmanager
async def send(config: Config, route: Route) -> AsyncIterator[Response]:
    """Give the reply recorded for *route*'s wire and model.

    Raises: SidecarError `model_not_found` for an unknown exchange, `invalid_request` for a malformed `head.json`.
    """
    name, exchanges = f"{route.wire}/{route.model}", list_exchanges(config)
    if name not in exchanges:
        hint = "The folder in SIDECAR_REPLAY_DIR or in [replay] of the configuration has no exchanges."
        text = "There is no such exchange to replay; `list_models` lists them."
        raise SidecarError("model_not_found", text, hint=None if exchanges else hint)
    case = find_folder(config) / name
    head = _Head()
    if (case / "head.json").exists():
        try:
            head = msgspec.json.decode((case / "head.json").read_bytes(), type=_Head)
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = "The exchange's `head.json` must be an object with `status`, a number, and `headers`, of strings."
            raise invalid_request(text, "params.model") from None
    body = next(case.glob("response.*")).read_bytes()
    yield Response(head.status, head.headers, _pace_body(body))


def list_tool_names(config: Config, route: Route) -> frozenset[str] | None:
    """Return the names of the tools that the recorded request declared, or None if that is not known."""
    try:
        call = parse_json((find_folder(config) / route.wire / route.model / "call.json").read_bytes())
    except OSError:
        return None
    params = read_object(read_object(call).get("params"))
    return undeclared_calls.read_tool_names(read_object(params.get("options")))


async def _pace_body(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]
        await anyio.sleep(PACE_SECONDS)
