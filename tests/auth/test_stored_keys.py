"""What is stored, where it may go, and what is none of it."""

from pathlib import Path

import pytest

from tests.support.fake_services import Services, document
from tests.support.logins import (
    KEY,
    Held,
    authenticate,
    eventually,
    file_of,
    key_of_chat,
    log_in,
    logged_off,
    seed,
    status,
    stored,
)
from tests.support.provider_rows import params, text_of

pytestmark = pytest.mark.long

# --- what is stored ----------------------------------------------------------------------------


def test_a_key_is_stored_used_described_and_forgotten(services: Services, tmp_path: Path) -> None:  # F21
    with logged_off(services, tmp_path) as sidecar:
        assert status(sidecar) == {"provider": "openai", "ready": False, "logins": ["api_key"]}
        done = log_in(sidecar, "openai", api_key=KEY)
        assert (done["method"], done["storage"], done["account"]) == ("api_key", "file", None)
        found = {"provider": "openai", "ready": True, "logins": ["api_key"], "method": "api_key", "source": "store"}
        assert status(sidecar) == found | {"storage": "file"}
        rows = {row["id"]: row for row in sidecar.ask("list_providers")["data"]["providers"]}
        assert (rows["openai"]["ready"], rows["openai"]["credential_source"]) == (True, "store")
        assert rows["copilot"]["logins"] == ["api_key", "device"]
        assert key_of_chat(sidecar, services) == KEY
        assert stored(tmp_path)["openai"]["secrets"] == {"value": KEY}
        assert authenticate(sidecar, "logout", "openai")["data"]["removed"] is True
        assert stored(tmp_path) == {}
        assert status(sidecar)["ready"] is False
        assert sidecar.ask("stream_chat", params(), provider="openai")["error"]["code"] == "auth_required"
        assert authenticate(sidecar, "logout", "openai")["data"]["removed"] is False
    assert KEY.encode() not in file_of(tmp_path).read_bytes()


def test_what_is_stored_outlives_the_process(services: Services, tmp_path: Path) -> None:
    with logged_off(services, tmp_path) as sidecar:
        log_in(sidecar, "openai", api_key=KEY)
    with logged_off(services, tmp_path) as sidecar:
        assert key_of_chat(sidecar, services) == KEY
        # A process that is open meanwhile hears of another's login, and of its logout.
        with logged_off(services, tmp_path) as other:
            log_in(other, "openai", api_key=f"{KEY}-2")
            eventually(lambda: key_of_chat(sidecar, services) == f"{KEY}-2")
            authenticate(other, "logout", "openai")
            eventually(lambda: not status(sidecar)["ready"])


def test_a_logout_forgets_what_another_process_has_just_stored(services: Services, tmp_path: Path) -> None:  # F21
    with logged_off(services, tmp_path) as sidecar, logged_off(services, tmp_path) as other:
        assert status(sidecar)["ready"] is False
        log_in(other, "openai", api_key=KEY)
        assert authenticate(sidecar, "logout", "openai")["data"]["removed"] is True
        assert stored(tmp_path) == {}


def test_a_logout_lets_a_running_stream_end(services: Services, tmp_path: Path) -> None:  # F21
    with logged_off(services, tmp_path) as sidecar:
        log_in(sidecar, "openai", api_key=KEY)
        held = Held(text_of("openai_chat"))
        services.answer("POST *", held)
        chat = sidecar.send("stream_chat", params(), provider="openai")
        services.wait(lambda: bool(services.asked("POST *")), "the chat")
        assert authenticate(sidecar, "logout", "openai")["data"]["removed"] is True
        held.let_go()
        reply = sidecar.reply(chat)
        assert reply["success"], reply


def test_the_request_goes_first_then_the_file_the_store_the_environment(  # F25
    services: Services, tmp_path: Path
) -> None:
    config = '[providers.openai]\napi_key = "CANARY-file"\n'
    seed(tmp_path)
    with logged_off(services, tmp_path, OPENAI_API_KEY="CANARY-env") as sidecar:
        assert (status(sidecar)["source"], key_of_chat(sidecar, services)) == ("store", KEY)
        authenticate(sidecar, "logout", "openai")
        assert (status(sidecar)["source"], key_of_chat(sidecar, services)) == ("environment", "CANARY-env")
        log_in(sidecar, "openai", api_key=KEY)
    with logged_off(services, tmp_path, config, OPENAI_API_KEY="CANARY-env") as sidecar:
        assert (status(sidecar)["source"], key_of_chat(sidecar, services)) == ("configuration", "CANARY-file")
        services.forget()
        services.answer("POST *", text_of("openai_chat"))
        sidecar.ask("stream_chat", params(api_key="CANARY-request"), provider="openai")
        assert services.only().headers["authorization"] == "Bearer CANARY-request"


def test_a_stored_key_stays_with_the_address_that_it_was_given_for(services: Services, tmp_path: Path) -> None:  # F26
    own = f"{services.url}/v1"
    seed(tmp_path)
    with logged_off(services, tmp_path, SIDECAR_OPENAI_BASE_URL=own) as sidecar:
        assert sidecar.ask("stream_chat", params(), provider="openai")["error"]["code"] == "auth_required"
        reply = sidecar.ask("stream_chat", params(base_url=own), provider="openai")
        assert (reply["error"]["code"], reply["error"]["param"]) == ("invalid_request", "params.api_key")
        assert not services.asked()
        # One that is given for this address is for this address alone.
        log_in(sidecar, "openai", api_key=f"{KEY}-own")
        assert key_of_chat(sidecar, services) == f"{KEY}-own"
        assert services.only().url == f"{own}/chat/completions"
    services.forget()
    with logged_off(services, tmp_path) as sidecar:
        assert sidecar.ask("stream_chat", params(), provider="openai")["error"]["code"] == "auth_required"
    with logged_off(services, tmp_path, SIDECAR_OPENAI_BASE_URL=own) as sidecar:
        assert key_of_chat(sidecar, services) == f"{KEY}-own"


