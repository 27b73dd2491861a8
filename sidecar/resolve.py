"""Provider, model and settings of a request → a target: where it goes and with which credential.

Knows precedence (request > configuration > environment > built-in) and to which origin a
credential may be sent. Must not know wires' fields or HTTP.
"""

from typing import Any

import msgspec

from protocol.requests import Chat, ListModels
from sidecar import addresses, catalogue, secret
from sidecar.catalogue import ProviderRow, models
from sidecar.config import Config, provider_env
from sidecar.errors import SidecarError, invalid
from sidecar.secret import Secret, Source
from sidecar.wires.types import ModelFacts, Quirks, Route


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One place that a request can be sent to."""

    row: ProviderRow
    route: Route
    credential: Secret | None


class _Setting(msgspec.Struct, frozen=True):
    value: str
    source: Source


def known_providers(config: Config) -> dict[str, ProviderRow]:
    """Return every provider by id: the built-in ones, corrected by the configuration, and the user's own."""
    rows = dict(catalogue.providers())
    for name, table in config.providers.items():
        rows[name] = _row(name, table, rows.get(name))
    return rows


def _row(name: str, table: dict[str, Any], base: ProviderRow | None) -> ProviderRow:
    columns = {key: table[key] for key in ("name", "wire", "auth_header", "listing") if key in table}
    if base is None:
        missing = [key for key in ("wire", "base_url") if key not in table]
        if missing:
            raise invalid(
                f"The configuration's [providers.{name}] needs {' and '.join(f'`{key}`' for key in missing)}.",
                "provider",
            )
        # A server of unknown make: a finish reason is as good an end as `[DONE]`.
        base = ProviderRow(
            name=name, wire="", base_url="", quirks=Quirks(done_marker=False), private_network=True, env=[]
        )
        columns["base_url"] = table["base_url"]
    quirks = msgspec.convert(msgspec.to_builtins(base.quirks) | table.get("quirks", {}), Quirks)
    headers = base.headers | table.get("headers", {})
    return msgspec.structs.replace(base, **columns, quirks=quirks, headers=headers)


def split_model(config: Config, provider: str | None, model: str) -> tuple[str, str]:
    """Return provider id and model of a request, whose *model* may name its provider.

    Raises: SidecarError `unknown_provider`, or `invalid_request` when no provider is named at all.
    """
    if model.startswith("[") and "]" in model:
        provider, _, model = model[1:].partition("]")
    elif provider is None:
        first, slash, rest = model.partition("/")
        if not slash or not is_known(config, first):
            raise invalid("`provider` is required, unless the model names it as in `openrouter/…`.", "provider")
        provider, model = first, rest
    name = catalogue.aliases().get(provider, provider)
    if not is_known(config, name):
        raise SidecarError(
            "unknown_provider",
            f"There is no such provider; there are: {', '.join(sorted(known_providers(config)))}.",
            param="provider",
        )
    if not model:
        raise invalid("`params.model` names a provider but no model.", "params.model")
    return name, model


def is_known(config: Config, name: str) -> bool:
    """Return whether *name* is a provider's id or alias."""
    return name in catalogue.providers() or name in config.providers or name in catalogue.aliases()


def chat_target(config: Config, provider: str | None, chat: Chat) -> Target:
    """Return the target of a chat.

    Raises: SidecarError `unknown_provider`, `invalid_request`, `auth_required`.
    """
    name, model = split_model(config, provider, chat.model)
    return _target(config, name, model, chat, chat.options.wire)


def provider_target(config: Config, provider: str, params: ListModels) -> Target:
    """Return the target of a request that concerns a whole provider."""
    name, _ = split_model(config, provider, "*")
    return _target(config, name, "", params, None)


def _target(config: Config, name: str, model: str, params: Chat | ListModels, wire: str | None) -> Target:
    row = known_providers(config)[name]
    base = _base_url(config, name, row, params)
    credential = credential_of(config, name, row, params)
    _guard(row, base, credential)
    known = models.lookup(name, model) if model else None
    if row.wire == "from_model":
        wire, _, model = model.partition("/") if "/" in model else ("", "", model)
    facts = models.facts(known) if known else ModelFacts()
    route = Route(
        provider=name,
        wire=wire or (known.wire if known and known.wire else catalogue.wire_of(row, model)),
        model=model,
        base_url=addresses.base_url(
            base.value, _base_place(base.source), private_network=row.private_network or base.source == "configuration"
        ),
        quirks=row.quirks,
        facts=facts,
        headers=row.headers,
    )
    return Target(row=row, route=route, credential=credential)


def _base_url(config: Config, name: str, row: ProviderRow, params: Chat | ListModels) -> _Setting:
    if params.base_url:
        return _Setting(params.base_url, "request")
    if params.settings and params.settings.base_url:
        return _Setting(params.settings.base_url, "request")
    table = config.providers.get(name, {})
    if "base_url" in table:
        return _Setting(table["base_url"], "configuration")
    if from_env := provider_env(config.env, name, "base_url"):
        return _Setting(from_env, "environment")
    return _Setting(row.base_url, "none")


def _base_place(source: Source) -> str:
    return {"request": "params.base_url", "environment": "SIDECAR_…_BASE_URL"}.get(source, "base_url")


def credential_of(config: Config, name: str, row: ProviderRow, params: Chat | ListModels | None) -> Secret | None:
    """Return the provider's credential from the first place that has one, or None."""
    if params is not None:
        if params.api_key is not None:
            return secret.key(params.api_key, "request", "params.api_key")
        if params.settings and params.settings.api_key is not None:
            return secret.key(params.settings.api_key, "request", "params.settings.api_key")
    table = config.providers.get(name, {})
    if value := table.get("api_key"):
        return secret.key(value, "configuration", f"providers.{name}.api_key")
    if variable := table.get("api_key_env"):
        # Named in the user's own file, so it belongs to the address that stands beside it.
        return secret.key(value, "configuration", variable) if (value := config.env.get(variable)) else None
    for variable in row.env:
        if value := config.env.get(variable):
            return secret.key(value, "environment", variable)
    return None


def _guard(row: ProviderRow, base: _Setting, credential: Secret | None) -> None:
    """Refuse to send a credential to an origin that it was not given for."""
    if credential is None:
        if row.auth == "none" or (base.source == "configuration" and not row.env):
            return
        if base.source == "request":
            raise invalid("A `params.base_url` needs its credential in the same request: add `params.api_key`.", "params.api_key")
        raise SidecarError(
            "auth_required",
            f"There is no key for {row.name}.",
            hint=_where_to_put_a_key(row),
        )
    if base.source in ("none", credential.source) or credential.source == "request":
        return
    if base.source == "request":
        raise invalid("A `params.base_url` needs its credential in the same request: add `params.api_key`.", "params.api_key")
    raise SidecarError(
        "auth_required",
        f"The key for {row.name} was not given for the base address that is set in the {base.source}.",
        hint="Put the key beside that base_url.",
    )


def _where_to_put_a_key(row: ProviderRow) -> str:
    variables = f"Set {' or '.join(row.env)}, or put" if row.env else "Put"
    return f"{variables} `api_key` into the provider's table of the configuration, or send `params.api_key`."
