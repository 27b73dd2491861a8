"""For what a provider and its models can be asked: chats, completions, embeddings, reranks. [pure]

Must not know how any of them is asked.
"""

from collections.abc import Mapping
from types import MappingProxyType

from sidecar.catalogue.models import ModelKind
from sidecar.catalogue.provider_rows import NO_CHAT, ProviderRow
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.providers.values import ResolvedProvider, Target

ACTIONS: Mapping[ModelKind, str] = MappingProxyType(
    {"chat": "stream_chat", "completion": "complete", "embedding": "embed", "rerank": "rerank"}
)
"""Kind → the action for its models."""


def list_kinds(row: ProviderRow) -> list[ModelKind]:
    """Return the kinds of models that the provider of *row* can be asked for."""
    has: dict[ModelKind, bool] = {
        "chat": row.wire != NO_CHAT,
        "completion": bool(row.completion.wire),
        "embedding": bool(row.embeddings),
        "rerank": bool(row.rerank),
    }
    return [kind for kind, known in has.items() if known]


def require_chat_provider(resolved: ResolvedProvider) -> None:
    """Check that the provider can be asked to chat.

    Raises: SidecarError `invalid_request`, which says what it can be asked for.
    """
    row = resolved.provider.row
    if row.wire == NO_CHAT and resolved.spec.wire is None:
        raise _make_error(f"{row.name} has no chat.", list_kinds(row))


def require_chat_model(target: Target) -> None:
    """Check that the target's model can be asked to chat, as far as that is known.

    Raises: SidecarError `invalid_request`, which says what it can be asked for.
    """
    if target.model_row and target.model_row.kind != "chat":
        kind = target.model_row.kind
        raise _make_error(f"`params.model` has no chat: it is for {PURPOSES[kind]}.", [kind])


PURPOSES: Mapping[ModelKind, str] = MappingProxyType(
    {"chat": "chats", "completion": "completions", "embedding": "embeddings", "rerank": "reranks"}
)
"""Kind → what its models are for, in words."""


def _make_error(message: str, kinds: list[ModelKind]) -> SidecarError:
    actions = [f"`{ACTIONS[kind]}`" for kind in kinds if kind in ACTIONS]
    hint = f"Ask it with {' or '.join(actions)}, or choose another model." if actions else "Choose another model."
    return invalid_request(message, "params.model", hint=hint).with_fields(reason="no_chat")
