"""Provider `replay`: recorded exchanges played through the real decode path, without a key or a network.

Knows the layout of `fixtures/<wire>/<case>/`. A host's own tests have a deterministic double
in it, and a newcomer sees a stream at once.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec

from sidecar import wires
from sidecar.config import Config
from sidecar.errors import SidecarError
from sidecar.transport import Response
from sidecar.wires.types import Route

PIECE_BYTES = 160
"""About one event."""

PACE_SECONDS = 0.015
"""Between two pieces: the speed of a quick model."""


def folder(config: Config) -> Path:
    """Return where the exchanges are: the user's folder, or those that come with the program."""
    if config.replay_dir:
        return Path(config.replay_dir)
    inside = Path(__file__).parent / "fixtures"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "fixtures"


def models(config: Config) -> list[str]:
    """Return the exchanges that can be played, as `wire/case`."""
    known = wires.names()
    found = (path.parent for path in folder(config).glob("*/*/response.*"))
    return sorted(f"{case.parent.name}/{case.name}" for case in found if case.parent.name in known)


@asynccontextmanager
async def send(config: Config, route: Route) -> AsyncIterator[Response]:
    """Give the reply recorded for *route*'s wire and model.

    Raises: SidecarError `model_not_found` for a name that is no exchange.
    """
    name = f"{route.wire}/{route.model}"
    if name not in models(config):
        raise SidecarError("model_not_found", "There is no such exchange to replay; `list_models` names them all.")
    case = folder(config) / name
    head: dict[str, Any] = {"status": 200, "headers": {}}
    if (case / "head.json").exists():
        head |= msgspec.json.decode((case / "head.json").read_bytes())
    body = next(case.glob("response.*")).read_bytes()
    yield Response(head["status"], head["headers"], _paced(body))


async def _paced(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), PIECE_BYTES):
        yield body[at : at + PIECE_BYTES]
        await anyio.sleep(PACE_SECONDS)
