"""Wire formats: one module or package each, pure, found by name and imported on first use.

A wire module offers

- `CODEC`: the name of the codec of its streams,
- `encode(chat, route) -> Encoded`: the HTTP request, without credentials,
- `Decoder(route)`: frames → chunks (see `sidecar.wires.shared.types.StreamDecoder`),
- `decode_whole(body, route) -> Decoder`: a reply that came as one JSON document,
- `classify(status, headers, body) -> SidecarError`: an HTTP failure.

Adding a wire is adding a module here and a folder of its name under `fixtures/`; one that needs
the room is a package, with its encoder in `request`. What wires share stands beside them.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

from sidecar.core.errors import invalid
from sidecar.wires.shared.types import Wire


def _anthropic_messages() -> Any:
    from sidecar.wires import anthropic_messages as wire

    return wire


def _bedrock_converse() -> Any:
    from sidecar.wires import bedrock_converse as wire

    return wire


def _cloudflare() -> Any:
    from sidecar.wires import cloudflare as wire

    return wire


def _gemini() -> Any:
    from sidecar.wires import gemini as wire

    return wire


def _ollama() -> Any:
    from sidecar.wires import ollama as wire

    return wire


def _openai_chat() -> Any:
    from sidecar.wires import openai_chat as wire

    return wire


def _openai_responses() -> Any:
    from sidecar.wires import openai_responses as wire

    return wire


_WIRES: Mapping[str, Callable[[], Any]] = MappingProxyType(
    {
        "anthropic_messages": _anthropic_messages,
        "bedrock_converse": _bedrock_converse,
        "cloudflare": _cloudflare,
        "gemini": _gemini,
        "ollama": _ollama,
        "openai_chat": _openai_chat,
        "openai_responses": _openai_responses,
    }
)
"""A wire's name → its import, which is made on first use."""


def names() -> tuple[str, ...]:
    """Return the names of all wires."""
    return tuple(_WIRES)


def load(name: str) -> Wire:
    """Return the wire called *name*.

    Raises: SidecarError `invalid_request` when there is none.
    """
    if name not in _WIRES:
        raise invalid(
            f"`params.options.wire` names no wire; there are: {', '.join(names())}.",
            "params.options.wire",
        )
    return cast("Wire", _WIRES[name]())
