"""The AWS scheme: bearer keys without the SDK, signatures equal to the SDK's, and what a missing login leads to."""

import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.auth.memory import Memory
from sidecar.auth.scheme import Call
from sidecar.auth.schemes import aws
from sidecar.auth.schemes.aws_chain import Keys
from sidecar.catalogue import provider_rows
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest
from sidecar.core.secret import Secret
from sidecar.providers.values import Target
from sidecar.wires import bedrock_converse
from sidecar.wires.shared.types import Route
from tests.support.fake_exchange import FakeExchange

pytestmark = pytest.mark.long

AT = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDENVIRONMENT", "AWS_SECRET_ACCESS_KEY": "made/up+secret"}
REQUEST = HttpRequest(
    method="POST",
    url="https://bedrock-runtime.eu-west-1.amazonaws.com/model/a.b%3A0/converse-stream",
    headers={"content-type": "application/json"},
    body=b'{"messages":[]}',
)


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the keys and logins of whoever runs the tests out of them."""
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Return the environment that names two files of AWS's, both empty."""
    for name in ("config", "credentials"):
        (tmp_path / name).write_text("")
    return {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }


def write(files: dict[str, str], **texts: str) -> None:
    for name, text in texts.items():
        variable = {"config": "AWS_CONFIG_FILE", "credentials": "AWS_SHARED_CREDENTIALS_FILE"}[name]
        Path(files[variable]).write_text(text)


def call(
    env: Mapping[str, str],
    *,
    bearer: str | None = None,
    memory: Memory,
    request: HttpRequest | None = REQUEST,
    **settings: str,
) -> Call:
    route = Route(
        provider="bedrock",
        wire="bedrock_converse",
        model="a.b:0",
        base_url="https://bedrock-runtime.eu-west-1.amazonaws.com",
        settings={"region": "eu-west-1"} | settings,
    )
    target = Target(
        row=provider_rows.read_providers()["bedrock"],
        route=route,
        credential=Secret(bearer, "environment") if bearer else None,
        list_base_url="https://bedrock.eu-west-1.amazonaws.com",
        env=env,
    )
    return Call(target=target, exchange=FakeExchange(), memory=memory, request=request)


def pair(profile: str, key: str) -> str:
    return f"[{profile}]\naws_access_key_id = {key}\naws_secret_access_key = made/up+secret\n"


async def headers(made: Call) -> dict[str, str]:
    return (await aws.make_headers(made)).headers


async def refusal(made: Call) -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        await aws.make_headers(made)
    return caught.value


def signer_of(headers: dict[str, str]) -> str:
    found = re.search(r"Credential=([^/]+)/", headers["authorization"])
    assert found
    return found[1]


# --- a bearer key ----------------------------------------------------------------------------


async def test_a_bearer_key_goes_before_keys_that_sign(memory: Memory) -> None:
    assert await headers(call(KEYS, bearer="bedrock-api-key-abc", memory=memory)) == {
        "authorization": "Bearer bedrock-api-key-abc"
    }


@pytest.mark.spawns
def test_a_bearer_key_imports_no_sdk() -> None:
    program = (
        "import anyio, sys\n"
        "from tests.auth.test_aws import aws, call\n"
        "anyio.run(aws.make_headers, call({}, bearer='key', memory=None))\n"
        "print([name for name in sys.modules if name.startswith(('boto', 'anthropic', 'openai'))])\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "[]\n"


# --- the signature ---------------------------------------------------------------------------


def sent_by_sdk(monkeypatch: pytest.MonkeyPatch, service: str, token: str | None, operation: str, **params: Any) -> Any:
    """Return the request that botocore's own client would send at AT."""
    import botocore.auth
    from botocore.awsrequest import AWSResponse
    from botocore.session import Session

    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: AT.replace(tzinfo=None))
    client = Session().create_client(
        service,
        region_name="eu-west-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="made/up+secret",
        aws_session_token=token,
    )
    sent: list[Any] = []

    class Raw:
        def read(self, *_: object) -> bytes:
            return b"{}"

        def stream(self, **_: object) -> Any:
            yield b"{}"

    def keep(request: Any, **_: object) -> AWSResponse:
        sent.append(request)
        return AWSResponse(request.url, 200, {"content-type": "application/json"}, Raw())

    client.meta.events.register("before-send", keep)
    getattr(client, operation)(**params)
    return sent[0]


MODELS = (
    "anthropic.claude-haiku-4-5-20251001-v1:0",
    "us.deepseek.v3.2",
    "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123xyz",
)


@pytest.mark.parametrize("token", [None, "made-up-session-token=="])
@pytest.mark.parametrize("model", MODELS)
def test_a_signature_is_the_one_that_the_sdk_makes(
    monkeypatch: pytest.MonkeyPatch, model: str, token: str | None
) -> None:
    theirs = sent_by_sdk(
        monkeypatch, "bedrock-runtime", token, "converse", modelId=model, messages=[{"role": "user", "content": []}]
    )
    request = HttpRequest(
        method="POST", url=theirs.url, headers={"content-type": "application/json", "accept": "*/*"}, body=theirs.body
    )
    ours = aws.sign(request, Keys("AKIDEXAMPLE", "made/up+secret", token), "eu-west-1", "bedrock", AT)
    assert ours["authorization"] == theirs.headers["Authorization"].decode()
    assert ours["x-amz-date"] == "20261120T120000Z"
    assert ours.get("x-amz-security-token") == token


