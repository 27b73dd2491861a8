"""The changes to a chat after a refusal. Each kind of change is made once.

Knows the reasons that wires and providers give for a refusal. Changes that help any question, such as a fresh
credential, are in `sidecar.upstream.plan`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import msgspec

from protocol.replies import Warn
from protocol.requests import Chat
from protocol.routes import Routed
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest
from sidecar.upstream import model_lists
from sidecar.upstream.context import Upstream
from sidecar.upstream.plan import Change, Plan
from sidecar.usage.spending import Reservation
from sidecar.wires import registry
from sidecar.wires.shared.types import RecoverableWire

if TYPE_CHECKING:
    from sidecar.reuse.recording import Recording


class ChatPlan(Plan, frozen=True, kw_only=True):
    """How a chat is asked, and which changes were made so far."""

    chat: Chat
    warnings: list[Warn]
    is_whole: bool = False
    """Ask for the whole reply instead of a stream."""
    reservation: Reservation | None = None
    """What is reserved of the budgets for the chat."""
    route: Routed | None = None
    """The choice among the models of a route."""
    recording: "Recording | None" = None
    """The sink that may store the answer."""

    def adapt_request(self, request: HttpRequest) -> HttpRequest:
        """Return *request* as the plan wants it sent."""
        return _load_recoverable_wire(self.target.route.wire).make_whole_request(request) if self.is_whole else request


def _load_recoverable_wire(name: str) -> RecoverableWire:
    """Return the wire of an error that has one of the reasons of such a wire."""
    return cast("RecoverableWire", registry.load(name))


async def _ask_for_whole_reply(up: Upstream, plan: ChatPlan, error: SidecarError) -> ChatPlan | None:  # noqa: ARG001 - a change
    return msgspec.structs.replace(plan, is_whole=True) if error.body.reason == "no_streaming_tools" else None


async def _use_inference_profile(up: Upstream, plan: ChatPlan, error: SidecarError) -> ChatPlan | None:
    """Ask for the inference profile of the region when the model cannot be called by its own name."""
    if error.body.reason != "needs_inference_profile":
        return None
    wire = _load_recoverable_wire(plan.target.route.wire)
    document = await model_lists.fetch_document(up, plan.target, wire.PROFILES_PATH)
    route = plan.target.route
    profile = wire.pick_profile(document, route.model, route.settings["region"])
    if profile is None:
        return None
    target = msgspec.structs.replace(plan.target, route=msgspec.structs.replace(route, model=profile))
    return msgspec.structs.replace(plan, target=target)


_DROPPABLE = {
    "temperature": "temperature",
    "top_p": "top_p",
    "stop": "stop",
    "stop_sequences": "stop",
    "seed": "seed",
    "parallel_tool_calls": "parallel_tool_calls",
    "reasoning_effort": "reasoning",
    "reasoning.effort": "reasoning",
}
"""The provider's name of an option → ours, for those that an answer can do without."""


async def _drop_option(up: Upstream, plan: ChatPlan, error: SidecarError) -> ChatPlan | None:  # noqa: ARG001 - a change
    """Leave out the option that the model does not accept."""
    body = error.body
    # Most wires name the host's field, and some errors still the provider's.
    option = _DROPPABLE.get((body.param or "").removeprefix("params.options."))
    if option is None or body.provider_code not in ("unsupported_value", "unsupported_parameter"):
        return None
    options = msgspec.structs.replace(plan.chat.options, **{option: None})
    warning = Warn(
        code="option_left_out",
        message=f"The model refused `{option}`, so it was left out.",
        param=f"params.options.{option}",
    )
    chat = msgspec.structs.replace(plan.chat, options=options)
    return msgspec.structs.replace(plan, chat=chat, warnings=[*plan.warnings, warning])


CHANGES: Mapping[str, Change[ChatPlan]] = {
    "whole": Change(_ask_for_whole_reply),
    "profile": Change(_use_inference_profile, per="key"),
    "drop_option": Change(_drop_option),
}
