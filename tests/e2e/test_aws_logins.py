"""Every place that AWS's credentials may be in, through the whole process, and what an expired login leads to."""

import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.support.fake_services import Answer, Services, document
from tests.support.listening_services import online
from tests.support.process import Object, Sidecar
from tests.support.provider_rows import params, text_of

MODEL = "anthropic.claude-x-v1:0"
CHATS = "POST https://bedrock-runtime.eu-west-1.amazonaws.com/*"
STS = "POST https://sts.eu-west-1.amazonaws.com/"
PORTAL = "GET https://portal.sso.eu-west-1.amazonaws.com/federation/credentials?*"
IMDS = "/latest/meta-data/iam/security-credentials/"
EXPIRES = "2099-01-01T00:00:00Z"
PAIR = "aws_access_key_id = {}\naws_secret_access_key = CANARY-secret\n"

Given = tuple[dict[str, str], Object]
"""An environment, and the settings of a request."""


def chat(sidecar: Sidecar, settings: Object | None = None) -> Object:
    """Ask a chat and return the terminal line."""
    return sidecar.ask("stream_chat", params(model=MODEL, settings=settings or {}), provider="bedrock")


def signers(services: Services) -> list[str]:
    """Return whose keys the chats were signed with."""
    found = [
        re.search(r"Credential=(\w+)/\d+/eu-west-1/", seen.headers["authorization"]) for seen in services.asked(CHATS)
    ]
    return [each[1] if each else "" for each in found]


def files(folder: Path, config: str = "", credentials: str = "") -> dict[str, str]:
    """Write AWS's two files and return the environment that names them, and the region."""
    (folder / "config").write_text(config, encoding="utf-8")
    (folder / "credentials").write_text(credentials, encoding="utf-8")
    return {
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        "AWS_REGION": "eu-west-1",
    }


def role(key: str, action: str) -> Answer:
    """Return what STS answers: *action*'s keys of a role."""
    body = (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>'
        f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>CANARY-secret</SecretAccessKey>"
        f"<SessionToken>made-up</SessionToken><Expiration>{EXPIRES}</Expiration></Credentials></{action}Result>"
        f"<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"
    )
    return Answer(body.encode(), headers={"content-type": "text/xml"})


def keys(key: str) -> Object:
    """Return keys as the metadata of a container or an instance has them."""
    return {
        "Code": "Success",
        "AccessKeyId": key,
        "SecretAccessKey": "CANARY-secret",
        "Token": "made-up",
        "Expiration": EXPIRES,
        "LastUpdated": "2026-11-20T00:00:00Z",
    }


# --- the places ------------------------------------------------------------------------------


def environment(_: Services, folder: Path) -> Given:
    env = {"AWS_ACCESS_KEY_ID": "AKIDPLACE", "AWS_SECRET_ACCESS_KEY": "CANARY-secret"}
    return files(folder) | env, {}


def profile_of_the_environment(_: Services, folder: Path) -> Given:
    return files(folder, credentials=f"[work]\n{PAIR.format('AKIDPLACE')}") | {"AWS_PROFILE": "work"}, {}


def profile_of_the_request(_: Services, folder: Path) -> Given:
    return files(folder, f"[profile work]\n{PAIR.format('AKIDPLACE')}"), {"profile": "work"}


def role_of_a_profile(services: Services, folder: Path) -> Given:
    services.answer(STS, role("AKIDPLACE", "AssumeRole"))
    config = "[profile admin]\nrole_arn = arn:aws:iam::123456789012:role/admin\nsource_profile = base\n"
    return files(folder, config, f"[base]\n{PAIR.format('AKIDBASE')}"), {"profile": "admin"}


def web_identity(services: Services, folder: Path) -> Given:
    services.answer(STS, role("AKIDPLACE", "AssumeRoleWithWebIdentity"))
    (folder / "jwt").write_text("CANARY-jwt", encoding="utf-8")
    named = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "jwt"), "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/pod"}
    return files(folder) | named, {}


