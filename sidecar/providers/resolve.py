"""A request's provider, model and settings, resolved once, and the target they make. [pure]

Must not know wires' fields or HTTP.
"""

import os
from collections.abc import Mapping

import msgspec

from sidecar.catalogue import models, provider_rows
from sidecar.catalogue.models import ModelRow
from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.core.url_policy import has_same_origin
from sidecar.providers import addresses, credential_rules, credentials
from sidecar.providers.model_names import find_id, split_model
from sidecar.providers.model_rows import find_model_row
from sidecar.providers.rows import get_provider
from sidecar.providers.settings import changes_server, merge_settings
from sidecar.providers.setup import Setup
from sidecar.providers.templates import fill_headers
from sidecar.providers.values import BaseAddress, Provider, ResolvedProvider, Target, TargetSpec
from sidecar.wires import registry
from sidecar.wires.shared.types import ModelFacts, Quirks, Route


def resolve_provider(setup: Setup, spec: TargetSpec) -> ResolvedProvider:
    """Return the provider, the model and the merged settings of a request.

    Raises: SidecarError `unknown_provider`, `invalid_request`.
    """
    if spec.model is None:
        name, model = find_id(setup.config, spec.provider or ""), ""
    else:
        name, model = split_model(setup.config, spec.provider, spec.model)
    provider = get_provider(setup, name)
    return ResolvedProvider(provider, spec, model, merge_settings(provider, spec.settings))


def add_settings(resolved: ResolvedProvider, discovered: Mapping[str, str]) -> ResolvedProvider:
    """Return *resolved* with settings that the machine's credentials know. What somebody has set stays.

    Raises: SidecarError `invalid_request` for a value with characters that an address cannot have.
    """
    setup = resolved.provider.setup
    found = msgspec.structs.replace(setup.found, settings={resolved.provider.id: discovered})
    provider = msgspec.structs.replace(resolved.provider, setup=Setup(setup.config, found))
    settings = merge_settings(provider, resolved.spec.settings)
    return msgspec.structs.replace(resolved, provider=provider, settings=settings)


def make_target(resolved: ResolvedProvider) -> Target:
    """Return the target of a request.

    Raises: SidecarError `invalid_request`, `auth_required`.
    """
    provider = resolved.provider
    found = credentials.find_credential(provider, resolved.spec)
    has_key = found is not None and found.kind == "key"
    base = addresses.find_base_address(resolved, has_key=has_key)
    # A setting can choose another server, as an address does.
    changed = changes_server(provider, resolved.spec.settings)
    address = BaseAddress(base.url, "request") if changed else base
    credential = credential_rules.select_credential(provider, address, found)
    keys = credentials.list_keys(provider, credential)
    for key in keys:
        credential_rules.check_prefix(provider, address, key)
    route, model_row = _make_route(resolved, base, has_key=has_key)
    return Target(
        row=provider.row,
        route=route,
        credential=credential,
        keys=keys,
        list_base_url=addresses.find_list_base_url(resolved, address),
        case=provider.row.cases.get(resolved.model),
        model_row=model_row,
        env=provider.setup.config.env,
        key_variables=credentials.list_named_variables(provider.setup.config),
        gateway_headers=addresses.make_gateway_headers(provider, address),
        has_custom_address=base.source != "none",
    )


def _make_route(resolved: ResolvedProvider, base: BaseAddress, *, has_key: bool) -> tuple[Route, ModelRow | None]:
    """Return the route to the address *base*, and what is known of the model."""
    row, settings = resolved.provider.row, resolved.settings
    wire, model = _split_wire(row, resolved)
    model_row = find_model_row(resolved, model)
    route = Route(
        provider=resolved.provider.id,
        wire=wire or _choose_wire(resolved.provider, model, model_row),
        model=model,
        base_url=base.url,
        quirks=_choose_quirks(resolved.provider, base),
        facts=models.make_facts(model_row) if model_row else ModelFacts(),
        headers=row.headers | fill_headers(row.setting_headers, settings),
        seed=f"{os.urandom(3).hex()}_",
        settings=settings,
    )
    path = addresses.find_path(row, route, has_key=has_key) if model else None
    return msgspec.structs.replace(route, path=path), model_row


def _choose_quirks(provider: Provider, base: BaseAddress) -> Quirks:
    """Return the quirks of the server at *base*: another one than the provider's own may end without a marker."""
    row = provider.row
    is_own = base.source in ("none", "gateway") or has_same_origin(base.url, row.address.base_url)
    if is_own or "done_marker" in provider.table.get("quirks", {}):
        return row.quirks
    return msgspec.structs.replace(row.quirks, done_marker=False)


def _split_wire(row: ProviderRow, resolved: ResolvedProvider) -> tuple[str | None, str]:
    """Return the wire that the request names, if any, and the model without it."""
    model = row.models.default if resolved.model == "default" and row.models.default else resolved.model
    if row.wire != "from_model" or not model:
        return resolved.spec.wire, model
    known = row.cases.get(model)
    wire, _, rest = (known.exchange if known else model).partition("/")
    if wire not in registry.list_names():
        # There is no such exchange either, which the replay reports.
        return (row.models.default or "").partition("/")[0], model
    return wire, model if known else rest


def _choose_wire(provider: Provider, model: str, model_row: ModelRow | None) -> str:
    if model_row and model_row.wire and "wire" not in provider.table:
        return model_row.wire
    return provider_rows.choose_wire(provider.row, model)


def change_wire(target: Target, wire: str) -> Target:
    """Return *target* speaking *wire*."""
    route = msgspec.structs.replace(target.route, wire=wire)
    path = addresses.find_path(target.row, route, has_key=True)
    return msgspec.structs.replace(target, route=msgspec.structs.replace(route, path=path))
