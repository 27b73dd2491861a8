"""How long a conversation may be for its model, how long it is, and what to leave out of it.

Knows where limits and vocabularies come from. Must not know what is done with a plan.
"""

from collections.abc import Sequence
from typing import NamedTuple

from protocol.options import Overflow
from protocol.requests import Chat
from sidecar.catalogue.models import ModelRow
from sidecar.core.errors import invalid_request
from sidecar.providers.model_names import apply_preset
from sidecar.providers.model_rows import find_base_model, find_model_row
from sidecar.providers.resolve import resolve_provider
from sidecar.providers.values import make_chat_spec
from sidecar.routing.choice import AUTO
from sidecar.tokens.estimates import Estimate
from sidecar.tokens.families import find_family
from sidecar.tokens.texts import BYTES_BAND_PCT, Count
from sidecar.tokens.vocabularies import VocabularyError
from sidecar.upstream.context import Upstream
from sidecar.window.plan import Plan, make_plan
from sidecar.window.weights import weigh

MOST_RESERVED_TOKENS = 32_000
"""The most tokens that are kept free for an answer without a limit of its own. It is less for a model that writes fewer
or whose window is smaller than four times that."""


class Window(NamedTuple):
    """The window of a model, for one chat."""

    chat: Chat
    """With the options of its preset."""
    base_model: str
    limit: int | None
    """The most tokens that the prompt may have; None: unknown."""


def find_window(up: Upstream, provider: str | None, chat: Chat, reserve_tokens: int | None = None) -> Window:
    """Return the window of the model of *chat*, with *reserve_tokens* of it kept free for the answer.

    Raises: SidecarError `unknown_provider`, `invalid_request`.
    """
    provider, chat = apply_preset(up.config, provider, chat)
    if provider is None and chat.model == AUTO:
        raise invalid_request(
            "`params.model` must be one model: `auto` is chosen when a chat is sent, and by its length.", "params.model"
        )
    resolved = resolve_provider(up.setup, make_chat_spec(provider, chat))
    row = find_model_row(resolved, resolved.model)
    limit = None if row is None else _find_limit(row, reserve_tokens, chat.options.max_tokens)
    return Window(chat, find_base_model(resolved.settings, resolved.model), limit)


def _find_limit(row: ModelRow, reserve_tokens: int | None, max_tokens: int | None) -> int | None:
    limits = [row.max_input] if row.max_input else []
    if row.context_length:
        usual = min(row.max_output or MOST_RESERVED_TOKENS, MOST_RESERVED_TOKENS, row.context_length // 4)
        reserved = next((tokens for tokens in (reserve_tokens, max_tokens) if tokens is not None), usual)
        limits.append(max(0, row.context_length - reserved))
    return min(limits, default=None)


class Planned(NamedTuple):
    """The tokens of a prompt, and what to leave out of it."""

    total: Estimate
    plan: Plan


async def plan_window(up: Upstream, window: Window, keep: Sequence[str], strategy: Overflow) -> Planned:
    """Return the tokens of the chat of *window*, and what to leave out; *keep* and *strategy* are as in `fit`.

    The work is done in a thread: a conversation may have a hundred thousand messages.
    """
    chat, family = window.chat, find_family(window.base_model)

    def plan(count: Count) -> Planned:
        weights = weigh(chat.messages, chat.options, family, count)
        limit = weights.total.tokens if window.limit is None else window.limit
        return Planned(weights.total, make_plan(chat.messages, weights, limit, keep, strategy))

    try:
        return await up.counter.count_tokens(plan, family.vocabulary)
    except VocabularyError:
        planned = await up.counter.count_bytes(plan)
        return planned._replace(total=planned.total._replace(error_band_pct=BYTES_BAND_PCT))
