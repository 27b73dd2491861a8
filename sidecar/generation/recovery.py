"""One more try, changed, after a refusal that says what to change: before anything was delivered, each kind once.

Knows the reasons that wires and providers give for a refusal. Must not know retries of the
same request.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from protocol.replies import Warn
from protocol.requests import Chat
from sidecar.auth import authorize
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest
from sidecar.core.request_state import RequestState
from sidecar.core.secret import Secret
from sidecar.providers.resolve import Target
from sidecar.upstream import model_lists
from sidecar.upstream.context import Upstream, call_for
from sidecar.upstream.gates import REFUSED
from sidecar.wires import registry


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask, and how it has been changed so far."""

    target: Target
    origin: Target
    """The target as it was resolved."""
    chat: Chat
    warnings: list[Warn] = []
    keys: tuple[Secret, ...] = ()
    """The credentials of the user's that may ask and were not refused yet."""
    whole: bool = False
    """Ask for the whole reply in place of a stream."""
    done: frozenset[str] = frozenset()
    """The kinds of change already made."""

    def reshape(self, request: HttpRequest) -> HttpRequest:
        """Return *request* as the plan wants it sent."""
        if not self.whole:
            return request
        reshaped: HttpRequest = registry.load(self.target.route.wire).whole_request(request)  # type: ignore[attr-defined]  # wires that have the reason have it
        return reshaped


async def after(up: Upstream, state: RequestState, plan: Plan, error: SidecarError) -> Plan | None:
    """Return what to ask next after *error*, or None when nothing would help."""
    for kind, change in CHANGES.items():
        if kind not in plan.done and (changed := await change(up, state, plan, error)) is not None:
            return msgspec.structs.replace(changed, done=plan.done | ({kind} - REPEATED))
    return None


async def _renew(up: Upstream, state: RequestState, plan: Plan, error: SidecarError) -> Plan | None:  # noqa: ARG001 - a change
    call = msgspec.structs.replace(call_for(up, plan.target), chat=plan.chat, origin=plan.origin)
    target = await authorize.renew(call, error)
    return None if target is None else msgspec.structs.replace(plan, target=target)


async def _whole(up: Upstream, state: RequestState, plan: Plan, error: SidecarError) -> Plan | None:  # noqa: ARG001 - a change
    return msgspec.structs.replace(plan, whole=True) if error.body.reason == "no_streaming_tools" else None


async def _profile(up: Upstream, state: RequestState, plan: Plan, error: SidecarError) -> Plan | None:
    """Name the inference profile of the region in the place of a model that cannot be called by its own name."""
    if error.body.reason != "needs_inference_profile":
        return None
    wire: Any = registry.load(plan.target.route.wire)
    document = await model_lists.get(up, plan.target, state.progress, wire.PROFILES_PATH)
    route = plan.target.route
    profile = wire.pick_profile(document, route.model, route.settings["region"])
    if profile is None:
        return None
    target = msgspec.structs.replace(plan.target, route=msgspec.structs.replace(route, model=profile))
    return msgspec.structs.replace(plan, target=target)


async def _other_key(up: Upstream, state: RequestState, plan: Plan, error: SidecarError) -> Plan | None:  # noqa: ARG001 - a change
    """Leave the key alone that was refused, where the user has another."""
    keys = tuple(key for key in plan.keys if key is not plan.origin.credential)
    if error.body.code not in REFUSED or not keys:
        return None
    return msgspec.structs.replace(plan, keys=keys)


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


async def _drop_option(up: Upstream, state: RequestState, plan: Plan, error: SidecarError) -> Plan | None:  # noqa: ARG001 - a change
    """Leave out the option that the model does not take."""
    body = error.body
    option = _DROPPABLE.get(body.param or "")
    if option is None or body.provider_code not in ("unsupported_value", "unsupported_parameter"):
        return None
    options = msgspec.structs.replace(plan.chat.options, **{option: None})
    warning = Warn(
        code="option_left_out",
        message=f"`{option}` was refused by the model and left out.",
        param=f"params.options.{option}",
    )
    chat = msgspec.structs.replace(plan.chat, options=options)
    return msgspec.structs.replace(plan, chat=chat, warnings=[*plan.warnings, warning])


CHANGES: dict[str, Callable[[Upstream, RequestState, Plan, SidecarError], Awaitable[Plan | None]]] = {
    "renew": _renew,
    "other_key": _other_key,
    "whole": _whole,
    "profile": _profile,
    "drop_option": _drop_option,
}

REPEATED = frozenset({"other_key"})
"""Of these, the kinds that are made as often as there is a reason: keys come to an end."""

OF_TARGET = frozenset({"renew", "profile"})
"""Of these, the kinds that are lost with the target."""
