"""The choice among models for `"model": "auto"`: what a request says of it, and what the sidecar says of its choice."""

from typing import Annotated, Literal

import msgspec

from protocol.values import ChainName, Model, Usd

Preference = Literal["cost", "latency", "balanced"]
"""What the models are ordered by: the expected price, the time to the first chunk, or the product of both."""

RouteReason = Literal[
    "dearer",
    "price_unknown",
    "slower",
    "latency_unknown",
    "worse_balance",
    "listed_later",
    "conversation",
    "failed",
    "no_chat",
    "no_tools",
    "no_images",
    "no_documents",
    "no_schema",
    "too_long",
    "retired",
    "wrong_region",
    "over_max_usd",
    "budget",
    "gate_open",
    "rate_limited",
    "no_credential",
    "misconfigured",
]
"""Why a model was not chosen. Up to `conversation`: it fits, and comes later. `failed`: it was asked before. All others
say what it lacks."""

RouteWhy = Literal["only_one", "conversation", "cheapest", "fastest", "best_balance", "listed_first", "fallback"]
"""Why a model was chosen."""


class RouteOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How `"model": "auto"` is chosen. Absent fields come from `[route]` of the configuration."""

    models: Annotated[list[Model], msgspec.Meta(min_length=1, max_length=16)] | ChainName | None = None
    """The models to choose from, each naming its provider or a preset; or the name of such a list in `[chains]`."""
    prefer: Preference | None = None
    max_usd: Usd | None = None
    """The highest expected cost of the answer, in US dollars. Models with an unknown price are left out too."""
    region: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    """A pattern such as `eu-*`: only models whose provider's setting `region` or `location` matches."""
    conversation: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    """A label. Chats with the same label stay with the model that answered the last one, as long as it fits."""
    fall_back: bool | None = None
    """False: if the chosen model fails, no other one of the route is asked."""


class RoutedModel(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One model of a route. An absent field is unknown."""

    model: str
    """As the route names it."""
    expected_usd: str | None = None
    """US dollars that this chat is expected to cost, as a decimal string."""
    first_chunk_ms: int | None = None
    """The median of the model's last answers, from sending the request to the first content."""
    reason: RouteReason | None = None
    """Why it was not chosen; absent for the one that was."""


class Routed(msgspec.Struct, frozen=True, kw_only=True):
    """Which model of a route was asked, and why no other."""

    chosen: str
    prefer: Preference
    why: RouteWhy
    models: list[RoutedModel]
    """All models: first those that fit, in the order in which they are asked."""
