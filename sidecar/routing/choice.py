"""The models to ask for an answer, in order: the chat's own and its fallbacks, or those of a route.

Must not know after which failures the next one is asked.
"""

from protocol.replies import Warn
from protocol.requests import Chat
from sidecar.config.values import Config
from sidecar.core.request_state import RequestState
from sidecar.providers.model_names import apply_preset
from sidecar.routing import fallbacks
from sidecar.routing.candidates import Candidate
from sidecar.upstream.context import Upstream

AUTO = "auto"
"""The model of a chat that takes a route. Where the request names a provider, it is that provider's own model."""


async def list_candidates(up: Upstream, state: RequestState, chat: Chat) -> list[Candidate]:
    """Return the models to ask, the first one first.

    Raises: SidecarError `invalid_request` for an unknown chain, and as the route does if none of its models fits.
    """
    provider, routed = _apply_route_preset(up.config, state.provider, chat)
    if provider is None and routed.model == AUTO:
        from sidecar.routing import route  # Most chats name their model.

        return await route.list_candidates(up, state, routed)
    warnings = []
    if chat.options.route is not None:
        text = '`options.route` applies only to `"model": "auto"`.'
        warnings = [Warn(code="option_left_out", message=text, param="params.options.route")]
    return fallbacks.list_candidates(up.setup, state.provider, chat, warnings)


def _apply_route_preset(config: Config, provider: str | None, chat: Chat) -> tuple[str | None, Chat]:
    """Return provider and chat, with the preset applied if it is the name of a route."""
    preset = config.models.get(chat.model)
    if preset is None or preset["model"] != AUTO:
        return provider, chat
    return apply_preset(config, provider, chat)
