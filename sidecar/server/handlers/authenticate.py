"""The action `authenticate`: store, describe, test or forget a provider's credential.

Must not know schemes, files or the steps of a login.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
from anyio.to_thread import run_sync as to_thread

from protocol.logins import Authentication, LoggedIn
from protocol.replies import Status
from protocol.requests import Authenticate
from sidecar.auth.logins import device_flow, imported
from sidecar.auth.logins.stored import Secrets, Stored
from sidecar.auth.status import describe_authorization
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.request_state import RequestState
from sidecar.core.single_flight import SharedTask
from sidecar.providers.addresses import find_check_path, list_missing_settings
from sidecar.providers.credential_rules import describe_server
from sidecar.providers.model_names import find_id
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.rows import get_provider
from sidecar.providers.settings import merge_settings, read_storable
from sidecar.providers.values import Provider, ResolvedProvider, Target, TargetSpec
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest
from sidecar.upstream import model_lists
from sidecar.upstream.context import Upstream
from sidecar.upstream.settings_discovery import discover_settings


async def authenticate(app: App, request: OpenRequest, params: Authenticate) -> LoggedIn | Authentication:
    """Log in to a provider, describe how it is authorized, test its credential, or log out.

    Raises: SidecarError `invalid_request`, `unknown_provider`, `auth_required`, `auth_failed`, and the errors of
    the provider.
    """
    provider = request.require_provider()
    await app.upstream.load_credentials()
    name = find_id(app.upstream.config, provider)
    request.state.progress.provider = name
    return await _OPERATIONS[params.op](app, request, name, params)


# --- login -----------------------------------------------------------------------------------


async def _log_in(app: App, request: OpenRequest, name: str, params: Authenticate) -> LoggedIn:
    """Store a credential: the key of the request, another program's login, or what the user allows in a browser."""
    provider = get_provider(app.upstream.setup, name)
    row = provider.row
    if row.auth.scheme == "none":
        raise invalid_request(f"{row.name} needs no login.", "provider")
    storable = read_storable(provider, params.settings)
    if storable and (params.existing or params.api_key is None):
        text = "Settings are stored with a key: set `params.api_key` too."
        raise invalid_request(text, "params.api_key")
    if params.existing:
        return await _import_login(app.upstream, provider, params)
    if params.api_key is not None:
        return await _store_key(app.upstream, name, params)
    if row.auth.login is not None:
        return await _log_in_by_device(app, request, provider)
    missing = describe_authorization(provider, app.upstream.store).missing_settings
    fields = ["`params.api_key`", *(f"`params.settings.{name}`" for name in missing)]
    text = f"A login to {row.name} needs a key: set {' and '.join(fields)}."
    raise invalid_request(text, "params.api_key")


async def _store_key(up: Upstream, name: str, params: Authenticate) -> LoggedIn:
    resolved = await _resolve(up, name, params)
    credential = make_target(resolved).credential
    for name_of_setting in list_missing_settings(resolved):
        text = f"A login to {resolved.provider.row.name} needs the setting `{name_of_setting}` beside the key."
        raise invalid_request(text, f"params.settings.{name_of_setting}")
    if credential is None:
        raise invalid_request("This provider takes no key.", "params.api_key")
    stored = Stored(
        kind=credential.kind,
        method="api_key",
        server=describe_server(resolved.provider, params.settings),
        saved_at=datetime.now(UTC).isoformat(),
        settings=read_storable(resolved.provider, params.settings),
        secrets=Secrets(credential.reveal()),
    )
    return await up.single_flight.run_shielded(lambda: _save(up, name, stored))


async def _import_login(up: Upstream, provider: Provider, params: Authenticate) -> LoggedIn:
    if params.api_key is not None:
        raise invalid_request("Only one of `params.api_key` and `params.existing` can be stored.", "params.existing")
    login = await to_thread(imported.find_login, provider, abandon_on_cancel=True)
    if login is None:
        raise invalid_request(f"No other program has left a login for {provider.row.name}.", "params.existing")
    stored = Stored(
        kind=login.token.kind,
        method="device",
        server=describe_server(provider),
        saved_at=datetime.now(UTC).isoformat(),
        account=login.account,
        secrets=Secrets(login.token.reveal()),
    )
    return await up.single_flight.run_shielded(lambda: _save(up, provider.id, stored))


