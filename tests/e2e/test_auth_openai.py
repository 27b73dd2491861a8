"""OpenAI with the identity of a workload, which its own SDK exchanges for a token."""

import re
from pathlib import Path

import pytest

from tests.support.fake_services import Answer, Services, document
from tests.support.listening_services import online
from tests.support.logins import Answering, Held, hangs_up
from tests.support.process import Object, Sidecar
from tests.support.provider_rows import params, text_of
from tests.support.source import within

TOKENS = "POST https://auth.openai.com/oauth/token"
CHATS = "POST https://api.openai.com/v1/chat/completions"
IDENTITY = {"OPENAI_IDENTITY_PROVIDER_ID": "idp-1", "OPENAI_SERVICE_ACCOUNT_ID": "sa-1"}
GRANTED = document({"access_token": "CANARY-access", "expires_in": 3600, "token_type": "Bearer"})
REFUSED = document({"error": {"message": "Bad token.", "code": "invalid_api_key"}}, 401)


def workload(folder: Path) -> dict[str, str]:
    """Return the environment of a workload whose own token is in a file of *folder*."""
    file = folder / "subject"
    file.write_text("CANARY-subject\n", encoding="utf-8")
    return IDENTITY | {"OPENAI_IDENTITY_TOKEN_FILE": str(file)}


def ids(sidecar: Sidecar, count: int) -> list[object]:
    """Send chats at once and return their ids."""
    return [sidecar.send("stream_chat", params(), provider="openai") for _ in range(count)]


def codes(sidecar: Sidecar, sent: list[object]) -> list[str | None]:
    """Return the error codes of the chats, None for those that went well."""
    replies = [sidecar.reply(each, 60) for each in sent]
    return [None if reply["success"] else reply["error"]["code"] for reply in replies]


def refusal(sidecar: Sidecar, **more: object) -> Object:
    """Return the error that a chat ends with."""
    asked = params(options={"retry": {"max_attempts": 1}}) | more
    error: Object = sidecar.reply(sidecar.send("stream_chat", asked, provider="openai"), 60)["error"]
    return error


def test_a_workload_gets_one_token_for_all(services: Services, tmp_path: Path) -> None:
    services.answer(TOKENS, GRANTED)
    services.answer(CHATS, text_of("openai_chat"))
    with online(services, tmp_path, **workload(tmp_path)) as sidecar:
        assert codes(sidecar, ids(sidecar, 10)) == [None] * 10
        data = sidecar.ask("authenticate", {"op": "status"}, provider="openai")["data"]
        assert (data["ready"], data["method"]) == (True, "chain")
    assert services.only(TOKENS).json == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": "CANARY-subject",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "identity_provider_id": "idp-1",
        "service_account_id": "sa-1",
    }
    assert {seen.headers["authorization"] for seen in services.asked(CHATS)} == {"Bearer CANARY-access"}


def test_a_key_goes_before_an_identity(services: Services, tmp_path: Path) -> None:
    services.answer(CHATS, text_of("openai_chat"))
    with online(services, tmp_path, OPENAI_API_KEY="CANARY-key", **workload(tmp_path)) as sidecar:
        assert codes(sidecar, ids(sidecar, 1)) == [None]
    assert services.only().headers["authorization"] == "Bearer CANARY-key"


def test_a_key_loads_no_sdk(services: Services, tmp_path: Path) -> None:
    services.answer(CHATS, text_of("openai_chat"))
    with online(services, tmp_path, OPENAI_API_KEY="CANARY-key", PYTHONPROFILEIMPORTTIME="1") as sidecar:
        assert codes(sidecar, ids(sidecar, 1)) == [None]
    loaded = re.findall(r"^import time: +\d+ \| +\d+ \| +([\w.]+)$", sidecar.stderr.decode(), re.MULTILINE)
    assert "httpx2" in loaded
    assert not [name for name in loaded if within(name, ("openai", "pydantic"))]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (document({"error": "invalid_grant", "error_description": "CANARY-subject is old."}, 400), "auth_required"),
        (document({"error": "invalid_client"}, 401), "auth_required"),
        (document({"error": "access_denied"}, 403), "auth_required"),
        (Answer(b"<html>", 200), "provider_error"),
        (document({"access_token": "CANARY-access", "expires_in": 0}), "provider_error"),
        (Answer(status=503), "provider_error"),
        (Answer(status=429), "provider_error"),
        (hangs_up, "network_error"),
    ],
)
def test_a_token_that_is_not_given_is_an_error(
    services: Services, tmp_path: Path, answer: Answering, code: str
) -> None:
    services.answer(TOKENS, answer)
    with online(services, tmp_path, **workload(tmp_path)) as sidecar:
        error = refusal(sidecar)
    assert error["code"] == code
    assert "CANARY" not in str(error)
    assert ("OPENAI_IDENTITY_PROVIDER_ID" in error.get("hint", "")) is (code == "auth_required")
    assert not services.asked(CHATS)


