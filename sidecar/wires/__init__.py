"""Wire formats: one module or package each, pure, found by name and imported on first use.

A wire module offers

- `CODEC`: the name of the codec of its streams,
- `encode(chat, route) -> Encoded`: the HTTP request, without credentials,
- `Decoder(route)`: frames → chunks (see `sidecar.wires.types.StreamDecoder`),
- `decode_whole(body, route) -> Decoder`: a reply that came as one JSON document,
- `classify(status, headers, body) -> SidecarError`: an HTTP failure.

Adding a wire is adding a module here and a folder of its name under `fixtures/`; one that needs
the room is a package, with its encoder in `request`. What wires share stands beside them.
"""

import importlib
import pkgutil
from functools import cache
from typing import cast

from sidecar.errors import invalid
from sidecar.wires.types import Wire

NOT_WIRES = frozenset({"calls", "common", "costs", "counts", "draft", "faults", "types"})
"""What the wires are made of."""


@cache
def names() -> tuple[str, ...]:
    """Return the names of all wires."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in NOT_WIRES))


@cache
def load(name: str) -> Wire:
    """Return the wire called *name*.

    Raises: SidecarError `invalid_request` when there is none.
    """
    if name not in names():
        raise invalid(
            f"`params.options.wire` names no wire; there are: {', '.join(names())}.",
            "params.options.wire",
        )
    return cast("Wire", importlib.import_module(f"sidecar.wires.{name}"))
