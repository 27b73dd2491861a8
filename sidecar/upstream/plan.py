"""What a provider is asked by, and how a refusal changes that: a fresh credential, another of the user's keys.

Each kind of change is made once, while nothing was delivered. Must not know what is asked.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec

from protocol.requests import Chat
from sidecar.auth import authorize
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Secret
from sidecar.providers.values import Target
from sidecar.upstream.context import Upstream, make_call
from sidecar.upstream.gates.gate import REFUSED


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ask, and what was changed so far."""

    target: Target
    origin: Target
    """The target as it was resolved."""
    keys: tuple[Secret, ...] = ()
    """The user's credentials that may ask and were not refused yet."""
    done: frozenset[str] = frozenset()
    """The kinds of change already made."""
    chat: Chat | None = None
    """The chat that is asked, or asked about: some schemes look at it."""


AnyPlan = TypeVar("AnyPlan", bound=Plan)

Change = Callable[[Upstream, AnyPlan, SidecarError], Awaitable[AnyPlan | None]]


def make_plan(target: Target, chat: Chat | None = None) -> Plan:
    """Return the plan of a question to *target*."""
    return Plan(target=target, origin=target, keys=target.keys, chat=chat)


def pick_key(up: Upstream, plan: AnyPlan) -> AnyPlan:
    """Return *plan* with that of its keys whose gate lets it in first."""
    best = up.gates.pick_origin(plan.origin, plan.keys)
    if best is plan.origin:
        return plan
    return msgspec.structs.replace(plan, target=best, origin=best, done=plan.done - LOST_WITH_TARGET)


async def prepare(up: Upstream, plan: AnyPlan) -> AnyPlan:
    """Return *plan* with what its credential knows of the address, unless a change has been there already."""
    if plan.target is not plan.origin:
        return plan
    return msgspec.structs.replace(plan, target=await authorize.prepare(make_call(up, plan.origin)))


async def recover(
    up: Upstream, plan: AnyPlan, error: SidecarError, changes: "Mapping[str, Change[AnyPlan]] | None" = None
) -> AnyPlan | None:
    """Return what to ask next after *error*, or None when nothing would help."""
    for kind, change in {**CHANGES, **(changes or {})}.items():
        changed: AnyPlan | None = None if kind in plan.done else await change(up, plan, error)
        if changed is not None:
            return msgspec.structs.replace(changed, done=plan.done | ({kind} - REPEATED))
    return None


async def _renew(up: Upstream, plan: AnyPlan, error: SidecarError) -> AnyPlan | None:
    call = msgspec.structs.replace(make_call(up, plan.target), chat=plan.chat, origin=plan.origin)
    target = await authorize.renew(call, error)
    return None if target is None else msgspec.structs.replace(plan, target=target)


async def _leave_key(up: Upstream, plan: AnyPlan, error: SidecarError) -> AnyPlan | None:  # noqa: ARG001 - a change
    """Leave the refused key alone, where the user has another."""
    keys = tuple(key for key in plan.keys if key is not plan.origin.credential)
    if error.body.code not in REFUSED or not keys:
        return None
    return msgspec.structs.replace(plan, keys=keys)


CHANGES: "Mapping[str, Change[Any]]" = {"renew": _renew, "other_key": _leave_key}
"""For any question; a chat knows more of them (`sidecar.generation.recovery`)."""

REPEATED = frozenset({"other_key"})
"""Changes made as often as there is a reason: keys come to an end."""

LOST_WITH_TARGET = frozenset({"renew", "profile"})
"""Changes that another key must make again."""
