"""The rows of `providers.toml` and `gateways.toml`, read on first use.

Must not know requests, credentials or the environment.
"""

from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Literal, get_args

import msgspec

from sidecar.catalogue.embedding_columns import EmbeddingRow
from sidecar.catalogue.limit_kinds import LimitKind
from sidecar.catalogue.provider_columns import (
    AddressColumns,
    AuthColumns,
    CompletionColumns,
    CounterRow,
    ModelColumns,
    PriceFactor,
    PricingColumns,
    ReplayCase,
    Setting,
    Variant,
)
from sidecar.catalogue.rerank_columns import RerankRow
from sidecar.core import resources
from sidecar.wires.shared.types import Quirks

NO_CHAT = "none"
"""The wire of a provider that has no chat."""


def _usual_rate_limit_headers() -> dict[LimitKind, str]:
    return {kind: f"x-ratelimit-{{}}-{kind}" for kind in get_args(LimitKind)}


class ProviderRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider. The groups are documented in `sidecar.catalogue.provider_columns`."""

    name: str
    """As people know it."""
    aliases: list[str] = []
    """Other ids that a request may use."""
    wire: str
    """Its usual wire; `from_model` if the model's name begins with the wire, `none` if it has no chat."""
    transport: Literal["http", "replay"] = "http"
    """`replay` plays recorded exchanges. Default: `http`."""
    cases: dict[str, ReplayCase] = {}
    """Recorded exchanges with names of their own. Default: none."""
    pings: bool = False
    """Its streams send something every few seconds even while the model is silent. Default: false."""
    setup_hint: str | None = None
    """What to do if it cannot be reached. Default: nothing is suggested."""
    address: AddressColumns
    settings: dict[str, Setting] = {}
    auth: AuthColumns = AuthColumns()
    models: ModelColumns = ModelColumns()
    pricing: PricingColumns = PricingColumns()
    completion: CompletionColumns = CompletionColumns()
    counters: dict[str, CounterRow] = {}
    """Wire → how it counts the tokens of a prompt itself. Default: it does not."""
    embeddings: tuple[EmbeddingRow, ...] = ()
    """How it makes vectors. Default: it makes none."""
    rerank: tuple[RerankRow, ...] = ()
    """How it ranks documents. Default: it ranks none."""
    rate_limit_headers: dict[LimitKind, str] = msgspec.field(default_factory=_usual_rate_limit_headers)
    """What a limit counts → the reply header about it, where `{}` stands for `limit`, `remaining` and `reset`.
    Default: the usual names."""
    headers: dict[str, str] = {}
    """Fixed headers of every request."""
    setting_headers: dict[str, str] = {}
    """Headers made from settings, sent if those have values."""
    quirks: Quirks = Quirks()


class GatewayRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of gateway. Its name for a provider is that provider's `address.gateway_path`."""

    base_url: str
    """`{name}` stands for a key of the configuration's `[gateway]`."""
    token_header: str
    """The header of the gateway's own token, sent as `Bearer TOKEN`."""
    headers: dict[str, str] = {}


@cache
def read_gateways() -> dict[str, GatewayRow]:
    """Return the kinds of gateways by name."""
    return msgspec.json.decode(resources.read_table("catalogue/gateways.toml"), type=dict[str, GatewayRow])


@cache
def read_providers() -> dict[str, ProviderRow]:
    """Return the built-in providers by id."""
    return msgspec.json.decode(resources.read_table("catalogue/providers.toml"), type=dict[str, ProviderRow])


@cache
def read_aliases() -> dict[str, str]:
    """Return alias → id."""
    return {alias: name for name, row in read_providers().items() for alias in row.aliases}


def find_key_owners(key: str) -> list[str]:
    """Return the ids of the providers whose keys begin as *key* does; empty if that is not known."""
    return [name for name, row in read_providers().items() if key.startswith(tuple(row.auth.key_prefixes))]


def choose_wire(row: ProviderRow, model: str) -> str:
    """Return the wire that *row* says *model* uses."""
    for rule in row.models.wire_rules:
        if any(fnmatchcase(model, pattern) for pattern in rule.models):
            return rule.wire
    return row.wire


def find_variant(row: ProviderRow, settings: dict[str, str]) -> Variant | None:
    """Return the variant of *row* that *settings* select, or None."""
    for variant in row.address.variants:
        if all(name in settings and fnmatchcase(settings[name], pattern) for name, pattern in variant.when.items()):
            return variant
    return None


def list_price_factors(row: ProviderRow, settings: dict[str, Any], options: dict[str, Any]) -> list[str]:
    """Return the names of the multipliers that apply to a request with these settings and passed-through options."""
    return [factor.name for factor in row.pricing.factors if _applies(factor, settings, options)]


def _applies(factor: PriceFactor, settings: dict[str, Any], options: dict[str, Any]) -> bool:
    value = settings.get(factor.setting) if factor.setting else options.get(factor.option or "")
    if value is None:
        return False
    return bool(value == factor.equals if factor.equals is not None else value != factor.unless)