@pytest.mark.parametrize("content", [None, ""], ids=["none", "empty"])
def test_a_workload_without_a_token_of_its_own_is_told_so(
    services: Services, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "subject"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with online(services, tmp_path, OPENAI_IDENTITY_TOKEN_FILE=str(file), **IDENTITY) as sidecar:
        error = refusal(sidecar)
    assert (error["code"], "OPENAI_IDENTITY_TOKEN_FILE" in error["hint"]) == ("auth_required", True)
    assert not services.asked()


def test_an_identity_that_is_half_there_is_none(services: Services, tmp_path: Path) -> None:
    with online(services, tmp_path, OPENAI_SERVICE_ACCOUNT_ID="sa-1") as sidecar:
        error = refusal(sidecar)
        assert (error["code"], "OPENAI_IDENTITY_PROVIDER_ID" in error["hint"]) == ("auth_required", True)
        assert sidecar.ask("authenticate", {"op": "status"}, provider="openai")["data"]["ready"] is False
    assert not services.asked()


def test_the_clouds_own_word_is_taken_where_the_user_says_so(services: Services, tmp_path: Path) -> None:
    metadata = "GET *metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity*"
    services.answer(metadata, Answer(b"CANARY-google"))
    services.answer(TOKENS, GRANTED)
    services.answer(CHATS, text_of("openai_chat"))
    config = '[providers.openai]\nsubject_token = "gcp_id"\n'
    with online(services, tmp_path, config, HTTP_PROXY=services.url, **IDENTITY) as sidecar:
        assert codes(sidecar, ids(sidecar, 1)) == [None]
    assert services.only(metadata).headers["metadata-flavor"] == "Google"
    asked = services.only(TOKENS).json
    assert (asked["subject_token"], asked["subject_token_type"][-8:]) == ("CANARY-google", "id_token")


def test_a_source_that_nobody_knows_is_refused(services: Services, tmp_path: Path) -> None:
    with online(services, tmp_path, SIDECAR_OPENAI_SUBJECT_TOKEN="program", **IDENTITY) as sidecar:
        error = refusal(sidecar)
    assert (error["code"], error["param"], "gcp_id" in error["message"]) == ("invalid_request", "subject_token", True)
    assert not services.asked()


def test_an_identity_does_not_go_to_another_address(services: Services, tmp_path: Path) -> None:
    with online(services, tmp_path, SIDECAR_OPENAI_BASE_URL=services.url, **workload(tmp_path)) as sidecar:
        assert refusal(sidecar)["code"] == "auth_required"
        error = refusal(sidecar, base_url=services.url)
        assert (error["code"], error["param"]) == ("invalid_request", "params.api_key")
        assert not sidecar.ask("list_models", provider="openai")["success"]
    assert not services.asked()


def test_an_identity_goes_to_the_region_that_the_user_names(services: Services, tmp_path: Path) -> None:
    services.answer(TOKENS, GRANTED)
    services.answer("POST https://eu.api.openai.com/v1/*", text_of("openai_chat"))
    env = {"SIDECAR_OPENAI_BASE_URL": "https://eu.api.openai.com/v1"} | workload(tmp_path)
    with online(services, tmp_path, **env) as sidecar:
        assert codes(sidecar, ids(sidecar, 1)) == [None]


def test_whoever_leaves_takes_nobody_with_it(services: Services, tmp_path: Path) -> None:
    held = Held(GRANTED)
    services.answer(TOKENS, held)
    services.answer(CHATS, text_of("openai_chat"))
    with online(services, tmp_path, **workload(tmp_path)) as sidecar:
        first, *others = ids(sidecar, 10)
        services.wait(lambda: bool(services.asked(TOKENS)), "the exchange")
        sidecar.ask("cancel", {"id": first})
        assert codes(sidecar, [first]) == ["cancelled"]
        held.let_go()
        assert codes(sidecar, others) == [None] * 9
    assert len(services.asked(TOKENS)) == 1


def test_a_new_token_that_is_refused_is_not_exchanged_again(services: Services, tmp_path: Path) -> None:
    services.answer(TOKENS, GRANTED)
    services.answer(CHATS, REFUSED)
    with online(services, tmp_path, **workload(tmp_path)) as sidecar:
        assert codes(sidecar, ids(sidecar, 5)) == ["auth_failed"] * 5
    assert len(services.asked(TOKENS)) == 1


def test_the_loop_goes_on_while_the_sdk_is_imported(services: Services, tmp_path: Path) -> None:
    services.answer(TOKENS, GRANTED)
    services.answer(CHATS, text_of("openai_chat"))
    with online(services, tmp_path, **workload(tmp_path)) as sidecar:
        [chat] = ids(sidecar, 1)
        waits = []
        while not any(line.terminal for line in sidecar.lines_of(chat)):
            waits.append(sidecar.ping())
    assert max(waits) < 1
