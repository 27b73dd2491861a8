"""Vertex AI with credentials that make tokens: in a file, in a document, by impersonation, of another cloud."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

from tests.support.fake_services import Answer, Seen, Services, document
from tests.support.google_files import EXTERNAL, PROGRAM, USER, service_account
from tests.support.in_process import online
from tests.support.lines import Object
from tests.support.program import Program
from tests.support.provider_rows import params, text_of

pytestmark = pytest.mark.long

MODEL = "gemini-x"
CHATS = "POST https://*aiplatform.googleapis.com/*:streamGenerateContent*"
TOKENS = "POST https://token.test/token"
LOGINS = "POST https://oauth2.googleapis.com/token"
STS = "POST https://sts.googleapis.com/v1/token"
IMPERSONATION = (
    "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
    "robot@robots-1.iam.gserviceaccount.com:generateAccessToken"
)
ROBOT = {
    "type": "impersonated_service_account",
    "service_account_impersonation_url": IMPERSONATION,
    "source_credentials": USER,
}
POOL = EXTERNAL | {"audience": "//iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/p"}
REFUSED = document({"error": {"code": 401, "message": "Bad token.", "status": "UNAUTHENTICATED"}}, 401)


def token(name: str = "CANARY-token", seconds: int = 3600) -> Answer:
    return document({"access_token": name, "expires_in": seconds, "token_type": "Bearer"})


def chat(sidecar: Program, **more: Any) -> Object:
    """Ask a chat and return the terminal line."""
    return sidecar.ask("stream_chat", params(model=MODEL, **more), provider="vertex")


def place_of(seen: Seen) -> tuple[str, str]:
    """Return the project and the location that were asked."""
    parts = seen.path.split("/")
    return parts[parts.index("projects") + 1], parts[parts.index("locations") + 1]


def written(folder: Path, info: Object) -> dict[str, str]:
    """Write a credentials file and return the environment that names it."""
    file = folder / "credentials.json"
    file.write_text(json.dumps(info), encoding="utf-8")
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}


def ready(services: Services) -> None:
    services.answer(CHATS, text_of("gemini"))
    services.answer(TOKENS, token())
    services.answer(LOGINS, token())
    expiry = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    services.answer(f"POST {IMPERSONATION}", document({"accessToken": "CANARY-robot", "expireTime": expiry}))
    services.answer(
        STS,
        document(
            {"access_token": "CANARY-pool", "expires_in": 3600, "token_type": "Bearer"}
            | {"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
        ),
    )


# --- where credentials may be ----------------------------------------------------------------


def in_environment(_: Path, text: str) -> tuple[str, dict[str, str]]:
    return "", {"GOOGLE_APPLICATION_CREDENTIALS": text}


def in_configuration(_: Path, text: str) -> tuple[str, dict[str, str]]:
    return f"[providers.vertex]\napi_key = '''{text}'''\n", {}


def in_named_variable(_: Path, text: str) -> tuple[str, dict[str, str]]:
    return '[providers.vertex]\napi_key_env = "MY_ROBOT"\n', {"MY_ROBOT": text}


def in_file(folder: Path, text: str) -> tuple[str, dict[str, str]]:
    return "", written(folder, json.loads(text))


def in_configured_file(folder: Path, text: str) -> tuple[str, dict[str, str]]:
    file = written(folder, json.loads(text))["GOOGLE_APPLICATION_CREDENTIALS"]
    # It goes before the variable.
    return f'[providers.vertex]\ncredentials_file = "{file}"\n', {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"}


@pytest.mark.parametrize("place", [in_file, in_configured_file, in_environment, in_configuration, in_named_variable])
def test_a_service_account_is_taken_by_path_and_inline(services: Services, tmp_path: Path, place: Any) -> None:
    ready(services)
    config, env = place(tmp_path, json.dumps(service_account(), indent=1))
    with online(services, tmp_path, config, **env) as sidecar:
        for _ in range(2):
            assert chat(sidecar)["success"]
    (assertion,) = parse_qs(services.only(TOKENS).body.decode())["assertion"]
    assert assertion.count(".") == 2
    for seen in services.asked(CHATS):
        assert seen.headers["authorization"] == "Bearer CANARY-token"
        assert "x-goog-api-key" not in seen.headers
        assert place_of(seen) == ("p", "global")


def test_a_request_may_bring_a_service_account(services: Services, bare: Program) -> None:
    ready(services)
    text = json.dumps(service_account())
    for _ in range(2):
        assert chat(bare, api_key=text)["success"]
    assert len(services.asked(TOKENS)) == 1
    assert {place_of(seen) for seen in services.asked(CHATS)} == {("p", "global")}
    own = chat(bare, settings={"api_key": text, "project": "other"})
    assert own["success"]
    assert place_of(services.asked(CHATS)[-1]) == ("other", "global")


@pytest.mark.parametrize(
    "info",
    [
        POOL | {"credential_source": {"file": "/etc/hostname"}},
        POOL | {"credential_source": {"url": "http://169.254.169.254/"}},
        ROBOT,
        service_account() | {"token_uri": "http://169.254.169.254/token"},
        service_account() | {"token_uri": 5},
    ],
    ids=["a file of the user's", "a server of the machine's", "another account", "link-local", "no address"],
)
def test_a_request_may_not_bring_what_reads_files_or_asks_others(
    services: Services, bare: Program, info: Object
) -> None:
    ready(services)
    error = chat(bare, api_key=json.dumps(info), settings={"project": "p"})["error"]
    assert error["code"] in ("auth_required", "invalid_request")
    assert not services.asked()


def test_a_service_account_is_stored_by_a_login(services: Services, tmp_path: Path) -> None:
    ready(services)
    env = {"SIDECAR_STORE_DIR": str(tmp_path / "store"), "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    with online(services, tmp_path, **env) as sidecar:
        login = {"op": "login", "api_key": json.dumps(service_account())}
        assert sidecar.ask("authenticate", login, provider="vertex")["data"]["method"] == "api_key"
        assert chat(sidecar)["success"]
        status = sidecar.ask("authenticate", {"op": "status"}, provider="vertex")["data"]
        assert (status["ready"], status["source"], status["method"]) == (True, "store", "api_key")
    assert place_of(services.only(CHATS)) == ("p", "global")


# --- what makes tokens of others -------------------------------------------------------------


def test_a_users_login_pays_with_its_own_project(services: Services, tmp_path: Path) -> None:
    ready(services)
    (tmp_path / "application_default_credentials.json").write_text(json.dumps(USER), encoding="utf-8")
    with online(services, tmp_path, CLOUDSDK_CONFIG=str(tmp_path)) as sidecar:
        assert chat(sidecar)["success"]
    seen = services.only(CHATS)
    assert (place_of(seen), seen.headers["x-goog-user-project"]) == (("payer", "global"), "payer")
    assert parse_qs(services.only(LOGINS).body.decode())["refresh_token"] == ["r"]


def test_impersonation_is_asked_at_the_project_of_the_other_account(services: Services, tmp_path: Path) -> None:
    ready(services)
    with online(services, tmp_path, **written(tmp_path, ROBOT)) as sidecar:
        assert chat(sidecar)["success"]
    seen = services.only(CHATS)
    assert (place_of(seen)[0], seen.headers["authorization"]) == ("robots-1", "Bearer CANARY-robot")
    assert services.only(f"POST {IMPERSONATION}").headers["authorization"] == "Bearer CANARY-token"


PROJECT = "GET https://cloudresourcemanager.googleapis.com/v1/projects/123456"


def in_a_file(_: Services, folder: Path) -> Object:
    (folder / "jwt").write_text("CANARY-subject", encoding="utf-8")
    return {"file": str(folder / "jwt")}


def at_an_address(services: Services, _: Path) -> Object:
    services.answer(f"GET {services.url}/oidc", document({"value": "CANARY-subject"}))
    form = {"type": "json", "subject_token_field_name": "value"}
    return {"url": f"{services.url}/oidc", "headers": {"authorization": "bearer made-up"}, "format": form}


@pytest.mark.parametrize("place", [in_a_file, at_an_address])
def test_another_clouds_identity_is_exchanged_and_asked_for_its_project(
    services: Services, tmp_path: Path, place: Any
) -> None:
    ready(services)
    services.answer(PROJECT, document({"projectId": "pools-1", "projectNumber": "123456"}))
    env = written(tmp_path, POOL | {"credential_source": place(services, tmp_path)})
    with online(services, tmp_path, **env) as sidecar:
        for _ in range(2):
            assert chat(sidecar)["success"]
    assert parse_qs(services.only(STS).body.decode())["subject_token"] == ["CANARY-subject"]
    assert services.only(PROJECT).headers["authorization"] == "Bearer CANARY-pool"
    assert [place_of(seen)[0] for seen in services.asked(CHATS)] == ["pools-1"] * 2


def test_an_identity_that_may_not_see_its_project_is_told_what_to_set(services: Services, tmp_path: Path) -> None:
    ready(services)
    services.answer(PROJECT, document({"error": {"status": "PERMISSION_DENIED"}}, 403))
    env = written(tmp_path, POOL | {"credential_source": in_a_file(services, tmp_path)})
    with online(services, tmp_path, **env) as sidecar:
        for _ in range(2):
            error = chat(sidecar)["error"]
            assert (error["code"], error["param"]) == ("invalid_request", "params.settings.project")
    assert len(services.asked(PROJECT)) == 1
    assert not services.asked(CHATS)


AWS_KEYS = {"AWS_ACCESS_KEY_ID": "AKIAMADEUP", "AWS_SECRET_ACCESS_KEY": "CANARY-aws", "AWS_REGION": "eu-west-1"}


def test_keys_of_aws_are_exchanged_and_then_an_account_is_impersonated(services: Services, tmp_path: Path) -> None:
    ready(services)
    services.answer(PROJECT, document({"error": {"status": "PERMISSION_DENIED"}}, 403))
    url = "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
    info = POOL | {
        "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
        "service_account_impersonation_url": IMPERSONATION,
        "credential_source": {"environment_id": "aws1", "regional_cred_verification_url": url},
    }
    with online(services, tmp_path, **written(tmp_path, info), **AWS_KEYS) as sidecar:
        assert chat(sidecar)["success"]
    (subject,) = parse_qs(services.only(STS).body.decode())["subject_token"]
    signed = json.loads(unquote(subject))
    assert signed["url"] == url.format(region="eu-west-1")
    assert "Credential=AKIAMADEUP/" in str(signed["headers"])
    seen = services.only(CHATS)
    # The pool's project cannot be seen, so it is that of the account.
    assert (place_of(seen)[0], seen.headers["authorization"]) == ("robots-1", "Bearer CANARY-robot")


def test_a_program_in_a_credentials_file_is_not_run(services: Services, tmp_path: Path) -> None:
    ready(services)
    trace = tmp_path / "trace"
    info = PROGRAM | {"credential_source": {"executable": {"command": f"touch {trace}"}}}
    env = {"GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1", "GOOGLE_CLOUD_PROJECT": "p"}
    with online(services, tmp_path, **written(tmp_path, info), **env) as sidecar:
        error = chat(sidecar)["error"]
    assert (error["code"], "names a program" in error["message"]) == ("auth_required", True)
    assert not trace.exists()
    assert not services.asked()


# --- the life of a token ---------------------------------------------------------------------


def test_a_refused_token_is_replaced_once_and_no_sooner_than_in_a_minute(services: Services, tmp_path: Path) -> None:
    ready(services)
    services.answer(TOKENS, token(), token("CANARY-second"), token("CANARY-third"))
    with online(services, tmp_path, **written(tmp_path, service_account())) as sidecar:
        assert chat(sidecar)["success"]
        services.answer(CHATS, REFUSED)
        assert chat(sidecar)["error"]["code"] == "auth_failed"
        assert len(services.asked(TOKENS)) == 1

        sidecar.let_pass(70)
        services.answer(CHATS, lambda seen: text_of("gemini") if "second" in seen.text else REFUSED)
        done = chat(sidecar)
        assert done["success"]
        assert [each["code"] for each in done["data"]["attempts"][:-1]] == ["auth_failed"]
        assert [seen.headers["authorization"] for seen in services.asked(CHATS)[-2:]] == [
            "Bearer CANARY-token",
            "Bearer CANARY-second",
        ]

        services.answer(CHATS, REFUSED)
        for _ in range(5):
            assert chat(sidecar)["error"]["code"] == "auth_failed"
        assert len(services.asked(TOKENS)) == 2


def test_many_refusals_are_one_new_token(services: Services, tmp_path: Path) -> None:
    ready(services)
    services.answer(TOKENS, token(), token("CANARY-second"))
    with online(services, tmp_path, **written(tmp_path, service_account())) as sidecar:
        assert chat(sidecar)["success"]
        sidecar.let_pass(70)
        services.answer(CHATS, lambda seen: text_of("gemini") if "second" in seen.text else REFUSED)
        ids = [sidecar.send("stream_chat", params(model=MODEL), provider="vertex") for _ in range(20)]
        assert all(sidecar.reply(each)["success"] for each in ids)
    assert len(services.asked(TOKENS)) == 2
