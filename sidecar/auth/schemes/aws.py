"""AWS: Bedrock's bearer key, or a Signature Version 4 with the credentials of AWS's own chain.

Knows where credentials come from, what to do when there are none, and how a request is signed.
The chain and the signer are botocore's and block: they are imported and asked in a worker thread,
and not at all for a bearer key. Sources: botocore 1.44.5 `credentials.py`, `auth.py`,
`exceptions.py`, read 2026-11.
"""

import shlex
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.to_thread

from sidecar.auth.authorize import Call, Lookup
from sidecar.catalogue import provider_rows
from sidecar.core.errors import SidecarError, invalid
from sidecar.core.http import HttpRequest
from sidecar.providers.settings import is_on
from sidecar.providers.values import Target
from sidecar.wires.shared.aws_signatures import CLOCK_SKEW, read_signing_times

LIMIT_SECONDS = 10.0
"""How long credentials are waited for: a login page, a role or a program of the user's may be behind them."""

REREAD_SECONDS = 30.0
"""How long keys read from a file are good: other programs write new ones there."""

MAX_CHAINS = 100
"""Chains that are remembered: a request may name a profile of its own."""

MAX_FILE_BYTES = 1024 * 1024
"""Of what is read of a file of AWS's."""

_FILES = frozenset({"shared-credentials-file", "config-file"})
"""botocore's names for credentials that are plain keys in a file."""

_PROFILE_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")

_SIGNED_HEADERS = frozenset({"content-type"})
"""What is signed beside the host and AWS's own headers; a proxy may change all others."""


class Keys(NamedTuple):
    """What a request is signed with."""

    access_key: str
    secret_key: str
    token: str | None


class _Source(NamedTuple):
    """Which chain to ask."""

    profile: str | None
    chosen: bool
    """The profile was asked for by more than the environment, so that keys in the environment do not count."""
    config_file: str | None
    credentials_file: str | None
    instance_metadata: bool


class _Chain:
    """The credentials of one source, asked for by one request at a time."""

    __slots__ = ("asking", "credentials", "read_at", "turn")

    def __init__(self) -> None:
        self.turn = anyio.Lock()
        self.asking = False
        """Whether a thread asks, even when nobody waits for it any more."""
        self.credentials: Any = None
        self.read_at = 0.0


_CLOCK = ("aws", "clock")
"""Where the sessions have the time that our clock is behind."""


async def prepare(call: Call) -> Target:
    """Return the target as it is: credentials lead to no address."""
    return call.target


async def settings(lookup: Lookup) -> dict[str, str]:
    """Return the region of the profile, nothing where it names none."""
    return await anyio.to_thread.run_sync(_of_profile, lookup.env, lookup.own.get("profile"), abandon_on_cancel=True)


async def renew(call: Call, error: SidecarError) -> Target | None:
    """Set the clock right, or forget the credentials, after a refusal; None when neither would help."""
    if call.target.credential is not None:
        return None
    if error.body.reason == CLOCK_SKEW:
        times = read_signing_times(error.body.message)
        if times is None:
            return None
        call.sessions[_CLOCK] = times[1] - datetime.now(UTC)
        return call.target
    source = _source(call.target)
    if error.body.code not in ("auth_failed", "auth_required") or (
        not source.chosen and environment_keys(call.target.env)
    ):
        return None
    return call.target if _chains(call).pop(source, None) else None


async def headers(call: Call) -> dict[str, str]:
    """Return the bearer, or the headers that sign the call's request.

    Raises: SidecarError `auth_required` when there are no credentials, `network_error` when a login is out of reach,
    `invalid_request` without a region.
    """
    target, request = call.target, call.request
    if target.credential is not None:
        return {"authorization": f"Bearer {target.credential.reveal()}"}
    if request is None:
        return {}
    region = target.route.settings.get("region")
    if not region:
        raise invalid("A request to AWS is signed for a region: set `region`.", "params.settings.region")
    source = _source(target)
    chain = _chain(call, source)
    at = datetime.now(UTC) + call.sessions.get(_CLOCK, timedelta())

    def signed() -> dict[str, str]:
        keys = (None if source.chosen else environment_keys(target.env)) or _chain_keys(
            chain, source, region, target.env
        )
        return sign(request, keys, region, target.row.auth.signing_name, at)

    try:
        with anyio.fail_after(LIMIT_SECONDS):
            async with chain.turn:
                return await anyio.to_thread.run_sync(signed, abandon_on_cancel=True)
    except TimeoutError:
        raise _none(source, f"AWS gave no credentials within {LIMIT_SECONDS:.0f} s.", _LOOK, reason="timeout") from None