@pytest.mark.parametrize("model", MODELS)
def test_the_address_that_is_signed_is_the_one_that_the_wire_makes(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    from protocol.messages import Message
    from protocol.requests import Chat

    theirs = sent_by_sdk(
        monkeypatch, "bedrock-runtime", None, "converse", modelId=model, messages=[{"role": "user", "content": []}]
    )
    chat = Chat(model=model, messages=[Message(role="user", content="Hi")])
    route = Route(
        provider="bedrock",
        wire="bedrock_converse",
        model=model,
        base_url="https://bedrock-runtime.eu-west-1.amazonaws.com",
    )
    ours = bedrock_converse.make_whole_request(bedrock_converse.encode(chat, route).request)
    assert ours.url == theirs.url


def test_a_request_of_the_control_plane_is_signed_as_the_sdk_does(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = sent_by_sdk(
        monkeypatch, "bedrock", None, "list_inference_profiles", maxResults=1000, typeEquals="SYSTEM_DEFINED"
    )
    request = HttpRequest(method="GET", url=theirs.url, headers={})
    ours = aws.sign(request, Keys("AKIDEXAMPLE", "made/up+secret", None), "eu-west-1", "bedrock", AT)
    assert "type=SYSTEM_DEFINED" in theirs.url
    assert ours["authorization"] == theirs.headers["Authorization"].decode()


async def test_the_keys_of_the_environment_sign_for_the_region_now(memory: Memory) -> None:
    made = await headers(call(KEYS | {"AWS_SESSION_TOKEN": "a-token"}, memory=memory))
    day = datetime.now(UTC)
    assert re.match(
        rf"AWS4-HMAC-SHA256 Credential=AKIDENVIRONMENT/({day:%Y%m%d}|{day - timedelta(days=1):%Y%m%d})/eu-west-1/"
        r"bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, "
        r"Signature=[0-9a-f]{64}\Z",
        made["authorization"],
    )
    assert made["x-amz-security-token"] == "a-token"
    assert set(made) == {"authorization", "x-amz-date", "x-amz-security-token"}


async def test_half_a_pair_of_keys_is_named(memory: Memory) -> None:
    error = await refusal(call({"AWS_ACCESS_KEY_ID": "AKIDENVIRONMENT"}, memory=memory))
    assert error.body.code == "auth_required"
    assert error.body.hint == "Set AWS_SECRET_ACCESS_KEY as well, or neither."


async def test_without_a_region_nothing_is_signed(memory: Memory) -> None:
    error = await refusal(call(KEYS, region="", memory=memory))
    assert (error.body.code, error.body.param) == ("invalid_request", "params.settings.region")


# --- after a refusal -------------------------------------------------------------------------


def refused(exception: str, message: str) -> SidecarError:
    body = f'{{"message":"{message}"}}'.encode()
    return bedrock_converse.classify(403, {"x-amzn-errortype": exception}, body)


def date_of(headers: dict[str, str]) -> datetime:
    return datetime.strptime(headers["x-amz-date"] + "+0000", "%Y%m%dT%H%M%SZ%z")


async def test_a_wrong_clock_is_set_right_by_what_aws_says_however_often_it_says_so(memory: Memory) -> None:
    made = call(KEYS, memory=memory)
    signed = date_of(await headers(made))
    received = signed + timedelta(minutes=10)
    error = refused(
        "InvalidSignatureException",
        f"Signature expired: {signed:%Y%m%dT%H%M%SZ} is now earlier than x ({received:%Y%m%dT%H%M%SZ} - 5 min.)",
    )
    assert error.body.hint == "The system clock is off by 10 min: set it."
    assert await aws.renew(made, error) is made.target
    assert await aws.renew(made, error) is made.target
    again = date_of(await headers(call(KEYS, memory=memory)))
    assert timedelta(minutes=9) < again - signed < timedelta(minutes=11)


async def test_a_clock_is_not_touched_by_a_refusal_that_names_no_time(memory: Memory) -> None:
    made = call(KEYS, memory=memory)
    assert await aws.renew(made, refused("RequestTimeTooSkewed", "The time is too skewed.")) is None
    assert not memory.signing_clock


async def test_refused_credentials_of_a_file_are_read_again(files: dict[str, str], memory: Memory) -> None:
    made = call(files, memory=memory)
    write(files, credentials=pair("default", "AKIDOLD"))
    await headers(made)
    write(files, credentials=pair("default", "AKIDNEW"))
    assert await aws.renew(made, refused("ExpiredTokenException", "expired")) is made.target
    assert signer_of(await headers(made)) == "AKIDNEW"


async def test_what_cannot_be_renewed_is_not_tried_again(memory: Memory) -> None:
    expired = refused("ExpiredTokenException", "expired")
    assert await aws.renew(call({}, bearer="key", memory=memory), expired) is None
    made = call(KEYS, memory=memory)
    await headers(made)
    assert await aws.renew(made, expired) is None


async def test_a_right_that_is_missing_is_not_asked_for_again(files: dict[str, str], memory: Memory) -> None:
    write(files, credentials=pair("default", "AKIDFILE"))
    made = call(files, memory=memory)
    await headers(made)
    assert await aws.renew(made, refused("AccessDeniedException", "no access")) is None


async def test_credentials_lead_to_no_other_address(memory: Memory) -> None:
    made = call(KEYS, memory=memory)
    assert await aws.prepare(made) is made.target
