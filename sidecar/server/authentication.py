"""`authenticate`: a provider's credential stored, described, tried, and forgotten.

Knows what each operation says to the host, and what is stored. Must not know schemes, files or
the steps of a login.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from anyio.to_thread import run_sync as to_thread

from protocol.replies import Authentication, LoggedIn, Method, Status
from protocol.requests import Authenticate, ListModels
from sidecar.auth.logins import device_flow, imported
from sidecar.auth.logins.store import Secrets, Stored
from sidecar.catalogue import provider_rows
from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.core.errors import SidecarError, invalid
from sidecar.core.secret import Secret
from sidecar.core.single_flight import SharedTask
from sidecar.providers import resolve, settings
from sidecar.providers.resolve import Target
from sidecar.providers.setup import Setup
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest
from sidecar.upstream import model_lists, settings_discovery

_METHODS: dict[str, Method] = {"key": "api_key", "token": "access_token", "document": "api_key"}
"""By the kind of a credential."""


async def login(app: App, entry: OpenRequest, name: str, params: Authenticate) -> None:
    """Store the key of the request, or log in with a code that the user types in a browser."""
    row = resolve.known_providers(app.upstream.setup)[name]
    if row.auth == "none":
        raise invalid(f"{row.name} needs no login.", "provider")
    if params.existing:
        app.finish(entry, await _taken_over(app, name, row, params))
    elif params.api_key is not None:
        asked = ListModels(api_key=params.api_key)
        setup = await settings_discovery.informed(app.upstream, name, asked)
        target = resolve.provider_target(setup, name, asked)
        stored = _stored(setup, name, row, _credential(target), method="api_key")
        done = await app.upstream.single_flight.run_shielded(lambda: _kept(app, name, stored))
        app.finish(entry, done)
    elif row.login is not None:
        await _logged_in(app, entry, name, row)
    else:
        raise invalid(f"{row.name} has no login but a key: `params.api_key` is required.", "params.api_key")


async def status(app: App, entry: OpenRequest, name: str, params: Authenticate) -> None:  # noqa: ARG001 - an operation
    """Say how the provider is authorized."""
    app.finish(entry, described(app, name))


async def validate(app: App, entry: OpenRequest, name: str, params: Authenticate) -> None:
    """Ask the provider for something cheap that it gives to nobody without a good credential."""
    asked = ListModels(api_key=params.api_key)
    setup = await settings_discovery.informed(app.upstream, name, asked)
    target = resolve.provider_target(setup, name, asked)
    keys = resolve.keys(setup, target) or (None,)
    for number, key in enumerate(keys, 1):
        try:
            await _tried(app, entry, msgspec.structs.replace(target, credential=key))
        except SidecarError as error:
            if len(keys) == 1:
                raise
            raise error.with_(message=f"Key {number} of {len(keys)}: {error.body.message}") from None
    app.finish(entry, msgspec.structs.replace(described(app, name, target.credential), valid=True))


async def _tried(app: App, entry: OpenRequest, target: Target) -> None:
    if target.row.auth == "none":
        return
    path = settings.check_path(target.row, target.route.provider, target.route.settings)
    await model_lists.get_document(app.upstream, target, path, entry.state, any_key=False)


async def logout(app: App, entry: OpenRequest, name: str, params: Authenticate) -> None:  # noqa: ARG001 - an operation
    """Forget what is stored, and all that was made of it."""
    removed = await app.upstream.single_flight.run_shielded(lambda: app.upstream.store.remove(name))
    warnings = app.upstream.store.warnings
    # What schemes remember may be made of the credential, and is made anew where it is not.
    app.upstream.sessions.clear()
    for key in [key for key in app.upstream.model_lists if key[0] == name]:
        del app.upstream.model_lists[key]
    await app.upstream.look_into_store()
    app.finish(entry, msgspec.structs.replace(described(app, name), removed=removed, warnings=warnings))


OPERATIONS: dict[str, Callable[[App, OpenRequest, str, Authenticate], Awaitable[None]]] = {
    "login": login,
    "status": status,
    "validate": validate,
    "logout": logout,
}


# --- what there is ---------------------------------------------------------------------------


def found(setup: Setup, name: str, row: ProviderRow) -> tuple[Secret | None, str | None]:
    """Return the credential that a request would be sent with, and why it cannot be."""
    credential = None
    try:
        credential = resolve.credential_of(setup, name, row, None)
        resolve.provider_target(setup, name, ListModels())
    except SidecarError as error:
        # Without a credential there is none to say this of; a setting may come with the request.
        is_setting = (error.body.param or "").startswith("params.settings.")
        if is_setting or (credential is None and error.body.code == "auth_required"):
            return credential, None
        return None, error.body.message
    return credential, None


def logins(setup: Setup, name: str, row: ProviderRow) -> list[Literal["api_key", "device", "existing"]]:
    """Return what `login` takes for the provider."""
    if row.auth == "none":
        return []
    taken: list[Literal["api_key", "device", "existing"]] = ["api_key"]
    if row.login:
        taken.append("device")
    if name in setup.found.logins:
        taken.append("existing")
    return taken


def described(app: App, name: str, given: Secret | None = None) -> Authentication:
    """Return how provider *name* is authorized, by a credential of the request's own if one is given."""
    row = resolve.known_providers(app.upstream.setup)[name]
    credential, problem = found(app.upstream.setup, name, row)
    if given is not None and given.source == "request":
        credential, problem = given, None
    stored = app.upstream.store.get(name) if credential and credential.source == "store" else None
    return Authentication(
        provider=name,
        ready=problem is None and (credential is not None or _has_chain(app.upstream.setup, name, row)),
        logins=logins(app.upstream.setup, name, row),
        method=_method(app, name, row, credential),
        source=credential.source if credential and credential.source != "none" else None,
        account=stored.account if stored else None,
        existing_account=app.upstream.found.logins.get(name),
        storage=stored.storage if stored else None,
        expires_at=stored.expires_at if stored else None,
        problem=problem,
        warnings=app.upstream.store.warnings,
    )