def container(services: Services, folder: Path) -> Given:
    services.answer(f"GET {services.url}/task", document(keys("AKIDPLACE")))
    named = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{services.url}/task",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "CANARY-task",
    }
    return files(folder) | named, {}


def process(_: Services, folder: Path) -> Given:
    said = {"Version": 1, "AccessKeyId": "AKIDPLACE", "SecretAccessKey": "CANARY-secret", "Expiration": EXPIRES}
    (folder / "give.py").write_text(f"print({json.dumps(said)!r})", encoding="utf-8")
    return files(folder, f'[default]\ncredential_process = "{sys.executable}" "{folder / "give.py"}"\n'), {}


def instance(services: Services, folder: Path) -> Given:
    answer_as_instance(services)
    return files(folder) | metadata(services) | {"AWS_EC2_METADATA_DISABLED": "false"}, {}


def answer_as_instance(services: Services) -> None:
    services.answer(f"PUT {services.url}/latest/api/token", Answer(b"made-up"))
    services.answer(f"GET {services.url}{IMDS}", Answer(b"robot"))
    services.answer(f"GET {services.url}{IMDS}robot", document(keys("AKIDPLACE")))


def metadata(services: Services) -> dict[str, str]:
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": services.url}


PLACES: list[Callable[[Services, Path], Given]] = [
    environment,
    profile_of_the_environment,
    profile_of_the_request,
    role_of_a_profile,
    web_identity,
    container,
    process,
    instance,
]


@pytest.mark.parametrize("place", PLACES)
def test_credentials_are_found_and_asked_for_once(services: Services, tmp_path: Path, place: Any) -> None:
    env, settings = place(services, tmp_path)
    services.answer(CHATS, text_of("bedrock_converse"))
    with online(services, tmp_path, **env) as sidecar:
        sidecar.allowed.programs.append("give.py")
        ids = [
            sidecar.send("stream_chat", params(model=MODEL, settings=settings), provider="bedrock") for _ in range(5)
        ]
        assert all(sidecar.reply(each)["success"] for each in ids)
    assert signers(services) == ["AKIDPLACE"] * 5
    assert len(services.asked(STS)) <= 1


def test_a_web_identity_shows_its_own_token(services: Services, tmp_path: Path) -> None:
    env, _ = web_identity(services, tmp_path)
    services.answer(CHATS, text_of("bedrock_converse"))
    with online(services, tmp_path, **env) as sidecar:
        assert chat(sidecar)["success"]
    assert parse_qs(services.only(STS).body.decode())["WebIdentityToken"] == ["CANARY-jwt"]


def test_the_bundle_that_aws_names_is_trusted_for_logins(services: Services, tmp_path: Path) -> None:
    env, settings = role_of_a_profile(services, tmp_path)
    trust = {"AWS_CA_BUNDLE": services.env["SSL_CERT_FILE"], "SSL_CERT_FILE": ""}
    with online(services, tmp_path, **env, **trust) as sidecar:
        error = chat(sidecar, settings)["error"]
    # The login was answered; the chat's own connection trusts what the rest of the program does.
    assert len(services.asked(STS)) == 1
    assert (error["code"], error["reason"]) == ("network_error", "tls")


def test_a_bearer_key_goes_before_them_all(services: Services, tmp_path: Path) -> None:
    services.answer(CHATS, text_of("bedrock_converse"))
    env = environment(services, tmp_path)[0] | {"AWS_BEARER_TOKEN_BEDROCK": "CANARY-bearer"}
    with online(services, tmp_path, **env) as sidecar:
        assert chat(sidecar)["success"]
    assert services.only().headers["authorization"] == "Bearer CANARY-bearer"


# --- the login of a company ------------------------------------------------------------------

SSO = "sso_account_id = 123456789012\nsso_role_name = dev\n"
START = "sso_region = eu-west-1\nsso_start_url = https://corp.test/start\n"
LOGINS = {
    "session": (f"[profile dev]\nsso_session = corp\n{SSO}[sso-session corp]\n{START}", "corp"),
    "no session": (f"[profile dev]\n{SSO}{START}", "https://corp.test/start"),
}