def _source(target: Target) -> _Source:
    env, profile = target.env, target.route.settings.get("profile")
    return _Source(
        profile=profile,
        chosen=profile is not None and profile not in map(env.get, _PROFILE_VARIABLES),
        config_file=env.get("AWS_CONFIG_FILE"),
        credentials_file=env.get("AWS_SHARED_CREDENTIALS_FILE"),
        instance_metadata=_metadata_wanted(env, target.route.settings),
    )


def _metadata_wanted(env: Mapping[str, str], own: Mapping[str, Any]) -> bool:
    """Return whether the instance may be asked for its role: it gives its own rights to whoever asks.

    So it is asked only where the user says so. Where AWS's own variable says no, botocore does not ask either.
    """
    if "instance_metadata" in own:
        return is_on(own, "instance_metadata")
    return env.get("AWS_EC2_METADATA_DISABLED", "").lower() == "false"


def _of_profile(env: Mapping[str, str], profile: str | None) -> dict[str, str]:
    """Return the region that *profile*, or else the default one, has in AWS's files. Blocks.

    Read as botocore does (`session.py`, `configloader.py`, whose import costs more than the files): what a
    profile has in the file of credentials goes before what it has in that of configurations.
    """
    name, home = profile or "default", env.get("HOME") or env.get("USERPROFILE") or ""
    files = (("AWS_SHARED_CREDENTIALS_FILE", "credentials", (name,)), ("AWS_CONFIG_FILE", "config", _sections(name)))
    for variable, usual, sections in files:
        if file := env.get(variable) or (home and f"{home}/.aws/{usual}"):
            said = _ini(file.replace("~", home, 1) if file.startswith("~/") else file)
            for section in sections:
                if region := said.get(section, {}).get("region"):
                    return {"region": region}
    return {}


def _sections(profile: str) -> tuple[str, ...]:
    named = (f"profile {profile}", f'profile "{profile}"')
    return (*named, profile) if profile == "default" else named


def _ini(file: str) -> Mapping[str, Mapping[str, str]]:
    """Return the sections of a file, none of one that is not there or makes no sense: the chain says what is wrong."""
    import configparser

    parser = configparser.RawConfigParser()
    try:
        with Path(file).open("rb") as opened:
            parser.read_string(opened.read(MAX_FILE_BYTES).decode())
    except (OSError, ValueError, configparser.Error):
        return {}
    return {name: dict(parser[name]) for name in parser.sections()}


def _chains(call: Call) -> dict[_Source, _Chain]:
    found: dict[_Source, _Chain] = call.sessions.setdefault(__name__, {})
    return found


def _chain(call: Call, source: _Source) -> _Chain:
    """Return the chain of *source*; of those that nobody has used for the longest time some are forgotten."""
    chains = _chains(call)
    chain = chains[source] = chains.pop(source) if source in chains else _Chain()
    if len(chains) > MAX_CHAINS:
        del chains[next(iter(chains))]
    return chain


def environment_keys(env: Mapping[str, str]) -> Keys | None:
    """Return the keys in the environment, or None.

    Raises: SidecarError `auth_required` for half a pair.
    """
    access_key, secret_key = env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY")
    if not access_key:
        return None
    if not secret_key:
        raise SidecarError(
            "auth_required",
            "AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY.",
            hint="Set AWS_SECRET_ACCESS_KEY as well, or neither.",
        )
    return Keys(access_key, secret_key, env.get("AWS_SESSION_TOKEN") or env.get("AWS_SECURITY_TOKEN"))