def _method(app: App, name: str, row: ProviderRow, credential: Secret | None) -> Method | None:
    if credential is not None:
        stored = app.upstream.store.get(name) if credential.source == "store" else None
        return stored.method if stored else _METHODS[credential.kind]
    return "chain" if _has_chain(app.upstream.setup, name, row) and (row.identity_env or row.identity_files) else None


def _has_chain(setup: Setup, name: str, row: ProviderRow) -> bool:
    """Return whether a request without a credential of ours would find one, or needs none, as far as can be seen."""
    if not row.auth_optional:
        return False
    usual = provider_rows.providers().get(name)
    if usual is None or setup.config.providers.get(name, {}).get("auth_optional"):
        # The user says that it needs none, or where there is one.
        return True
    return not (row.identity_env or row.identity_files) or settings.has_identity(setup, name, row)


# --- a login ---------------------------------------------------------------------------------


async def _logged_in(app: App, entry: OpenRequest, name: str, row: ProviderRow) -> None:
    """Tell *entry* what the one login of the provider says, from the code on, until it has ended."""

    async def run(task: SharedTask[LoggedIn]) -> LoggedIn:
        return await _by_device(app, name, row, task)

    with app.upstream.single_flight.join(("login", name), run, keep_running=False) as task:
        sent = 0
        while not task.done:
            for update in task.updates[sent:]:
                # A request that joins late has no use for waits that are over.
                if not isinstance(update, Status) or ("status" in app.session.events and update is task.updates[-1]):
                    entry.lane.send([update])
            sent = len(task.updates)
            await task.wait_for_update()
        app.finish(entry, await task.wait())


async def _taken_over(app: App, name: str, row: ProviderRow, params: Authenticate) -> LoggedIn:
    if params.api_key is not None:
        raise invalid("Of `params.api_key` and `params.existing` one can be stored.", "params.existing")
    found = await to_thread(imported.find, app.upstream.setup, name, row, abandon_on_cancel=True)
    if found is None:
        raise invalid(f"No other program has left a login for {row.name}.", "params.existing")
    stored = _stored(app.upstream.setup, name, row, found.token, method="device", account=found.account)
    return await app.upstream.single_flight.run_shielded(lambda: _kept(app, name, stored))


async def _by_device(app: App, name: str, row: ProviderRow, task: SharedTask[LoggedIn]) -> LoggedIn:
    if row.login is None:
        raise invalid(f"{row.name} has no login.", "provider")
    at = device_flow.endpoints(row.login, settings.merged(app.upstream.setup, name, row, None))
    code = await device_flow.begin(app.upstream.http, at)
    task.report(code.shown)
    tokens = await device_flow.wait(app.upstream.http, at, code, task.report)
    account = await device_flow.account(app.upstream.http, at, tokens.access)
    stored = _stored(app.upstream.setup, name, row, tokens.access, method="device", account=account, tokens=tokens)
    return await _kept(app, name, stored)


def _stored(  # noqa: PLR0913 - what is stored
    setup: Setup,
    name: str,
    row: ProviderRow,
    credential: Secret,
    *,
    method: Method,
    account: str | None = None,
    tokens: device_flow.Tokens | None = None,
) -> Stored:
    now = datetime.now(UTC)
    renewal = tokens.renewal.reveal() if tokens and tokens.renewal else None
    return Stored(
        kind=credential.kind,
        method=method,
        home=resolve.home(setup, name, row),
        saved_at=now.isoformat(),
        account=account,
        expires_at=device_flow.expires_at(tokens, now) if tokens else None,
        secrets=Secrets(credential.reveal(), renewal),
    )


async def _kept(app: App, name: str, stored: Stored) -> LoggedIn:
    storage = await app.upstream.store.save(name, stored)
    warnings = app.upstream.store.warnings
    await app.upstream.look_into_store()
    return LoggedIn(
        provider=name,
        method=stored.method,
        account=stored.account,
        storage=storage,
        expires_at=stored.expires_at,
        warnings=warnings,
    )


def _credential(target: Target) -> Secret:
    if target.credential is None:
        raise invalid("The provider takes no key.", "params.api_key")
    return target.credential


def info(app: App, name: str, row: ProviderRow) -> dict[str, Any]:
    """Return what `list_providers` says of provider *name*."""
    setup, said = app.upstream.setup, described(app, name)
    credential, _ = found(setup, name, row)
    return {
        "id": name,
        "name": row.name,
        "wire": row.wire,
        "ready": said.ready,
        "auth": row.auth,
        "method": said.method,
        "credential_source": credential.source if credential else None,
        "logins": said.logins,
        "env": _variables(setup, name, row),
        "identity_env": row.identity_env,
        "built_in": name not in setup.config.providers or bool(row.env),
    } | ({"problem": said.problem} if said.problem else {})


def _variables(setup: Setup, name: str, row: ProviderRow) -> list[str]:
    """Return the environment variables that a key or token is looked for in."""
    table = setup.config.providers.get(name, {})
    named = [table[key] for key in ("api_key_env", "access_token_env") if key in table]
    return [*table.get("api_keys_env", ()), *named] or [*row.env, *row.token_env]
