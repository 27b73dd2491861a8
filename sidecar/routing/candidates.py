"""One model that may answer a chat, and what all ways of choosing models share.

Must not know after which failures the next one is asked.
"""

import msgspec

from protocol.replies import Warn
from protocol.requests import Chat
from protocol.routes import Routed
from sidecar.config.values import Config
from sidecar.core.errors import invalid_request
from sidecar.core.request_state import RequestState
from sidecar.upstream.context import Upstream


class Candidate(msgspec.Struct, frozen=True):
    """One model to ask."""

    provider: str | None
    chat: Chat
    warnings: list[Warn] = []
    """About the models that were skipped before it."""
    route: Routed | None = None
    """The choice among the models of a route."""


def remember(up: Upstream, state: RequestState, chat: Chat, candidate: Candidate) -> None:
    """Remember the model that answered, for later rounds of the request and later chats of its conversation."""
    state.routed_model = candidate.chat.model
    if state.parent is not None and state.parent.kind == state.kind:
        # A hedged chat asks its first model as a part of itself.
        state.parent.routed_model = candidate.chat.model
    label = chat.options.route.conversation if chat.options.route else None
    if label is not None:
        up.conversations.put(label, candidate.chat.model)


def change_model(chat: Chat, model: str) -> Chat:
    """Return *chat* for another *model*, without the credential and settings for its own model."""
    options = msgspec.structs.replace(chat.options, route=None) if chat.options.route else chat.options
    return msgspec.structs.replace(chat, model=model, options=options, api_key=None, base_url=None, settings=None)


def read_models(config: Config, models: list[str] | str, param: str) -> list[str]:
    """Return *models*, or those of the chain with that name.

    Raises: SidecarError `invalid_request` for an unknown chain, naming *param*.
    """
    if isinstance(models, list):
        return models
    chain = config.chains.get(models)
    if chain is None:
        names = ", ".join(f"`{name}`" for name in sorted(config.chains)) or "none"
        text = f"There is no such chain in the configuration. Its [chains] are: {names}."
        raise invalid_request(text, param)
    return chain