def sign(request: HttpRequest, keys: Keys, region: str, service: str, at: datetime) -> dict[str, str]:
    """Return the headers that sign *request* for a *service* in a *region* as of *at*. Blocks for the hash of the body.

    Other headers of the request may still be added or changed; its method, URL and body may not.
    """
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    made = {"x-amz-date": at.strftime("%Y%m%dT%H%M%SZ")}
    if keys.token:
        made["x-amz-security-token"] = keys.token
    sent = {name: value for name, value in request.headers.items() if name.lower() in _SIGNED_HEADERS}
    aws_request = AWSRequest(method=request.method, url=request.url, data=request.body, headers=sent | made)
    aws_request.context["timestamp"] = made["x-amz-date"]
    signer = SigV4Auth(keys, service, region)
    text = signer.string_to_sign(aws_request, signer.canonical_request(aws_request))
    names = signer.signed_headers(signer.headers_to_sign(aws_request))
    made["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(aws_request)}, SignedHeaders={names}, "
        f"Signature={signer.signature(text, aws_request)}"
    )
    return made


def _chain_keys(chain: _Chain, source: _Source, region: str, env: Mapping[str, str]) -> Keys:
    """Return the keys that the chain has now; those that wear off are refreshed. Blocks.

    Raises: SidecarError `auth_required` or `network_error`, TimeoutError while another thread hangs.
    """
    if chain.asking:
        raise TimeoutError
    from botocore.exceptions import BotoCoreError, ClientError

    chain.asking = True
    try:
        if chain.credentials is None or _is_old(chain):
            chain.credentials = _load(source, region, env)
            chain.read_at = time.monotonic()
        frozen = chain.credentials and chain.credentials.get_frozen_credentials()
    except (BotoCoreError, ClientError, OSError, ValueError, LookupError, RuntimeError) as error:
        # What a login, a program or a file of the user's may fail with; only the first two are promised.
        chain.credentials = None
        raise _failure(error, source) from None
    finally:
        chain.asking = False
    if frozen is None:
        raise _none(source, "There are no credentials for AWS: neither a key nor a login.", _ANY_LOGIN)
    return Keys(frozen.access_key, frozen.secret_key, frozen.token)


def _is_old(chain: _Chain) -> bool:
    return chain.credentials.method in _FILES and time.monotonic() - chain.read_at > REREAD_SECONDS


def _load(source: _Source, region: str, env: Mapping[str, str]) -> Any:
    """Return botocore's credentials of *source*, or None; a role is asked for in *region* if its profile has none."""
    from botocore.session import Session

    session = Session(profile=source.profile)
    for name, value in (("config_file", source.config_file), ("credentials_file", source.credentials_file)):
        if value:
            session.set_config_variable(name, value)
    if session.get_config_variable("region") is None:
        session.set_config_variable("region", region)
    resolver = session.get_component("credential_provider")
    # The environment has been looked at, by the rule of our own.
    resolver.remove("env")
    if not source.instance_metadata:
        resolver.remove("iam-role")
    quiet = _without_keys(env)
    for provider in resolver.providers:
        if provider.METHOD == "assume-role":
            provider._prompter = _no_prompt  # noqa: SLF001 - it would read a code from the user's terminal
            _start_with(quiet, provider._profile_provider_builder)  # noqa: SLF001 - of a role's source profile
        elif provider.METHOD == "custom-process":
            provider._popen = partial(provider._popen, env=quiet)  # noqa: SLF001 - there is no other way
    return resolver.load_credentials()


def _without_keys(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program that gives AWS's credentials: it has no business with any other key."""
    others = {
        name for row in provider_rows.read_providers().values() for name in (*row.auth.key_env, *row.auth.token_env)
    }
    return {
        name: value
        for name, value in env.items()
        if name.startswith("AWS_") or not (name in others or name.startswith("SIDECAR_"))
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


def _failure(error: Exception, source: _Source) -> SidecarError:
    """Return what *error* means. Its own text may hold what a program has printed, and is not shown."""
    names = [each.__name__ for each in type(error).__mro__]
    for name in names:
        if why := _WHY.get(name):
            return _none(source, why.message, why.command)
    if not _OUT_OF_REACH.isdisjoint(names):
        return SidecarError("network_error", "AWS's login could not be reached.", reason="login")
    return _none(source, "AWS gives no credentials.", _LOOK)


def _none(source: _Source, message: str, command: str, reason: str | None = None) -> SidecarError:
    profile = f" --profile {shlex.quote(source.profile)}" if source.profile and command.startswith("aws ") else ""
    return SidecarError("auth_required", message, reason=reason, hint=f"Run `{command}{profile}`.")
