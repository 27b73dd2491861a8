"""`"model": "auto"`: the model of a route that answers a chat, and the others as its fallbacks.

Knows the settings of a route, which conversation stays with which model, and the error if none fits. Must not know
how the models are compared.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from protocol.errors import ErrorCode
from protocol.requests import Chat
from protocol.routes import Preference, Routed, RoutedModel, RouteOptions, RouteReason
from sidecar.core.errors import RETRYABLE, SidecarError, invalid_request
from sidecar.core.request_state import RequestState
from sidecar.routing import fallbacks
from sidecar.routing.candidates import Candidate, change_model, read_models
from sidecar.routing.facts import RouteNeeds, gather_facts
from sidecar.routing.order import ModelFacts, Ranking, rank
from sidecar.upstream.context import Upstream
from sidecar.usage.amounts import format_plain

PARAM = "params.options.route"

PASSING = frozenset({"gate_open", "rate_limited"})
"""What a model lacks only for a while."""

_CODES: Sequence[tuple[frozenset[RouteReason], ErrorCode]] = (
    (frozenset({"no_credential"}), "auth_required"),
    (frozenset({"too_long"}), "context_length_exceeded"),
    (frozenset({"budget", "over_max_usd"}), "quota_exceeded"),
)
"""What all models of a route lack → the code of the error. If one lacks something in `PASSING`, it is
`provider_overloaded`."""


class _Route(msgspec.Struct, frozen=True, kw_only=True):
    """A route, as the request describes it and the configuration completes it."""

    models: list[str]
    prefer: Preference
    needs: RouteNeeds
    conversation: str | None
    falls_back: bool


async def list_candidates(up: Upstream, state: RequestState, chat: Chat) -> list[Candidate]:
    """Return the models of the route of *chat* that fit, the best first, and then its fallbacks.

    Raises: SidecarError `invalid_request` for a route without models or a chat that brings a credential, and one that
    names what each model lacks if none fits.
    """
    for field in ("api_key", "base_url", "settings"):
        if getattr(chat, field) is not None:
            text = f"`params.{field}` belongs to one provider: name a model of it instead of `auto`."
            raise invalid_request(text, f"params.{field}")
    route = _read_route(up, chat)
    facts = await gather_facts(up, state, chat, route.models, route.needs)
    kept = state.routed_model or (up.conversations.get(route.conversation) if route.conversation else None)
    ranking = rank(facts, route.prefer, kept)
    if not ranking.fitting:
        raise _make_error(facts)
    asked = ranking.fitting if route.falls_back else ranking.fitting[:1]
    candidates = [
        Candidate(None, change_model(chat, each.model), route=_describe_choice(facts, ranking, route.prefer, number))
        for number, each in enumerate(asked)
    ]
    last = candidates[-1].route
    own = fallbacks.list_fallbacks(up.setup, change_model(chat, asked[-1].model))
    return [
        *candidates,
        *(msgspec.structs.replace(each, route=_describe_fallback(each.chat.model, last)) for each in own),
    ]


def _read_route(up: Upstream, chat: Chat) -> _Route:
    own, table = chat.options.route or RouteOptions(), up.config.route
    models = _pick(own.models, table, "models")
    if models is None:
        text = "There are no models to choose from."
        hint = "Set `params.options.route.models`, or `models` of [route] in the configuration."
        raise invalid_request(text, f"{PARAM}.models", hint=hint)
    max_usd = _pick(own.max_usd, table, "max_usd")
    return _Route(
        models=[*dict.fromkeys(read_models(up.config, models, f"{PARAM}.models"))],
        prefer=_pick(own.prefer, table, "prefer") or "cost",
        needs=RouteNeeds(None if max_usd is None else Decimal(str(max_usd)), _pick(own.region, table, "region")),
        conversation=own.conversation,
        falls_back=_pick(own.fall_back, table, "fall_back") is not False,
    )


def _pick(own: Any, table: Mapping[str, Any], name: str) -> Any:
    return table.get(name) if own is None else own


def _describe_choice(facts: Sequence[ModelFacts], ranking: Ranking, prefer: Preference, number: int) -> Routed:
    """Return the choice for the model that is asked after *number* others have failed."""
    asked, failed = ranking.fitting[number], {each.model for each in ranking.fitting[:number]}
    by_fit = [*ranking.fitting, *(each for each in facts if each.misfit is not None)]
    models = [
        _make_row(each, None if each is asked else "failed" if each.model in failed else ranking.reasons[each.model])
        for each in by_fit
    ]
    return Routed(chosen=asked.model, prefer=prefer, why="fallback" if number else ranking.why, models=models)


def _describe_fallback(model: str, last: Routed | None) -> Routed | None:
    """Return the choice for a fallback of the request, which is asked when all models of the route have failed."""
    if last is None:
        return None
    models = [msgspec.structs.replace(each, reason=each.reason or "failed") for each in last.models]
    return msgspec.structs.replace(last, chosen=model, why="fallback", models=models)


def _make_row(facts: ModelFacts, reason: RouteReason | None) -> RoutedModel:
    usd = facts.expected_usd
    return RoutedModel(
        model=facts.model,
        expected_usd=None if usd is None else format_plain(round(usd, 9)),
        first_chunk_ms=facts.first_chunk_ms,
        reason=reason,
    )


def _make_error(facts: Sequence[ModelFacts]) -> SidecarError:
    """Return the error for a route of which no model fits."""
    reasons = {each.misfit for each in facts if each.misfit is not None}
    code: ErrorCode = next((code for some, code in _CODES if reasons <= some), "invalid_request")
    if reasons & PASSING:
        code = "provider_overloaded"
    each = "; ".join(f"{each.model}: {each.misfit}" for each in facts)
    error = SidecarError(
        code,
        f"No model of the route fits this chat. {each}",
        retryable=code in RETRYABLE,
        param=PARAM,
        reason="no_model_fits",
    )
    return error.with_fields(route=[_make_row(each, each.misfit) for each in facts])