def log_in(home: Path, name: str, until: datetime) -> None:
    """Do what `aws sso login` does: write a token, which is good *until* then."""
    folder = home / ".aws" / "sso" / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    token = {
        "startUrl": "https://corp.test/start",
        "region": "eu-west-1",
        "accessToken": "made-up-login",
        "expiresAt": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    (folder / f"{sha1(name.encode()).hexdigest()}.json").write_text(json.dumps(token), encoding="utf-8")  # noqa: S324 - AWS's name of the file


def of_role(key: str, until: datetime) -> Answer:
    """Return what the portal gives for a login."""
    given = {
        "accessKeyId": key,
        "secretAccessKey": "CANARY-secret",
        "sessionToken": "made-up",
        "expiration": int(until.timestamp() * 1000),
    }
    return document({"roleCredentials": given})


@pytest.mark.parametrize("kind", LOGINS)
def test_an_expired_login_is_told_with_its_command_and_works_again_once_that_has_run(
    services: Services, tmp_path: Path, kind: str
) -> None:
    config, name = LOGINS[kind]
    services.answer(CHATS, text_of("bedrock_converse"))
    now = datetime.now(UTC)
    # The keys of the role wear off so soon that each chat needs the login.
    services.answer(
        PORTAL, of_role("AKIDFIRST", now + timedelta(minutes=1)), of_role("AKIDSECOND", now + timedelta(hours=1))
    )
    env = files(tmp_path, config) | {"AWS_PROFILE": "dev"}
    home = tmp_path / "home"
    log_in(home, name, now - timedelta(hours=1))
    with online(services, tmp_path, **env) as sidecar:
        for _ in range(2):
            error = chat(sidecar)["error"]
            assert (error["code"], error["retryable"]) == ("auth_required", False)
            assert error["hint"] == "Run `aws sso login --profile dev`."
        assert not services.asked(CHATS)
        log_in(home, name, now + timedelta(hours=8))
        assert chat(sidecar)["success"]
        log_in(home, name, now - timedelta(hours=1))
        services.answer(
            PORTAL,
            document({"message": "Session token not found or invalid"}, 401, x_amzn_errortype="UnauthorizedException"),
        )
        error = chat(sidecar)["error"]
        assert (error["code"], error["hint"]) == ("auth_required", "Run `aws sso login --profile dev`.")
        services.answer(PORTAL, of_role("AKIDTHIRD", now + timedelta(hours=1)))
        log_in(home, name, now + timedelta(hours=8))
        assert chat(sidecar)["success"]
    assert signers(services) == ["AKIDFIRST", "AKIDTHIRD"]
    assert services.asked(PORTAL)[0].headers["x-amz-sso_bearer_token"] == "made-up-login"


# --- the instance's own role -----------------------------------------------------------------

ON, OFF = ("[providers.bedrock]\ninstance_metadata = " + word for word in ("true", "false"))


@pytest.mark.parametrize(
    ("config", "env", "asked"),
    [
        ("", {}, False),
        (ON, {}, True),
        (OFF, {"AWS_EC2_METADATA_DISABLED": "false"}, False),
        (ON, {"AWS_EC2_METADATA_DISABLED": "true"}, False),
        ("", {"SIDECAR_BEDROCK_INSTANCE_METADATA": "true"}, True),
    ],
    ids=["by default", "configured", "configured off", "AWS's own variable", "our variable"],
)
def test_an_instance_is_asked_for_its_role_only_where_the_user_says_so(
    services: Services, tmp_path: Path, config: str, env: dict[str, str], asked: bool
) -> None:
    answer_as_instance(services)
    services.answer(CHATS, text_of("bedrock_converse"))
    with online(services, tmp_path, config, **files(tmp_path), **metadata(services), **env) as sidecar:
        reply = chat(sidecar, {"instance_metadata": True})
        assert reply["success"] is asked
        assert asked or reply["error"]["code"] == "auth_required"
    assert bool(services.asked(f"*{services.url}/latest/*")) is asked
    assert signers(services) == ["AKIDPLACE"] * asked
