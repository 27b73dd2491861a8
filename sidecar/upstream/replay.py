"""Provider `replay`: recorded exchanges played through the real decode path, without a key or a network.

Knows the layout of `fixtures/<wire>/<case>/`. A host's own tests have a deterministic double
in it, and a newcomer sees a stream at once.
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
from sidecar.wires import registry
from sidecar.wires.shared.types import Route

PIECE_BYTES = 160
"""About one event."""

PACE_SECONDS = 0.015
"""Between two pieces: the speed of a quick model."""


def folder(config: Config) -> Path:
    """Return where the exchanges are: the user's folder, or those that come with the program."""
    if config.replay_dir:
        return Path(config.replay_dir)
    return resources.find_fixtures()


def list_exchanges(config: Config) -> list[str]:
    """Return the exchanges that can be played, as `wire/case`."""
    known = registry.list_names()
    found = (path.parent for path in folder(config).glob("*/*/response.*"))
    return sorted(f"{case.parent.name}/{case.name}" for case in found if case.parent.name in known)


class _Head(msgspec.Struct):
    status: int = 200
    headers: dict[str, str] = {}


@asynccontextmanager
async def send(config: Config, route: Route) -> AsyncIterator[Response]:
    """Give the reply recorded for *route*'s wire and model.

    Raises: SidecarError `model_not_found` for a name that is no exchange, `invalid_request` for a head that is none.
    """
    name, known = f"{route.wire}/{route.model}", list_exchanges(config)
    if name not in known:
        hint = None if known else "Look at SIDECAR_REPLAY_DIR and [replay] of the configuration: that folder has none."
        text = "There is no such exchange to replay; `list_models` names them all."
        raise SidecarError("model_not_found", text, hint=hint)
    case = folder(config) / name
    head = _Head()
    if (case / "head.json").exists():
        try:
            head = msgspec.json.decode((case / "head.json").read_bytes(), type=_Head)
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = "The exchange's `head.json` must be an object with `status`, a number, and `headers`, of strings."
            raise invalid_request(text, "params.model") from None
    body = next(case.glob("response.*")).read_bytes()
    yield Response(head.status, head.headers, _paced(body))


async def _paced(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), PIECE_BYTES):
        yield body[at : at + PIECE_BYTES]
        await anyio.sleep(PACE_SECONDS)
