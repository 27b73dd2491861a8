"""The wires for vectors by name, each imported on first use. [pure]"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sidecar.wires.embeddings.types import EmbeddingWire


def _import_cloudflare() -> EmbeddingWire:
    from sidecar.wires.embeddings import cloudflare

    return cloudflare


def _import_cohere() -> EmbeddingWire:
    from sidecar.wires.embeddings import cohere

    return cohere


def _import_gemini_content() -> EmbeddingWire:
    from sidecar.wires.embeddings import gemini_content

    return gemini_content


def _import_gemini() -> EmbeddingWire:
    from sidecar.wires.embeddings import gemini

    return gemini


def _import_nova() -> EmbeddingWire:
    from sidecar.wires.embeddings import nova

    return nova


def _import_ollama() -> EmbeddingWire:
    from sidecar.wires.embeddings import ollama

    return ollama


def _import_gemini_predictions() -> EmbeddingWire:
    from sidecar.wires.embeddings import gemini_predictions

    return gemini_predictions


def _import_titan() -> EmbeddingWire:
    from sidecar.wires.embeddings import titan

    return titan


def _import_usual() -> EmbeddingWire:
    from sidecar.wires.embeddings import usual

    return usual


WIRES: Mapping[str, Callable[[], EmbeddingWire]] = MappingProxyType(
    {
        "cloudflare": _import_cloudflare,
        "cohere": _import_cohere,
        "gemini_content": _import_gemini_content,
        "gemini": _import_gemini,
        "nova": _import_nova,
        "ollama": _import_ollama,
        "gemini_predictions": _import_gemini_predictions,
        "titan": _import_titan,
        "usual": _import_usual,
    }
)
"""What imports a wire, by the name that the column `wire` of a row of `embeddings` gives."""


def load(name: str) -> EmbeddingWire:
    """Return the wire called *name*."""
    return WIRES[name]()
