"""What is known of providers: `providers.toml`, one table each, read on first use.

Must not know requests, credentials or the environment.
"""

from fnmatch import fnmatchcase
from functools import cache
from typing import Any, get_args

import msgspec

from sidecar.catalogue.limit_kinds import LimitKind
from sidecar.catalogue.listings import Listing
from sidecar.core import resources
from sidecar.wires.shared.types import Quirks


class WireRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Models, by patterns of their names, that speak another wire than the provider's usual one."""

    models: list[str]
    wire: str


class Setting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A setting of a provider: what its addresses are made of, and what its scheme goes by."""

    env: list[str] = []
    """Environment variables it is read from, the first that is set wins."""
    default: str | None = None
    required: bool = True
    binds: bool = False
    """It names whose server is asked: a stored credential goes to the user's own value of it alone. Default: false."""
    from_credential: bool = False
    """Where nobody gives it, the machine's credentials may know it: the scheme has `settings`. Default: false."""
    users_own: bool = False
    """It stands in no address, and no request has a say in it. Default: false."""
    identity: bool = False
    """It names this machine's own identity, as `identity_env` does. Default: false."""


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other addresses for some settings: the first variant whose `when` all match is taken."""

    when: dict[str, str]
    """Setting → pattern of its value; `*` asks only that it is set. `api_key` counts as one."""
    base_url: str | None = None
    base_suffix: str | None = None
    paths: dict[str, str] = {}
    check_path: str | None = None


class DeviceLogin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A login with a code that the user types in a browser (RFC 8628). `{name}` stands for a setting."""

    base_url: str
    """Whose login it is; the address that the user is shown is of this server."""
    api_base_url: str
    """Of the same account's API."""
    code_path: str
    token_path: str
    account_path: str | None = None
    """Below `api_base_url`: says whose login it is. Default: nobody does."""
    account_field: str = "login"
    client_id: str
    """By which the server knows who asks; the configuration's `login_client_id` takes its place."""
    scope: str = ""
    existing_files: list[str] = []
    """Where other programs leave their login, an object by server. `{NAME}`: a variable of the environment."""
    existing_field: str = "oauth_token"
    existing_account_field: str = "user"


class CounterRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a provider counts the tokens of a prompt itself."""

    module: str
    """Of `sidecar.wires.counts`."""
    unable: list[str] = []
    """Error codes that say that it does not count for this model or at this place. Default: they are failures."""


class PriceFactor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a multiplier of the model's row applies: for a setting, or an option passed through to the provider."""

    name: str
    """The multiplier's name in `models.json`."""
    setting: str | None = None
    option: str | None = None
    equals: str | None = None
    unless: str | None = None


def _usual_rate_headers() -> dict[LimitKind, str]:
    return {kind: f"x-ratelimit-{{}}-{kind}" for kind in get_args(LimitKind)}


class ProviderRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider. In `base_url` and `paths`, `{name}` stands for a setting and `{model}` for the model."""

    name: str
    wire: str
    """Its usual wire; `from_model` where the model's name begins with it."""
    wires: list[WireRule] = []
    """Exceptions, the first that matches wins."""
    wire_fixed: bool = False
    """The user has named the wire: neither the catalogue nor `wires` say otherwise. Default: false."""
    wire_from_list: bool = False
    """The provider's own list says which endpoints a model has. Default: false."""
    base_url: str
    """What the provider's own SDK means by it."""
    base_suffix: str = ""
    """Added to a base address of the user's that has no path. Default: nothing."""
    list_base_url: str | None = None
    """The address of the list of models, where it is another host. Default: `base_url`."""
    paths: dict[str, str] = {}
    """Wire → path, where it is not the wire's own."""
    variants: list[Variant] = []
    settings: dict[str, Setting] = {}
    host_env: str | None = None
    """An environment variable with the server's `host:port`."""
    default_port: int = 443
    """The port where `host_env` names none. Default: 443."""
    gateway_path: str | None = None
    """What stands for the base address behind a gateway; None: it cannot go there."""
    auth: str = "bearer"
    """The module of `sidecar.auth` that turns its credential into headers. Default: `bearer`."""
    auth_header: str = "authorization"
    """The header of a key; `authorization` gets `Bearer ` before it. Default: `authorization`."""
    signing_name: str = ""
    """The service that a signed request names, for the control plane too. Default: requests are not signed."""
    auth_renews: bool = False
    """Its credentials lead to an address, or wear off: the scheme has `prepare` and `renew`. Default: false."""
    auth_optional: bool = False
    """It can be asked without a credential of ours. Default: false."""
    auth_documents: bool = False
    """Its key may be a JSON document, of which the scheme makes tokens. Default: false."""
    identity_env: list[list[str]] = []
    """Environment variables that together name an identity of this machine's: with all of one list, `auth_optional`."""
    identity_files: list[str] = []
    """Files that hold one, `{NAME}` standing for a variable of the environment: with one that is there, likewise."""
    env: list[str] = []
    """Environment variables of the key, the first that is set wins."""
    token_env: list[str] = []
    """Environment variables of an access token."""
    key_prefixes: list[str] = []
    """How its keys begin, where no other provider's do."""
    login: DeviceLogin | None = None
    """Its own login. Default: a key is all it takes."""
    check_path: str | None = None
    """What is asked to see whether a credential is good, of the list's address. Default: the first list of models."""
    key_base_url: str | None = None
    """The address that a key of the environment belongs to. Default: `base_url`."""
    lists: tuple[Listing, ...] = (Listing(),)
    """Its lists of models. Default: one of the usual shape."""
    lists_deployments: bool = False
    """Its models are the deployments that the user has set: a key alone cannot ask for them. Default: false."""
    default_model: str | None = None
    """What the model `default` stands for."""
    transport: str = "http"
    """`http`, or `replay` for recorded exchanges. Default: `http`."""
    pings: bool = False
    """Its streams show every few seconds that they are alive, whatever the model does. Default: false."""
    headers: dict[str, str] = {}
    """Fixed headers of every request."""
    rate_headers: dict[LimitKind, str] = msgspec.field(default_factory=_usual_rate_headers)
    """What its replies say of its limits: `requests` or `tokens` → header, with `limit`, `remaining` and `reset` in
    the place of `{}`. Default: the usual names."""
    setting_headers: dict[str, str] = {}
    """Headers made of settings, sent when those are set."""
    quirks: Quirks = Quirks()
    aliases: list[str] = []
    """Other ids it is known under."""
    private_network: bool = False
    """Plain http to private addresses is fine: it runs at the user's place. Default: false."""
    price_factors: tuple[PriceFactor, ...] = ()
    counters: dict[str, CounterRow] = {}
    """Wire → how it counts a prompt's tokens itself. Default: it does not."""
    credit_usd: str | None = None
    """What one of its credits is worth, in US dollars, where it bills in such. Default: it bills in US dollars."""
    free_unless: str | None = None
    """Its models run at the user's place and cost nothing, but for those whose names fit this pattern, and not at
    `key_base_url`. Default: they cost."""
    models_dev: list[str] = []
    """What models.dev calls it, the first that has a model counts. Default: it does not know it."""
    setup_hint: str | None = None
    """What to do when there is no credential, beyond setting a key."""


class GatewayRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of gateway; what it calls a provider is that provider's `gateway_path`."""

    base_url: str
    """With the keys of the configuration's `[gateway]` in braces."""
    token_header: str
    """The header of the gateway's own token, as bearer."""
    headers: dict[str, str] = {}


@cache
def gateways() -> dict[str, GatewayRow]:
    """Return the kinds of gateways by name."""
    import tomllib

    with resources.find("catalogue/gateways.toml").open("rb") as file:
        return msgspec.convert(tomllib.load(file), dict[str, GatewayRow])


@cache
def providers() -> dict[str, ProviderRow]:
    """Return the built-in providers by id."""
    import tomllib

    with resources.find("catalogue/providers.toml").open("rb") as file:
        return msgspec.convert(tomllib.load(file), dict[str, ProviderRow])


@cache
def aliases() -> dict[str, str]:
    """Return alias → id."""
    return {alias: name for name, row in providers().items() for alias in row.aliases}


def owners_of_key(key: str) -> list[str]:
    """Return the providers whose keys begin as *key* does: none where that says nothing."""
    return [name for name, row in providers().items() if key.startswith(tuple(row.key_prefixes))]


def wire_of(row: ProviderRow, model: str) -> str:
    """Return the wire that *row*'s own table gives *model*."""
    for rule in () if row.wire_fixed else row.wires:
        if any(fnmatchcase(model, pattern) for pattern in rule.models):
            return rule.wire
    return row.wire


def find_variant(row: ProviderRow, settings: dict[str, str]) -> Variant | None:
    """Return the variant of *row* that these *settings* choose."""
    for variant in row.variants:
        if all(name in settings and fnmatchcase(settings[name], pattern) for name, pattern in variant.when.items()):
            return variant
    return None


def price_factors(row: ProviderRow, settings: dict[str, Any], options: dict[str, Any]) -> list[str]:
    """Return the names of the multipliers that apply to a request with these settings and passed-through options."""
    return [each.name for each in row.price_factors if _applies(each, settings, options)]


def _applies(factor: PriceFactor, settings: dict[str, Any], options: dict[str, Any]) -> bool:
    value = settings.get(factor.setting) if factor.setting else options.get(factor.option or "")
    if value is None:
        return False
    return bool(value == factor.equals if factor.equals is not None else value != factor.unless)