def test_a_provider_of_ones_own_keeps_its_key(services: Services, tmp_path: Path) -> None:
    config = f'[providers.mylab]\nwire = "openai_chat"\nbase_url = "{services.url}/v1"\n'
    with logged_off(services, tmp_path, config) as sidecar:
        log_in(sidecar, "mylab", api_key="sk-ant-CANARY-anything-goes")
        services.answer("POST *", text_of("openai_chat"))
        assert sidecar.ask("stream_chat", params(), provider="mylab")["success"]
    assert services.only().headers["authorization"] == "Bearer sk-ant-CANARY-anything-goes"


# --- keys that are none ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["", " ", "a b", "CANARY\r\nx: y", "CANARY\0", "CANARY\n1", "CANARYé", "“CANARY”", "CANARY" * 2000]
)
@pytest.mark.parametrize("op", ["login", "validate"])
def test_a_key_that_no_header_can_carry_is_refused(  # F24
    services: Services, tmp_path: Path, key: str, op: str
) -> None:
    with logged_off(services, tmp_path) as sidecar:
        failure = authenticate(sidecar, op, "openai", api_key=key)["error"]
        assert (failure["code"], failure["param"]) == ("invalid_request", "params.api_key")
    assert not services.asked()
    assert not (tmp_path / "store").exists()


def test_a_key_is_trimmed(services: Services, tmp_path: Path) -> None:  # F24
    with logged_off(services, tmp_path) as sidecar:
        log_in(sidecar, "openai", api_key=f"  {KEY}\r\n")
        assert key_of_chat(sidecar, services) == KEY


@pytest.mark.parametrize(
    ("provider", "key", "owner"),
    [
        ("openai", "sk-ant-CANARY-1", "Anthropic"),
        ("openai", "sk-or-v1-CANARY", "OpenRouter"),
        ("anthropic", "sk-proj-CANARY", "OpenAI"),
        ("groq", "xai-CANARY", "xAI"),
        ("mistral", "AIzaCANARY", "Google Gemini"),
        ("xai", "gsk_CANARY", "Groq"),
        ("openai", "ghu_CANARY", "GitHub Copilot"),
    ],
)
def test_a_key_of_another_provider_is_refused_before_anything_is_sent(
    services: Services, tmp_path: Path, provider: str, key: str, owner: str
) -> None:
    with logged_off(services, tmp_path) as sidecar:
        failures = [authenticate(sidecar, op, provider, api_key=key)["error"] for op in ("login", "validate")]
        failures.append(sidecar.ask("stream_chat", params(api_key=key), provider=provider)["error"])
        for failure in failures:
            assert (failure["code"], failure["param"]) == ("invalid_request", "params.api_key")
            assert owner in failure["message"]
    assert not services.asked()


def test_each_of_several_keys_must_be_the_providers(services: Services, tmp_path: Path) -> None:
    config = '[providers.openai]\napi_keys = ["sk-proj-CANARY0123456789", "sk-ant-CANARY0123456789"]\n'
    services.answer("*", text_of("openai_chat"))
    with logged_off(services, tmp_path, config) as sidecar:
        error = sidecar.ask("stream_chat", params(), provider="openai")["error"]
        assert (error["code"], "CANARY" in error["message"]) == ("invalid_request", False)
        assert "looks like a key for Anthropic" in error["message"]
        assert authenticate(sidecar, "validate", "openai")["error"]["code"] == "invalid_request"
    assert not services.asked()


def test_of_several_keys_each_is_tried(services: Services, tmp_path: Path) -> None:
    config = '[providers.openai]\napi_keys = ["sk-CANARY-good-1", "sk-CANARY-good-2", "sk-CANARY-gone"]\n'
    good, gone = document({"data": []}), document({"error": {"message": "Gone."}}, 401)
    services.answer("GET *", lambda seen: gone if "gone" in seen.headers["authorization"] else good)
    with logged_off(services, tmp_path, config) as sidecar:
        error = authenticate(sidecar, "validate", "openai")["error"]
        assert (error["code"], error["message"]) == ("auth_failed", "Key 3 of 3: Gone.")
        assert len(services.asked()) == 3
        services.answer("GET *", good)
        assert authenticate(sidecar, "validate", "openai")["data"]["valid"] is True


def test_what_has_no_login_says_so(services: Services, tmp_path: Path) -> None:
    with logged_off(services, tmp_path) as sidecar:
        for provider, param in (("openai", "params.api_key"), ("replay", "provider")):
            failure = authenticate(sidecar, "login", provider)["error"]
            assert (failure["code"], failure["param"]) == ("invalid_request", param)
        assert authenticate(sidecar, "login", "nobody")["error"]["code"] == "unknown_provider"
        failure = sidecar.ask("authenticate", {"op": "status"})["error"]
        assert (failure["code"], failure["param"]) == ("invalid_request", "provider")
        assert sidecar.ask("authenticate", {"op": "dance"}, provider="openai")["error"]["param"] == "params.op"
