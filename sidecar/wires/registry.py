"""The wires by name, each imported on first use. [pure]

A wire is a module or a package that offers

- `CODEC`: the name of the codec of its streams,
- `encode(chat, route) -> Encoded`: the HTTP request, without credentials,
- `Decoder(route)`: frames → chunks, a `StreamDecoder` of `sidecar.wires.shared.types`,
- `decode_whole(body, route) -> (decoder, chunks)`: a reply that came as one JSON document,
- `classify(status, headers, body) -> SidecarError`: an HTTP error reply.

A new wire is a module here, a row in the table, and a folder of its name under `fixtures/`. A wire
that needs more room is a package, with its encoder in `request`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sidecar.core.errors import invalid_request
from sidecar.wires.shared.types import Wire


def _import_anthropic_messages() -> Wire:
    from sidecar.wires import anthropic_messages

    return anthropic_messages


def _import_bedrock_converse() -> Wire:
    from sidecar.wires import bedrock_converse

    return bedrock_converse


def _import_cloudflare() -> Wire:
    from sidecar.wires import cloudflare

    return cloudflare


def _import_gemini() -> Wire:
    from sidecar.wires import gemini

    return gemini


def _import_ollama() -> Wire:
    from sidecar.wires import ollama

    return ollama


def _import_openai_chat() -> Wire:
    from sidecar.wires import openai_chat

    return openai_chat


def _import_openai_responses() -> Wire:
    from sidecar.wires import openai_responses

    return openai_responses


_WIRES: Mapping[str, Callable[[], Wire]] = MappingProxyType(
    {
        "anthropic_messages": _import_anthropic_messages,
        "bedrock_converse": _import_bedrock_converse,
        "cloudflare": _import_cloudflare,
        "gemini": _import_gemini,
        "ollama": _import_ollama,
        "openai_chat": _import_openai_chat,
        "openai_responses": _import_openai_responses,
    }
)
"""What imports a wire, by its name."""


def list_names() -> tuple[str, ...]:
    """Return the names of all wires."""
    return tuple(_WIRES)


def load(name: str) -> Wire:
    """Return the wire called *name*.

    Raises: SidecarError `invalid_request` when there is none.
    """
    if name not in _WIRES:
        raise invalid_request(
            f"`params.options.wire` must be one of: {', '.join(list_names())}.", "params.options.wire"
        )
    return _WIRES[name]()
