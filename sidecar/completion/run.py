"""Completes text: takes over the answer under way or asks for one, and waits for what is wanted of it.

Must not know lines, or any provider.
"""

from functools import partial
from typing import NamedTuple

import msgspec

from protocol.completion import Complete, Completed
from protocol.messages import Message
from protocol.requests import Chat
from sidecar.completion import answer, asking, question
from sidecar.completion.answer import Reader, Sink
from sidecar.completion.asking_chat import ask_chat
from sidecar.completion.flight import Flight
from sidecar.completion.question import Question
from sidecar.completion.slots import Slots
from sidecar.core.errors import SidecarError
from sidecar.core.request_state import RequestState, make_cancelled_error
from sidecar.core.single_flight import SharedTask
from sidecar.providers.completion_methods import choose_methods, is_refusal
from sidecar.providers.model_names import apply_preset
from sidecar.providers.model_rows import find_base_model
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.values import Target, TargetSpec
from sidecar.upstream import catalogue_refresh
from sidecar.upstream.context import Upstream
from sidecar.upstream.settings_discovery import discover_settings
from sidecar.usage import budgets, pricing

FLIGHT_MS = 60_000
"""How long an answer may take, whoever waits for it."""


class Asker(NamedTuple):
    """Who can ask, and for whom."""

    up: Upstream
    slots: Slots
    state: RequestState
    """The state of the host's request."""


async def complete(asker: Asker, provider: str | None, params: Complete, sink: Sink) -> Completed:
    """Return the text for the cursor of *params*, whose pieces *sink* gets on the way.

    Raises: SidecarError `invalid_request`, or the failure of the last attempt.
    """
    question.check(params)
    asked = Question(provider, params)
    with asker.slots.hold(params.slot, asked, asker.state) as (holder, taken):
        if taken is not None:
            return await _follow(asker, asked, taken, sink)
        target = await _make_target(asker.up, asked)
        flight = holder.flight = Flight(asked, RequestState(asker.state.action, provider), target)
        return await _follow(asker, asked, flight, sink)


async def _follow(asker: Asker, asked: Question, flight: Flight, sink: Sink) -> Completed:
    """Return what is wanted of *flight*, which begins now unless it is under way."""
    state, reader = asker.state, Reader(flight, asked)
    state.progress = flight.state.progress
    with asker.up.single_flight.join(flight, partial(_fly, asker.up, flight)) as task:
        try:
            is_late = await answer.follow(flight, reader, asked, state, sink)
            if flight.has_landed and not flight.has_ended:
                # It has failed, and waiting for it says why.
                await task.wait()
            if not flight.has_landed:
                flight.take_enough(is_late=is_late)
            return answer.make_completed(flight, reader, state, is_late=is_late)
        finally:
            if task.waiters == 1 and not flight.is_enough:
                reason = state.ended_by
                flight.state.cancel("cancelled" if reason is None or reason == "superseded" else reason)


async def _make_target(up: Upstream, asked: Question) -> Target:
    await up.load_credentials()
    await catalogue_refresh.load_stored(up)
    params = asked.params
    # Presets stand in for the models of chats.
    chat = Chat(model=params.model, messages=[Message(role="user", content="")])
    provider, chat = apply_preset(up.config, asked.provider, chat)
    spec = TargetSpec(
        provider=provider,
        model=chat.model,
        api_key=params.api_key,
        base_url=params.base_url,
        settings=params.settings,
    )
    return make_target(await discover_settings(up, resolve_provider(up.setup, spec)))


async def _fly(up: Upstream, flight: Flight, _: SharedTask[None]) -> None:
    """Ask, within the limits of time and money.

    Raises: SidecarError, the failure of the last attempt.
    """
    state, route = flight.state, flight.target.route
    state.kind = asking.KIND
    state.progress.provider, state.progress.model = route.provider, route.model
    state.limit(FLIGHT_MS)
    try:
        with state.scope:
            await _ask_admitted(up, flight)
    finally:
        flight.land()
    if state.scope.cancelled_caught:
        raise make_cancelled_error(state)


async def _ask_admitted(up: Upstream, flight: Flight) -> None:
    target, options = flight.target, flight.question.params.options
    usd = None
    if up.config.budgets:
        usage = msgspec.structs.replace(asking.estimate_usage(flight), output_tokens=options.max_tokens * options.n)
        usd = pricing.calculate_usd(target, options.provider_options, usage)
    admission = await budgets.admit(up.config.budgets, up.ledger, target.route.provider, usd)
    flight.warnings += admission.warnings
    with admission.reservation:
        await _ask_by_turns(up, flight)


async def _ask_by_turns(up: Upstream, flight: Flight) -> None:
    """Ask by the best way, and by the next one where the provider refuses that."""
    target, wanted = flight.target, flight.question.params.options.method
    route = target.route
    key = (route.provider, route.base_url, route.model)
    refused = up.refused_methods.get(key) or frozenset()
    methods = choose_methods(target.row, find_base_model(route.settings, route.model), wanted, refused)
    for method in methods:
        try:
            if method == "chat":
                await ask_chat(up, flight)
            else:
                await asking.ask_endpoint(up, flight, method)
        except SidecarError as error:
            if method == methods[-1] or flight.items or not is_refusal(error.body):
                raise
            refused |= {method}
        else:
            if refused:
                up.refused_methods.put(key, refused)
            return
