"""AWS: Bedrock's bearer key, or a Signature Version 4 with the credentials of AWS's own chain.

The chain is `aws_chain`, the region that a profile names `aws_files`. The signer is botocore's and blocks: it is
imported and asked in a worker thread, and not at all for a bearer key.
Source: botocore 1.44.5 `auth.py`, read 2026-11.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

import anyio.to_thread

from sidecar.auth.extras import require_extra
from sidecar.auth.redaction import Authorized
from sidecar.auth.scheme import Call, Lookup
from sidecar.auth.schemes import aws_chain, aws_files
from sidecar.auth.schemes.aws_chain import Keys, Source
from sidecar.auth.token_cache import Key
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.http import HttpRequest
from sidecar.providers.values import Target
from sidecar.wires.shared.aws_signatures import CLOCK_SKEW, read_signing_times

_SIGNED_HEADERS = frozenset({"content-type"})
"""What is signed beside the host and AWS's own headers; a proxy may change all others."""

_SECRET_HEADERS = frozenset({"authorization", "x-amz-security-token"})


async def prepare(call: Call) -> Target:
    """Return the target as it is: credentials lead to no address."""
    return call.target


async def make_headers(call: Call) -> Authorized:
    """Return the bearer, or the headers that sign the call's request.

    Raises: SidecarError `auth_required` when there are no credentials, `network_error` when a login is out of reach,
    `invalid_request` without a region.
    """
    target, request = call.target, call.request
    if target.credential is not None:
        return Authorized({"authorization": f"Bearer {target.credential.reveal()}"}, frozenset({"authorization"}))
    if request is None:
        return Authorized()
    region = target.route.settings.get("region")
    if not region:
        raise invalid_request("A request to AWS is signed for a region: set `region`.", "params.settings.region")
    keys = await _get_keys(call, region)
    at = datetime.now(UTC) + call.memory.signing_clock
    work = partial(sign, request, keys, region, target.row.auth.signing_name, at)
    signed = await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=call.memory.signing_turns)
    return Authorized(signed, _SECRET_HEADERS)


async def renew(call: Call, error: SidecarError) -> Target | None:
    """Set the clock of signatures, or forget the credentials, after a refusal; None when neither would help."""
    if call.target.credential is not None:
        return None
    if error.body.reason == CLOCK_SKEW:
        times = read_signing_times(error.body.message)
        if times is None:
            return None
        call.memory.signing_clock = times[1] - datetime.now(UTC)
        return call.target
    source = aws_chain.find_source(call.target)
    if error.body.code not in ("auth_failed", "auth_required") or (
        not source.is_chosen and read_environment_keys(call.target.env)
    ):
        return None
    # What another program has written meanwhile counts at once.
    return call.target if call.memory.tokens.forget(_key(call, source)) else None


async def find_settings(lookup: Lookup) -> dict[str, str]:
    """Return the region of the profile, nothing where it names none."""
    work = partial(aws_files.read_region, lookup.env, lookup.settings.get("profile"))
    return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)


async def _get_keys(call: Call, region: str) -> Keys:
    source = aws_chain.find_source(call.target)
    keys = None if source.is_chosen else read_environment_keys(call.target.env)
    if keys is not None:
        return keys
    tokens, key = call.memory.tokens, _key(call, source)
    mint = partial(aws_chain.mint, tokens, key, source, region, call.target.env)
    return (await tokens.get(key, mint, aws_chain.TERMS)).keys


def _key(call: Call, source: Source) -> Key:
    return Key("aws", call.target.route.provider, source=source)


def read_environment_keys(env: Mapping[str, str]) -> Keys | None:
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
    """Return the headers that sign *request* for a *service* in a *region* as of *at*; blocks to hash the body.

    Other headers of the request may still be added or changed; its method, URL and body may not.
    """
    require_extra("aws", "botocore.auth")
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
