"""AWS's own chain of credentials: profiles, logins, roles, containers, programs; and what to do when it gives none.

The chain is boto3's, which is botocore's, and blocks: it is imported and asked in a worker thread.
Sources: boto3 1.44.5 `session.py`, botocore 1.44.5 `credentials.py`, `exceptions.py`, `httpsession.py`, read 2026-11.
"""

import shlex
from collections.abc import Mapping
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import anyio
import msgspec

from sidecar.auth.extras import require_extra
from sidecar.auth.token_cache import Key, Minted, Terms, TokenCache
from sidecar.catalogue import provider_rows
from sidecar.core.errors import SidecarError
from sidecar.http.dial import make_tls_context
from sidecar.providers.settings import is_on
from sidecar.providers.values import Target

LIMIT_SECONDS = 10.0
"""How long credentials may take: a login page, a role or a program of the user's may be behind them."""

CONNECT_SECONDS, READ_SECONDS = 4.0, 8.0
"""How long boto3 waits for a login page: less than the limit, so that no thread outlives its request for long."""

REREAD_SECONDS = 30.0
"""How long keys are used before the chain is asked again: other programs write new ones into its files."""

ADVISORY_SECONDS = 15 * 60
"""botocore renews keys that expire this soon."""

TERMS = Terms(min_use_seconds=0.0)

_FILES = frozenset({"shared-credentials-file", "config-file"})
"""botocore's names for credentials that are plain keys in a file."""

_PROFILE_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")


class Keys(NamedTuple):
    """What a request is signed with."""

    access_key: str
    secret_key: str
    token: str | None


class Source(NamedTuple):
    """Which chain to ask."""

    profile: str | None
    is_chosen: bool
    """Whether the profile was asked for by more than the environment, so that keys in the environment do not count."""
    config_file: str | None
    credentials_file: str | None
    instance_metadata: bool
    key_variables: frozenset[str] = frozenset()
    """Variables with keys that no program for credentials may see, beside those of the catalogue."""


class Granted(msgspec.Struct, frozen=True):
    """The keys that a chain has given, and botocore's object that renews them."""

    keys: Keys
    credentials: Any


def find_source(target: Target) -> Source:
    """Return the chain that the target's settings and its environment name."""
    env, profile = target.env, target.route.settings.get("profile")
    return Source(
        profile=profile,
        is_chosen=profile is not None and profile not in map(env.get, _PROFILE_VARIABLES),
        config_file=env.get("AWS_CONFIG_FILE"),
        credentials_file=env.get("AWS_SHARED_CREDENTIALS_FILE"),
        instance_metadata=_wants_metadata(env, target.route.settings),
        key_variables=target.key_variables,
    )


def _wants_metadata(env: Mapping[str, str], own: Mapping[str, Any]) -> bool:
    """Return whether the instance may be asked for its role: it gives its own rights to whoever asks.

    So it is asked only where the user says so. Where AWS's own variable says no, botocore does not ask either.
    """
    if "instance_metadata" in own:
        return is_on(own, "instance_metadata")
    return env.get("AWS_EC2_METADATA_DISABLED", "").lower() == "false"


async def mint(tokens: TokenCache, key: Key, source: Source, region: str, env: Mapping[str, str]) -> Minted[Granted]:
    """Return the keys that the chain has now.

    Raises: SidecarError `auth_required` with the command that helps, or `network_error`.
    """
    last: Granted | None = tokens.peek(key)
    credentials = last.credentials if last and last.credentials.method not in _FILES else None
    try:
        with anyio.fail_after(LIMIT_SECONDS):
            return await tokens.run_in_thread(key, partial(_ask, credentials, source, region, env))
    except SidecarError:
        # The next request asks the chain anew: the user may have logged in meanwhile.
        tokens.forget(key)
        raise
    except TimeoutError:
        text = f"AWS gave no credentials within {LIMIT_SECONDS:.0f} s."
        raise _make_required_error(source, text, _LOOK, reason="timeout") from None


def _ask(credentials: Any, source: Source, region: str, env: Mapping[str, str]) -> Minted[Granted]:
    """Return the keys of botocore's *credentials*, renewed where they expire; None: those that the chain finds."""
    require_extra("aws", "boto3")
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        credentials = credentials or _load(source, region, env)
        frozen = credentials and credentials.get_frozen_credentials()
    except (BotoCoreError, ClientError, OSError, ValueError, LookupError, RuntimeError) as error:
        # What a login, a program or a file of the user's may fail with; only the first two are promised.
        raise _explain(error, source) from None
    if frozen is None:
        text = "There are no credentials for AWS: neither a key nor a login."
        raise _make_required_error(source, text, _ANY_LOGIN)
    keys = Keys(frozen.access_key, frozen.secret_key, frozen.token)
    return Minted(Granted(keys, credentials), 0.0 if _expires_soon(credentials) else REREAD_SECONDS)


def _expires_soon(credentials: Any) -> bool:
    """Return whether botocore would renew the keys before they are asked for again."""
    needs_refresh = getattr(credentials, "refresh_needed", None)
    return needs_refresh is not None and bool(needs_refresh(ADVISORY_SECONDS + REREAD_SECONDS))


def _load(source: Source, region: str, env: Mapping[str, str]) -> Any:
    """Return boto3's credentials of *source*, or None; a role is asked for in *region* if its profile has none."""
    from boto3.session import Session
    from botocore.config import Config
    from botocore.session import Session as Core

    core = Core(profile=source.profile)
    for name, value in (("config_file", source.config_file), ("credentials_file", source.credentials_file)):
        if value:
            core.set_config_variable(name, value)
    if core.get_config_variable("region") is None:
        core.set_config_variable("region", region)
    core.set_default_client_config(Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS))
    _trust_as_elsewhere()
    _limit_chain(core.get_component("credential_provider"), source, _drop_keys(env, source.key_variables))
    return Session(botocore_session=core).get_credentials()


