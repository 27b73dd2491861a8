"""Provider, model and settings of a request → a target: where it goes and with which credential.

Knows presets, how a model names its provider, and to which origin a credential may be sent.
Must not know wires' fields or HTTP.
"""

from collections.abc import Mapping
from secrets import token_hex
from typing import Any, NamedTuple

import msgspec

from protocol.requests import Chat, ListModels, Options, Settings
from sidecar.catalogue import models, overlay, provider_rows
from sidecar.catalogue.models import ModelRow
from sidecar.catalogue.provider_rows import DeviceLogin, ProviderRow
from sidecar.config.values import Config
from sidecar.core import url_policy
from sidecar.core.errors import SidecarError, invalid
from sidecar.core.secret import Kind, Secret, secret
from sidecar.providers import settings
from sidecar.providers.settings import Address
from sidecar.providers.setup import Setup
from sidecar.wires.shared.types import ModelFacts, Quirks, Route

_ROW_COLUMNS = ("name", "wire", "auth_header", "auth_optional")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One place that a request can be sent to."""

    row: ProviderRow
    route: Route
    credential: Secret | None
    list_base_url: str
    """The address of the provider's list of models."""
    model_row: ModelRow | None = None
    """What the catalogue knows of the model."""
    env: Mapping[str, str] = {}
    """The environment, for schemes with a chain of their own."""
    gateway_headers: dict[str, str] = {}
    moved: bool = False
    """The request, the user or a gateway says where the provider is, in the place of its own table."""


def known_providers(setup: Setup) -> dict[str, ProviderRow]:
    """Return every provider by id: the built-in ones, corrected by the configuration, and the user's own."""
    rows = dict(provider_rows.providers())
    for name, table in setup.config.providers.items():
        rows[name] = _row(name, table, rows.get(name))
    for name, row in rows.items():
        if not row.auth_optional and settings.has_identity(setup, name, row):
            rows[name] = msgspec.structs.replace(row, auth_optional=True)
    return rows


def _row(name: str, table: dict[str, Any], base: ProviderRow | None) -> ProviderRow:
    columns = {key: table[key] for key in _ROW_COLUMNS if key in table}
    if base is None:
        # A server of unknown make: a finish reason is as good an end as `[DONE]`, and a key may not be needed.
        base = ProviderRow(
            name=name, wire="", base_url="", quirks=Quirks(done_marker=False), private_network=True, auth_optional=True
        )
        columns["base_url"] = table.get("base_url", "")
    columns["wire_fixed"] = "wire" in table
    if base.login:
        columns["login"] = _login(base.login, table)
    quirks = msgspec.convert(msgspec.to_builtins(base.quirks) | table.get("quirks", {}), Quirks)
    headers = base.headers | table.get("headers", {})
    return msgspec.structs.replace(base, **columns, quirks=quirks, headers=headers)


def _login(login: DeviceLogin, table: dict[str, Any]) -> DeviceLogin:
    changed = {"client_id": table.get("login_client_id", login.client_id)}
    if url := table.get("login_base_url"):
        # One server stands for both.
        changed |= {"base_url": url, "api_base_url": url}
    return msgspec.structs.replace(login, **changed)


def with_preset(config: Config, provider: str | None, chat: Chat) -> tuple[str | None, Chat]:
    """Return provider and chat with a preset of the user's put in the place of its name."""
    preset = config.models.get(chat.model)
    if preset is None:
        return provider, chat
    options = preset.get("options", {}) | msgspec.to_builtins(chat.options)
    chosen = msgspec.structs.replace(chat, model=preset["model"], options=msgspec.convert(options, Options))
    return preset.get("provider"), chosen


def split_model(config: Config, provider: str | None, model: str) -> tuple[str, str]:
    """Return provider id and model of a request, whose *model* may name its provider.

    Raises: SidecarError `unknown_provider`, or `invalid_request` when no provider is named at all.
    """
    if model.startswith("[") and "]" in model:
        provider, _, model = model[1:].partition("]")
    elif provider is None:
        first, slash, rest = model.partition("/")
        if not slash or not is_known(config, first):
            raise invalid("`provider` is required, unless the model names it: `provider/model`.", "provider")
        provider, model = first, rest
    name = provider_rows.aliases().get(provider, provider)
    if not is_known(config, name):
        names = ", ".join(sorted({*provider_rows.providers(), *config.providers}))
        raise SidecarError("unknown_provider", f"There is no such provider; there are: {names}.", param="provider")
    if not model:
        raise invalid("`params.model` names a provider but no model.", "params.model")
    return name, model


def is_known(config: Config, name: str) -> bool:
    """Return whether *name* is a provider's id or alias."""
    return name in provider_rows.providers() or name in config.providers or name in provider_rows.aliases()


def chat_target(setup: Setup, provider: str | None, chat: Chat) -> Target:
    """Return the target of a chat.

    Raises: SidecarError `unknown_provider`, `invalid_request`, `auth_required`.
    """
    name, model = split_model(setup.config, provider, chat.model)
    return _target(setup, name, model, chat, chat.options.wire)


