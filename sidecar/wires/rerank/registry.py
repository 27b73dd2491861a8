"""The wires of reranks by name. [pure]"""

from collections.abc import Mapping
from types import MappingProxyType

from sidecar.wires.bedrock_converse import errors as aws_errors
from sidecar.wires.openai_chat import errors as usual_errors
from sidecar.wires.rerank import bedrock_agent, replies, requests
from sidecar.wires.rerank.types import RerankWire

_WIRES: Mapping[str, RerankWire] = MappingProxyType(
    {
        # Its errors are read with those of the many imitations of Chat Completions, which have the same shapes.
        "usual": RerankWire(requests.encode, replies.decode, usual_errors.classify),
        "invoke": RerankWire(requests.encode, replies.decode, aws_errors.classify),
        "agent": RerankWire(bedrock_agent.encode, replies.decode, aws_errors.classify),
    }
)


def list_names() -> tuple[str, ...]:
    """Return the names of all wires of reranks."""
    return tuple(_WIRES)


def load(name: str) -> RerankWire:
    """Return the wire called *name*, which is a name of the table."""
    return _WIRES[name]