async def _log_in_by_device(app: App, request: OpenRequest, provider: Provider) -> LoggedIn:
    """Run the one login of the provider, or join it, and send its code and its waits to the host."""

    async def run(task: SharedTask[LoggedIn]) -> LoggedIn:
        return await _run_device_login(app.upstream, provider, task)

    with app.upstream.single_flight.join(("login", provider.id), run, keep_running=False) as task:
        sent = 0
        while not task.done:
            for update in task.updates[sent:]:
                # A request that joins late has no use for waits that are over.
                if not isinstance(update, Status) or (app.wants_status and update is task.updates[-1]):
                    request.lane.send([update])
            sent = len(task.updates)
            await task.wait_for_update()
        return await task.wait()


async def _run_device_login(up: Upstream, provider: Provider, task: SharedTask[LoggedIn]) -> LoggedIn:
    row = provider.row
    if row.auth.login is None:
        raise invalid_request(f"{row.name} has no login in a browser.", "provider")
    at = device_flow.make_endpoints(row.auth.login, merge_settings(provider, None))
    code = await device_flow.begin(up.exchange, at)
    task.report(code.shown)
    tokens = await device_flow.wait(up.exchange, at, code, task.report)
    account = await device_flow.find_account(up.exchange, at, tokens.access)
    now = datetime.now(UTC)
    stored = Stored(
        kind=tokens.access.kind,
        method="device",
        server=describe_server(provider),
        saved_at=now.isoformat(),
        account=account,
        expires_at=device_flow.compute_expiry(tokens, now),
        secrets=Secrets(tokens.access.reveal(), tokens.renewal.reveal() if tokens.renewal else None),
    )
    return await _save(up, provider.id, stored)


async def _save(up: Upstream, name: str, stored: Stored) -> LoggedIn:
    storage = await up.store.save(name, stored)
    warnings = up.store.warnings
    await up.load_credentials()
    return LoggedIn(
        provider=name,
        method=stored.method,
        account=stored.account,
        storage=storage,
        expires_at=stored.expires_at,
        warnings=warnings,
    )


# --- status, validate, logout ----------------------------------------------------------------


async def _describe(app: App, request: OpenRequest, name: str, params: Authenticate) -> Authentication:  # noqa: ARG001 - the signature of an operation
    """Return how the provider is authorized."""
    return describe_authorization(get_provider(app.upstream.setup, name), app.upstream.store)


async def _validate(app: App, request: OpenRequest, name: str, params: Authenticate) -> Authentication:
    """Ask the provider for something cheap that needs a valid credential, with each key there is."""
    up = app.upstream
    resolved = await _resolve(up, name, params)
    target = make_target(resolved)
    keys = target.keys or (None,)
    for number, key in enumerate(keys, 1):
        try:
            await _test_credential(up, request.state, msgspec.structs.replace(target, credential=key))
        except SidecarError as error:
            if len(keys) == 1:
                raise
            raise error.with_fields(message=f"Key {number} of {len(keys)}: {error.body.message}") from None
    described = describe_authorization(resolved.provider, up.store, target.credential)
    return msgspec.structs.replace(described, valid=True)


async def _resolve(up: Upstream, name: str, params: Authenticate) -> ResolvedProvider:
    spec = TargetSpec(provider=name, api_key=params.api_key, settings=params.settings)
    return await discover_settings(up, resolve_provider(up.setup, spec))


async def _test_credential(up: Upstream, state: RequestState, target: Target) -> None:
    if target.row.auth.scheme == "none":
        return
    path = find_check_path(target)
    await model_lists.fetch_document(up, target, path, state, any_key=False)


async def _log_out(app: App, request: OpenRequest, name: str, params: Authenticate) -> Authentication:  # noqa: ARG001 - the signature of an operation
    """Forget the stored credential, and everything that was derived from it."""
    up = app.upstream
    removed = await up.single_flight.run_shielded(lambda: up.store.remove(name))
    warnings = up.store.warnings
    up.forget_provider(name)
    await up.load_credentials()
    described = describe_authorization(get_provider(up.setup, name), up.store)
    return msgspec.structs.replace(described, removed=removed, warnings=warnings)


_OPERATIONS: dict[str, Callable[[App, OpenRequest, str, Authenticate], Awaitable[LoggedIn | Authentication]]] = {
    "login": _log_in,
    "status": _describe,
    "validate": _validate,
    "logout": _log_out,
}