def provider_target(setup: Setup, provider: str, params: ListModels) -> Target:
    """Return the target of a request that concerns a whole provider."""
    name, _ = split_model(setup.config, provider, "*")
    return _target(setup, name, "", params, None)


def _target(setup: Setup, name: str, model: str, params: Chat | ListModels, wire: str | None) -> Target:
    row = known_providers(setup)[name]
    credential = credential_of(setup, name, row, params)
    has_key = credential is not None and credential.kind == "key"
    given = settings.merged(setup, name, row, params.settings)
    base_url = params.base_url or (params.settings.base_url if params.settings else None)
    base = settings.address(setup, name, row, given, base_url, has_key=has_key)
    moved = base.source != "none"
    if settings.rebound(setup, name, row, params.settings):
        base = settings.Address(base.url, "request")
    credential = _fitting(setup, name, row, base, credential)
    for each in _keys(setup, name, credential):
        _check_shape(name, base, each)
    if model == "default" and row.default_model:
        model = row.default_model
    if row.wire == "from_model" and model:
        wire, _, model = model.partition("/") if "/" in model else ("", "", model)
    known = _known(setup, name, model, given)
    facts = models.facts(known) if known else ModelFacts()
    wire = wire or (known.wire if known and not row.wire_fixed else None) or provider_rows.wire_of(row, model)
    route = Route(
        provider=name,
        wire=wire,
        model=model,
        base_url=base.url,
        path=settings.path(row, name, wire, model, given, has_key=has_key) if model else None,
        quirks=row.quirks,
        facts=facts,
        headers=settings.headers(row, given),
        seed=f"{token_hex(3)}_",
        settings=given,
    )
    return Target(
        row=row,
        route=route,
        credential=credential,
        list_base_url=settings.fill(row.list_base_url, name, row, given)
        if row.list_base_url and base.source == "none"
        else base.url,
        model_row=known,
        env=setup.config.env,
        gateway_headers=settings.gateway_headers(setup, base),
        moved=moved,
    )


def _known(setup: Setup, name: str, model: str, given: dict[str, Any]) -> ModelRow | None:
    """Return what is known of *model*, or of the model behind the user's own name for it."""
    deployment = given.get("deployments", {}).get(model) or {}
    usual_name = deployment.get("base_model") or model
    return overlay.lookup(setup.overlay, name, usual_name) if usual_name else None


_KINDS: dict[str, Kind] = {"api_key": "key", "access_token": "token"}


class Described(NamedTuple):
    """A model as far as it is known without asking anybody, and without the right to ask."""

    provider: str
    row: ProviderRow
    model: str
    usual_name: str
    """The name of the model behind the user's own name for it."""
    model_row: ModelRow | None
    settings: dict[str, Any]


def described(setup: Setup, provider: str | None, model: str, given: Settings | None) -> Described:
    """Return what is known of *model*, which may name its provider.

    Raises: SidecarError `unknown_provider`, `invalid_request`.
    """
    name, model = split_model(setup.config, provider, model)
    row = known_providers(setup)[name]
    merged = settings.merged(setup, name, row, given)
    deployment = merged.get("deployments", {}).get(model) or {}
    usual_name = deployment.get("base_model") or model
    return Described(name, row, model, usual_name, overlay.lookup(setup.overlay, name, usual_name), merged)


def credential_of(setup: Setup, name: str, row: ProviderRow, params: Chat | ListModels | None) -> Secret | None:
    """Return the provider's credential from the first place that has one, or None.

    The request goes before the configuration, that before what is stored, and that before the environment.

    Raises: SidecarError `invalid_request` for a credential that cannot be one.
    """
    if params is not None and (found := _of_request(row, params)) is not None:
        return found
    table, stored = setup.config.providers.get(name, {}), setup.found.credentials.get(name)
    if several := _several(setup, name):
        return several[0]
    for field, kind in _KINDS.items():
        if value := table.get(field):
            return secret(value, "configuration", f"providers.{name}.{field}", _kind(row, kind))
        if variable := table.get(f"{field}_env"):
            # Named in the user's own file, so it belongs to the address that stands beside it.
            value = setup.config.env.get(variable)
            return secret(value, "configuration", variable, _kind(row, kind)) if value else stored
    # Where the user names variables, the usual ones are none of theirs.
    return stored or (None if table.get("api_keys_env") else _of_environment(setup, row))


def _several(setup: Setup, name: str) -> list[Secret]:
    """Return the keys that the user's table of provider *name* lists, and the one that stands beside the list."""
    table = setup.config.providers.get(name, {})
    if not (table.get("api_keys") or table.get("api_keys_env")):
        return []
    given = [(f"providers.{name}.api_key", table.get("api_key"))]
    given += [(variable, setup.config.env.get(variable)) for variable in (table.get("api_key_env"),) if variable]
    given += [(f"providers.{name}.api_keys[{index}]", key) for index, key in enumerate(table.get("api_keys", ()))]
    given += [(variable, setup.config.env.get(variable)) for variable in table.get("api_keys_env", ())]
    return [secret(value, "configuration", where) for where, value in given if value]