def _limit_chain(resolver: Any, source: Source, quiet: dict[str, str]) -> None:
    """Leave out what is not to be asked; programs get the environment *quiet*."""
    # The environment has been looked at, by the rule of our own.
    resolver.remove("env")
    if not source.instance_metadata:
        resolver.remove("iam-role")
    for provider in resolver.providers:
        if provider.METHOD == "assume-role":
            provider._prompter = _no_prompt  # noqa: SLF001 - it would read a code from the user's terminal
            _start_with(quiet, provider._profile_provider_builder)  # noqa: SLF001 - of a role's source profile
        elif provider.METHOD == "custom-process":
            provider._popen = partial(provider._popen, env=quiet)  # noqa: SLF001 - there is no other way


def _trust_as_elsewhere() -> None:
    """Let botocore's clients trust what the program's own connections do, beside the bundle that botocore has.

    That is the system's store or SSL_CERT_FILE, where a company's own root certificate is.
    """
    from botocore.httpsession import URLLib3Session

    # There is no parameter for it. Nothing else here uses botocore's clients.
    URLLib3Session._get_ssl_context = lambda _: make_tls_context()  # noqa: SLF001 - as above


def _drop_keys(env: Mapping[str, str], named: frozenset[str]) -> dict[str, str]:
    """Return the environment of a program that gives AWS's credentials, which has no use for any other key.

    *named* are the variables that the configuration names. A variable that begins with a provider's id may hold a part
    of an identity.
    """
    rows = provider_rows.read_providers()
    columns = [(*row.auth.key_env, *row.auth.token_env, *chain(*row.auth.identity_env)) for row in rows.values()]
    others = frozenset(chain(*columns))
    prefixes = ("SIDECAR_", *(f"{name.upper()}_" for name in rows))

    def is_foreign(name: str, value: str) -> bool:
        # A whole document, such as Google's, may hold a private key.
        return name in others or name.startswith(prefixes) or value.lstrip().startswith("{")

    return {
        name: value
        for name, value in env.items()
        if name not in named and (name.startswith("AWS_") or not is_foreign(name, value))
    }


def _start_with(env: dict[str, str], builder: Any) -> None:
    make = builder._create_process_provider  # noqa: SLF001 - there is no other way

    def made(profile_name: str) -> Any:
        provider = make(profile_name)
        provider._popen = partial(provider._popen, env=env)  # noqa: SLF001 - as above
        return provider

    builder._create_process_provider = made  # noqa: SLF001 - as above


def _no_prompt(_: str) -> str:
    raise _NeedsCodeError


class _NeedsCodeError(RuntimeError):
    """A role asks for a code of a second factor."""


# --- what to do about it ---------------------------------------------------------------------


class _Why(NamedTuple):
    """What an exception of botocore's means, and the command that helps."""

    message: str
    command: str


_LOOK = "aws sts get-caller-identity"
_CONFIGURE = "aws configure"
_ANY_LOGIN = "aws sso login"
_SSO = _Why("The AWS SSO login has expired or was never made.", "aws sso login")
_LOGIN = _Why("The AWS login has expired or was never made.", "aws login")
_FILE = _Why("The AWS configuration cannot be used.", "aws configure list")

_WHY: dict[str, _Why] = {
    "SSOError": _SSO,
    "TokenRetrievalError": _SSO,
    "LoginError": _LOGIN,
    "MissingDependencyException": _Why(
        "Credentials of `aws login` need another package.", "pip install 'botocore[crt]'"
    ),
    "ProfileNotFound": _Why("The AWS configuration has no such profile.", _CONFIGURE),
    "ConfigParseError": _FILE,
    "ConfigNotFound": _FILE,
    "InvalidConfigError": _FILE,
    "PartialCredentialsError": _Why("The AWS configuration has half a pair of keys.", _CONFIGURE),
    "CredentialRetrievalError": _Why("The program that gives AWS credentials has failed.", _LOOK),
    "RefreshWithMFAUnsupportedError": _Why("The AWS role asks for a code, which cannot be typed here.", _LOOK),
    "_NeedsCodeError": _Why("The AWS role asks for a code, which cannot be typed here.", _LOOK),
}
"""By the name of an exception's class or of one that it derives from."""

_OUT_OF_REACH = frozenset({"ConnectionError", "HTTPClientError"})


def _explain(error: Exception, source: Source) -> SidecarError:
    """Return what *error* means. Its own text may hold what a program has printed, and is not shown."""
    names = [each.__name__ for each in type(error).__mro__]
    for name in names:
        if why := _WHY.get(name):
            return _make_required_error(source, why.message, why.command)
    if "SSLError" in names:
        hint = (
            "If a proxy reads TLS here, add your organization's root certificate to the system's trust store, or set "
            "SSL_CERT_FILE or AWS_CA_BUNDLE."
        )
        return SidecarError("network_error", "AWS's login could not be reached.", reason="login", hint=hint)
    if not _OUT_OF_REACH.isdisjoint(names):
        return SidecarError("network_error", "AWS's login could not be reached.", reason="login")
    return _make_required_error(source, "AWS gives no credentials.", _LOOK)


def _make_required_error(source: Source, message: str, command: str, reason: str | None = None) -> SidecarError:
    profile = f" --profile {shlex.quote(source.profile)}" if source.profile and command.startswith("aws ") else ""
    return SidecarError("auth_required", message, reason=reason, hint=f"Run `{command}{profile}`.")
