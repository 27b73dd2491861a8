"""The credential of a provider: in the request, the configuration, the store or the environment. [pure]

Must not know to which address a credential may go (`credential_rules`).
"""

from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.config.values import Config
from sidecar.core.secret import Kind, Secret, parse_secret
from sidecar.providers.settings import read_settings
from sidecar.providers.values import Provider, TargetSpec

_KINDS: dict[str, Kind] = {"api_key": "key", "access_token": "token"}
"""Key of the user's table → the kind of its credential."""


def find_credential(provider: Provider, spec: TargetSpec) -> Secret | None:
    """Return the credential from the first place that has one, or None.

    Precedence: request > configuration > store > environment.

    Raises: SidecarError `invalid_request` for a credential that cannot be one.
    """
    if (requested := _read_request(provider.row, spec)) is not None:
        return requested
    if several := _read_keys(provider):
        return several[0]
    table, stored = provider.table, provider.setup.found.credentials.get(provider.id)
    for field, kind in _KINDS.items():
        if value := table.get(field):
            return parse_secret(value, "configuration", f"providers.{provider.id}.{field}", _kind(provider.row, kind))
        if variable := table.get(f"{field}_env"):
            # The user's own file names it, so it belongs to the address in that file.
            value = provider.setup.config.env.get(variable)
            return parse_secret(value, "configuration", variable, _kind(provider.row, kind)) if value else stored
    # If the user names variables, the usual ones do not count.
    return stored or (None if table.get("api_keys_env") else _read_environment(provider))


def list_keys(provider: Provider, credential: Secret | None) -> tuple[Secret, ...]:
    """Return *credential* and the user's other keys, which may replace it; empty if there is no credential."""
    if credential is None or credential.source != "configuration":
        return (credential,) if credential else ()
    others = [key for key in _read_keys(provider) if key.reveal() != credential.reveal()]
    return credential, *others


def list_named_variables(config: Config) -> frozenset[str]:
    """Return the variables that *config* names for keys and tokens, of any provider or gateway."""
    names = [
        value for table in (*config.providers.values(), config.gateway) for key, value in table.items() if key in _ENV
    ]
    return frozenset(name for value in names for name in ([value] if isinstance(value, str) else value))


_ENV = frozenset({"api_key_env", "api_keys_env", "access_token_env", "token_env"})


def has_identity(provider: Provider) -> bool:
    """Return whether the environment, the user's settings or a file name an identity of this machine."""
    setup, row = provider.setup, provider.row
    if provider.id in setup.found.identities:
        return True
    if any(all(map(setup.config.env.get, together)) for together in row.auth.identity_env):
        return True
    settings = read_settings(provider, None)
    return any(
        key in settings and str(settings[key]).lower() != "false"
        for key, setting in row.settings.items()
        if setting.names_identity
    )


def _read_request(row: ProviderRow, spec: TargetSpec) -> Secret | None:
    settings = spec.settings
    if spec.api_key is not None:
        return parse_secret(spec.api_key, "request", "params.api_key", _kind(row, "key"))
    if settings and settings.api_key is not None:
        return parse_secret(settings.api_key, "request", "params.settings.api_key", _kind(row, "key"))
    if settings and settings.access_token is not None:
        return parse_secret(settings.access_token, "request", "params.settings.access_token", "token")
    return None


def _read_keys(provider: Provider) -> list[Secret]:
    """Return the keys that the user's table lists, after the one beside the list; empty without a list."""
    table, env, where = provider.table, provider.setup.config.env, f"providers.{provider.id}"
    if not (table.get("api_keys") or table.get("api_keys_env")):
        return []
    values = [(f"{where}.api_key", table.get("api_key"))]
    values += [(variable, env.get(variable)) for variable in (table.get("api_key_env"),) if variable]
    values += [(f"{where}.api_keys[{index}]", key) for index, key in enumerate(table.get("api_keys", ()))]
    values += [(variable, env.get(variable)) for variable in table.get("api_keys_env", ())]
    return [parse_secret(value, "configuration", place) for place, value in values if value]


def _read_environment(provider: Provider) -> Secret | None:
    env, row = provider.setup.config.env, provider.row
    for variables, kind in ((row.auth.key_env, _KINDS["api_key"]), (row.auth.token_env, _KINDS["access_token"])):
        for variable in variables:
            if value := env.get(variable):
                return parse_secret(value, "environment", variable, _kind(row, kind))
    return None


def _kind(row: ProviderRow, kind: Kind) -> Kind:
    return "document" if kind == "key" and row.auth.accepts_documents else kind
