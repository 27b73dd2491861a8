"""Whom a question is sent to, and how a refusal changes that: a fresh credential, another of the user's keys.

A change is made while nothing was delivered, each kind once as a rule. Must not know what is asked.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec

from protocol.requests import Chat
from sidecar.auth import authorize
from sidecar.core.errors import SidecarError
from sidecar.core.log import log
from sidecar.core.secret import Secret
from sidecar.core.url_policy import get_origin
from sidecar.providers.values import Target
from sidecar.upstream.context import Upstream, make_call
from sidecar.upstream.gates.gate import REFUSAL_CODES


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ask, and which changes were made so far."""

    target: Target
    origin: Target
    """The target as it was resolved, before any change."""
    keys: tuple[Secret, ...] = ()
    """The user's credentials that were not refused yet."""
    changes_made: frozenset[str] = frozenset()
    """The kinds of change that were made, whatever the key."""
    changes_for_key: frozenset[str] = frozenset()
    """The kinds of change that were made for the present key."""
    chat: Chat | None = None
    """The chat that is asked or counted. Some schemes read it."""


AnyPlan = TypeVar("AnyPlan", bound=Plan)

MakeChange = Callable[[Upstream, AnyPlan, SidecarError], Awaitable[AnyPlan | None]]


class Change(NamedTuple, Generic[AnyPlan]):
    """A kind of change that may help after a refusal."""

    make: MakeChange[AnyPlan]
    """Returns the changed plan, or None when the change would not help."""
    per: Literal["question", "key", "refusal"] = "question"
    """For what it is made at most once."""


def make_plan(target: Target, chat: Chat | None = None) -> Plan:
    """Return the plan of a question to *target*."""
    return Plan(target=target, origin=target, keys=target.keys, chat=chat)


def log_target(target: Target, kind: str, number: int) -> None:
    """Log whom attempt *number* at a question of that *kind* asks, and how."""
    route, credential = target.route, target.credential
    log(
        "debug",
        "attempt.began",
        kind=kind,
        attempt=number,
        provider=route.provider,
        model=route.model,
        wire=route.wire,
        address=get_origin(route.base_url) if "//" in route.base_url else None,
        credential=credential.source if credential else None,
    )


def pick_key(up: Upstream, plan: AnyPlan) -> AnyPlan:
    """Return *plan* with the one of its keys whose gate admits it first."""
    best = up.gates.pick_origin(plan.origin, plan.keys)
    if best is plan.origin:
        return plan
    return msgspec.structs.replace(plan, target=best, origin=best, changes_for_key=frozenset())


async def prepare(up: Upstream, plan: AnyPlan) -> AnyPlan:
    """Return *plan* with the address that its credential gives, unless a change has set another target."""
    if plan.target is not plan.origin:
        return plan
    return msgspec.structs.replace(plan, target=await authorize.prepare(make_call(up, plan.origin)))


async def recover(
    up: Upstream, plan: AnyPlan, error: SidecarError, changes: "Mapping[str, Change[AnyPlan]] | None" = None
) -> AnyPlan | None:
    """Return the plan to ask next after *error*, or None when no change would help."""
    made = plan.changes_made | plan.changes_for_key
    for kind, change in {**CHANGES, **(changes or {})}.items():
        changed: AnyPlan | None = None if kind in made else await change.make(up, plan, error)
        if changed is not None:
            return _note_change(changed, kind, change)
    return None


def _note_change(plan: AnyPlan, kind: str, change: Change[AnyPlan]) -> AnyPlan:
    match change.per:
        case "question":
            return msgspec.structs.replace(plan, changes_made=plan.changes_made | {kind})
        case "key":
            return msgspec.structs.replace(plan, changes_for_key=plan.changes_for_key | {kind})
        case "refusal":
            return plan


async def _renew(up: Upstream, plan: AnyPlan, error: SidecarError) -> AnyPlan | None:
    call = msgspec.structs.replace(make_call(up, plan.target), chat=plan.chat, origin=plan.origin)
    target = await authorize.renew(call, error)
    return None if target is None else msgspec.structs.replace(plan, target=target)


async def _drop_key(up: Upstream, plan: AnyPlan, error: SidecarError) -> AnyPlan | None:  # noqa: ARG001 - a change
    """Drop the refused key if the user has another."""
    keys = tuple(key for key in plan.keys if key is not plan.origin.credential)
    if error.body.code not in REFUSAL_CODES or not keys:
        return None
    return msgspec.structs.replace(plan, keys=keys)


CHANGES: "Mapping[str, Change[Any]]" = {
    "renew": Change(_renew, per="key"),
    # The number of keys is finite.
    "other_key": Change(_drop_key, per="refusal"),
}
"""The kinds of change for any question. For more kinds for a chat see `sidecar.generation.recovery`."""
