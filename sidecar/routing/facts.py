"""What is known of the models of a route for one chat: what each lacks, what it would cost, how fast it begins.

Gathers facts only. Must not know which model is better.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import NamedTuple

from protocol.errors import ErrorCode
from protocol.messages import Usage
from protocol.requests import Chat
from protocol.routes import RouteReason
from sidecar.auth.status import has_chain
from sidecar.catalogue.provider_rows import NO_CHAT
from sidecar.core.errors import SidecarError
from sidecar.core.request_state import RequestState
from sidecar.providers.model_names import apply_preset, expand_preset
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.values import Target, make_chat_spec
from sidecar.routing.candidates import change_model
from sidecar.routing.history import History, read_histories
from sidecar.routing.misfits import find_misfit, needs_schema
from sidecar.routing.order import ModelFacts
from sidecar.tokens.prompts import EXPECTED_OUTPUT_TOKENS, estimate_for_models, limit_output_tokens
from sidecar.upstream.caches import ModelKey
from sidecar.upstream.context import Upstream
from sidecar.upstream.settings_discovery import discover_settings
from sidecar.usage import budgets, pricing

MAX_WAIT_MS = 5000
"""A model whose limits require a longer wait is left out."""

_REASONS: dict[ErrorCode, RouteReason] = {"auth_required": "no_credential", "auth_failed": "no_credential"}
"""Error code → why there is no target. Any other code means a mistake in the settings or in the name."""


class RouteNeeds(NamedTuple):
    """What a route requires of its models."""

    max_usd: Decimal | None
    region: str | None


class _Asked(NamedTuple):
    """One model as it would be asked."""

    chat: Chat
    target: Target
    prompt_tokens: int

    @property
    def key(self) -> ModelKey:
        return ModelKey(self.target.route.provider, self.target.route.model)


async def gather_facts(
    up: Upstream, state: RequestState, chat: Chat, models: Sequence[str], needs: RouteNeeds
) -> list[ModelFacts]:
    """Return what is known of *models*, in their order, for *chat*."""
    asked: dict[str, _Asked | RouteReason] = {}
    names = [expand_preset(up.config, None, model)[1] for model in models]
    for model, tokens in zip(models, estimate_for_models(chat, names), strict=True):
        asked[model] = await _resolve(up, chat, model, tokens)
    reachable = [each.key for each in asked.values() if isinstance(each, _Asked)]
    histories = await read_histories(up, reachable, state.task)
    if up.config.budgets:
        await budgets.refresh(up.ledger)
    facts = list[ModelFacts]()
    for position, (model, each) in enumerate(asked.items()):
        if not isinstance(each, _Asked):
            facts.append(ModelFacts(model=model, position=position, misfit=each))
            continue
        history = histories[each.key]
        usd = _estimate_usd(each, history)
        facts.append(
            ModelFacts(
                model=model,
                position=position,
                misfit=_find_misfit(up, each, needs, usd),
                expected_usd=usd,
                first_chunk_ms=history.first_chunk_ms,
            )
        )
    return facts


async def _resolve(up: Upstream, chat: Chat, model: str, prompt_tokens: int) -> _Asked | RouteReason:
    """Return how *model* would be asked, or why it cannot be."""
    try:
        provider, own = apply_preset(up.config, None, change_model(chat, model))
        resolved = resolve_provider(up.setup, make_chat_spec(provider, own))
        if resolved.provider.row.wire == NO_CHAT:
            return "no_chat"
        target = make_target(await discover_settings(up, resolved))
    except SidecarError as error:
        return _REASONS.get(error.body.code, "misconfigured")
    if target.credential is None and not has_chain(resolved.provider):
        return "no_credential"
    return _Asked(own, target, prompt_tokens)


def _estimate_usd(asked: _Asked, history: History) -> Decimal | None:
    """Return the expected price of the chat, if the answer is as long as the model's last ones."""
    expected = EXPECTED_OUTPUT_TOKENS if history.output_tokens is None else history.output_tokens
    usage = Usage(
        input_tokens=asked.prompt_tokens,
        output_tokens=limit_output_tokens(asked.chat.options, expected),
        cache_read_tokens=int(asked.prompt_tokens * history.cached_share),
    )
    return pricing.calculate_usd(asked.target, asked.chat.options.provider_options, usage)


def _find_misfit(up: Upstream, asked: _Asked, needs: RouteNeeds, usd: Decimal | None) -> RouteReason | None:
    """Return what the model lacks."""
    if (lacking := _find_lacking(asked)) is not None:
        return lacking
    settings = asked.target.route.settings
    region = str(settings.get("region") or settings.get("location") or "")
    if needs.region is not None and not fnmatchcase(region.lower(), needs.region.lower()):
        return "wrong_region"
    if needs.max_usd is not None and (usd is None or usd > needs.max_usd):
        return "price_unknown" if usd is None else "over_max_usd"
    if not budgets.has_room(up.config.budgets, up.ledger, asked.target.route.provider, datetime.now(UTC)):
        return "budget"
    gate = up.gates.find(up.gates.pick_origin(asked.target, asked.target.keys))
    if gate.state.state == "open":
        return "gate_open"
    delay_ms = gate.compute_delay_ms(asked.target.route.model, asked.prompt_tokens)
    return "rate_limited" if delay_ms and delay_ms > MAX_WAIT_MS else None


def _find_lacking(asked: _Asked) -> RouteReason | None:
    row = asked.target.model_row
    if row is None:
        return None
    if row.status == "retired":
        return "retired"
    if needs_schema(asked.chat) and row.caps.structured is False:
        return "no_schema"
    misfit = find_misfit(row, asked.chat, lambda: asked.prompt_tokens)
    return misfit.reason if misfit else None