def keys(setup: Setup, target: Target) -> tuple[Secret, ...]:
    """Return the credentials that may ask in the place of the target's own, which is one of them."""
    return _keys(setup, target.route.provider, target.credential)


def _keys(setup: Setup, name: str, own: Secret | None) -> tuple[Secret, ...]:
    if own is None or own.source != "configuration":
        return (own,) if own else ()
    others = [key for key in _several(setup, name) if key.reveal() != own.reveal()]
    return own, *others


def _kind(row: ProviderRow, kind: Kind) -> Kind:
    return "document" if kind == "key" and row.auth_documents else kind


def _of_request(row: ProviderRow, params: Chat | ListModels) -> Secret | None:
    in_settings = params.settings
    if params.api_key is not None:
        return secret(params.api_key, "request", "params.api_key", _kind(row, "key"))
    if in_settings and in_settings.api_key is not None:
        return secret(in_settings.api_key, "request", "params.settings.api_key", _kind(row, "key"))
    if in_settings and in_settings.access_token is not None:
        return secret(in_settings.access_token, "request", "params.settings.access_token", "token")
    return None


def _of_environment(setup: Setup, row: ProviderRow) -> Secret | None:
    for variables, kind in ((row.env, _KINDS["api_key"]), (row.token_env, _KINDS["access_token"])):
        for variable in variables:
            if value := setup.config.env.get(variable):
                return secret(value, "environment", variable, _kind(row, kind))
    return None


def home(setup: Setup, name: str, row: ProviderRow) -> str:
    """Return whose server the user has provider *name* at: what a credential that is stored now is given for.

    Raises: SidecarError as for a request there.
    """
    own = settings.merged(setup, name, row, None)
    base = settings.address(setup, name, row, own, None, has_key=True)
    place = "built-in" if base.source in ("none", "gateway") else url_policy.origin(base.url)
    bound = [f"{key}={own[key]}" for key, setting in row.settings.items() if setting.binds and key in own]
    return " ".join([place, *bound])


def _fitting(setup: Setup, name: str, row: ProviderRow, base: Address, credential: Secret | None) -> Secret | None:
    """Return the credential that may go to *base*: one is never sent to an origin that it was not given for.

    Raises: SidecarError `auth_required`, or `invalid_request` for an address of the request without a key of its own.
    """
    if credential is not None and _belongs(setup, name, row, base, credential):
        return credential
    if base.source == "request" and not (row.auth_optional and row.private_network):
        text = "An address of the request's own needs its credential beside it: add `params.api_key`."
        raise invalid(text, "params.api_key")
    if row.auth_optional:
        return None
    if credential is None:
        hint = _where_to_put_a_key(setup, row)
        raise SidecarError("auth_required", f"There is no credential for {row.name}.", hint=hint)
    if credential.source == "store":
        raise SidecarError(
            "auth_required",
            f"The stored credential for {row.name} was given for another address than is set now.",
            hint="Log in again with `authenticate`.",
        )
    raise SidecarError(
        "auth_required",
        f"The credential for {row.name} was not given for the base address that is set in the {base.source}.",
        hint="Put the key beside that base_url.",
    )


def _belongs(setup: Setup, name: str, row: ProviderRow, base: Address, credential: Secret) -> bool:
    if credential.source == "request":
        return True
    if credential.source == "store":
        return base.source != "request" and credential.home == home(setup, name, row)
    if credential.source == "environment" and row.key_base_url:
        return url_policy.same_origin(base.url, row.key_base_url)
    return base.source in ("none", "gateway", credential.source)


def _check_shape(name: str, base: Address, credential: Secret | None) -> None:
    """Refuse a key that by its looks is another provider's, where the built-in address would get it.

    Raises: SidecarError `invalid_request`; it never says the key.
    """
    if credential is None or credential.kind != "key" or base.source != "none":
        return
    owners = provider_rows.owners_of_key(credential.reveal())
    if owners and name not in owners:
        names = " or ".join(provider_rows.providers()[each].name for each in owners)
        where = "params.api_key" if credential.source == "request" else None
        raise invalid(f"The key for {provider_rows.providers()[name].name} has the form of one for {names}.", where)


def _where_to_put_a_key(setup: Setup, row: ProviderRow) -> str:
    login = "Log in with `authenticate`, or set" if row.login else "Set"
    # Of an identity that is half there, what belongs together is said.
    halves = [f"all of {', '.join(each)}" for each in row.identity_env if any(map(setup.config.env.get, each))]
    variables = f"{login} {' or '.join([*row.env, *halves])}, or put" if row.env else "Put"
    return f"{variables} `api_key` into the provider's table of the configuration, or send `params.api_key`."
