"""The ways of counting tokens by name, each imported on first use. [pure]"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sidecar.wires.shared.types import TokenCounter


def _import_anthropic_messages() -> TokenCounter:
    from sidecar.wires.counts import anthropic_messages

    return anthropic_messages


def _import_bedrock_converse() -> TokenCounter:
    from sidecar.wires.counts import bedrock_converse

    return bedrock_converse


def _import_gemini() -> TokenCounter:
    from sidecar.wires.counts import gemini

    return gemini


def _import_openai_responses() -> TokenCounter:
    from sidecar.wires.counts import openai_responses

    return openai_responses


def _import_xai() -> TokenCounter:
    from sidecar.wires.counts import xai

    return xai


COUNTERS: Mapping[str, Callable[[], TokenCounter]] = MappingProxyType(
    {
        "anthropic_messages": _import_anthropic_messages,
        "bedrock_converse": _import_bedrock_converse,
        "gemini": _import_gemini,
        "openai_responses": _import_openai_responses,
        "xai": _import_xai,
    }
)
"""What imports a counter, by the name that the column `counters` of a provider's table gives as its `module`."""


def load(name: str) -> TokenCounter:
    """Return the counter called *name*."""
    return COUNTERS[name]()
