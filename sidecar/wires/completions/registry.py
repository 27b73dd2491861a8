"""The wires of completions by name, each imported on first use. [pure]

A new wire is a module here with the five names of `CompletionWire`, a row in the table, and a folder of its name under
`fixtures/`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sidecar.wires.completions.types import CompletionWire


def _import_copilot_completions() -> CompletionWire:
    from sidecar.wires.completions import copilot_completions

    return copilot_completions


def _import_llamacpp_infill() -> CompletionWire:
    from sidecar.wires.completions import llamacpp_infill

    return llamacpp_infill


def _import_mistral_fim() -> CompletionWire:
    from sidecar.wires.completions import mistral_fim

    return mistral_fim


def _import_ollama_generate() -> CompletionWire:
    from sidecar.wires.completions import ollama_generate

    return ollama_generate


def _import_openai_completions() -> CompletionWire:
    from sidecar.wires.completions import openai_completions

    return openai_completions


def _import_sourcegraph_code() -> CompletionWire:
    from sidecar.wires.completions import sourcegraph_code

    return sourcegraph_code


def _import_tabby_completions() -> CompletionWire:
    from sidecar.wires.completions import tabby_completions

    return tabby_completions


COMPLETION_WIRES: Mapping[str, Callable[[], CompletionWire]] = MappingProxyType(
    {
        "copilot_completions": _import_copilot_completions,
        "llamacpp_infill": _import_llamacpp_infill,
        "mistral_fim": _import_mistral_fim,
        "ollama_generate": _import_ollama_generate,
        "openai_completions": _import_openai_completions,
        "sourcegraph_code": _import_sourcegraph_code,
        "tabby_completions": _import_tabby_completions,
    }
)
"""What imports a wire, by the name that the column `completion.wire` of a provider's table gives."""


def load(name: str) -> CompletionWire:
    """Return the wire called *name*, which is one of the table."""
    return COMPLETION_WIRES[name]()
