"""Stored logins that expire, are refused or revoked: renewed once for all requests, and never in a storm."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.fake_services import Answer, Seen, Services, document
from tests.support.lines import Object
from tests.support.logins import (
    CHATS,
    REFUSED,
    RENEWAL,
    SESSIONS,
    TOKEN,
    TOKENS,
    Held,
    authenticate,
    change,
    chats,
    codes,
    eventually,
    expire_stored,
    github,
    log_in,
    log_in_and_expire,
    logged_off,
    only_for,
    stored,
    with_life,
)
from tests.support.provider_rows import text_of

pytestmark = pytest.mark.long

SESSION = "tid=CANARY-session;exp=1"


def session(**changed: object) -> Answer:
    """Return the answer to an exchange."""
    return document({"token": SESSION, "refresh_in": 1500, "expires_at": int(time.time()) + 1800} | changed)


# --- logins that end -----------------------------------------------------------------------------


def test_a_revoked_login_is_forgotten(services: Services, tmp_path: Path) -> None:  # F13
    github(services)
    services.answer(CHATS, REFUSED)
    services.answer(SESSIONS, document({"message": "Bad credentials"}, 401))
    with logged_off(services, tmp_path) as sidecar:
        log_in(sidecar)
        assert codes(sidecar, chats(sidecar, 5)) == ["auth_required"] * 5
        assert len(services.asked(SESSIONS)) == 1
        assert authenticate(sidecar, "status")["data"]["ready"] is False
        assert codes(sidecar, chats(sidecar, 1)) == ["auth_required"]
        assert len(services.asked(SESSIONS)) == 1
        # And a new login counts at once.
        services.answer(CHATS, only_for(TOKEN))
        log_in(sidecar)
        assert codes(sidecar, chats(sidecar, 1)) == [None]
    assert list(stored(tmp_path)) == ["copilot"]


def test_a_login_that_cannot_be_renewed_for_now_is_used_while_it_is_good(services: Services, tmp_path: Path) -> None:
    log_in_and_expire(services, tmp_path)
    change(tmp_path, expires_at=(datetime.now(UTC) + timedelta(minutes=2)).isoformat(timespec="seconds"))
    services.answer(TOKENS, Answer(status=502))
    services.answer(CHATS, only_for(f"{TOKEN}-1"))
    with logged_off(services, tmp_path) as sidecar:
        assert [codes(sidecar, chats(sidecar, 2)) for _ in range(3)] == [[None, None]] * 3
    assert len(services.asked(TOKENS)) == 1


def refuses(token: str, then: Answer) -> Callable[[Seen], Answer]:
    """Return an exchange that does not know the token, and is *then* for all others."""
    bad = document({"message": "Bad credentials"}, 401)
    return lambda seen: bad if seen.headers["authorization"] == f"token {token}" else then


def test_a_login_that_is_refused_before_its_time_is_renewed(services: Services, tmp_path: Path) -> None:  # F13, F14
    # As when the clock here is behind: by what is stored it is good for hours.
    log_in_and_expire(services, tmp_path)
    change(tmp_path, expires_at="2999-01-01T00:00:00+00:00")
    services.answer(SESSIONS, refuses(f"{TOKEN}-1", session()))
    services.answer(TOKENS, with_life(28_800, 2))
    services.answer(CHATS, only_for(SESSION))
    with logged_off(services, tmp_path) as sidecar:
        assert codes(sidecar, chats(sidecar, 5)) == [None] * 5
        assert codes(sidecar, chats(sidecar, 1)) == [None]
        assert authenticate(sidecar, "status")["data"]["ready"] is True
    assert f"refresh_token={RENEWAL}-1" in services.only(TOKENS).body.decode()
    assert stored(tmp_path)["copilot"]["secrets"] == {"value": f"{TOKEN}-2", "renewal": f"{RENEWAL}-2"}


def test_a_login_of_a_short_life_is_not_renewed_by_each_request(services: Services, tmp_path: Path) -> None:  # F14
    github(services, with_life(45))
    services.answer(CHATS, only_for(f"{TOKEN}-1"))
    with logged_off(services, tmp_path) as sidecar:
        log_in(sidecar)
        assert [codes(sidecar, chats(sidecar, 2)) for _ in range(3)] == [[None, None]] * 3
    assert len(services.asked(TOKENS)) == 1


def test_a_login_that_another_process_has_made_meanwhile_is_not_forgotten(
    services: Services, tmp_path: Path
) -> None:  # F13, F18
    github(services)
    services.answer(CHATS, REFUSED)
    held = Held(document({"message": "Bad credentials"}, 401))
    services.answer(SESSIONS, held)
    with logged_off(services, tmp_path) as one, logged_off(services, tmp_path) as two:
        log_in(one)
        first = chats(one, 3)
        services.wait(lambda: bool(services.asked(SESSIONS)), "the exchange")
        services.answer(TOKENS, document({"access_token": f"{TOKEN}-new", "token_type": "bearer"}))
        log_in(two)
        services.answer(SESSIONS, refuses(TOKEN, session()))
        services.answer(CHATS, only_for(SESSION))
        held.let_go()
        assert codes(one, first) == [None] * 3
    assert stored(tmp_path)["copilot"]["secrets"]["value"] == f"{TOKEN}-new"


def test_a_login_that_expires_during_a_stream_does_not_touch_it(services: Services, tmp_path: Path) -> None:  # F12
    held = Held(text_of("openai_chat"))
    github(services, with_life(28_800))
    services.answer("GET https://api.githubcopilot.com/*", document({"data": []}))
    services.answer(CHATS, held)
    with logged_off(services, tmp_path) as sidecar:
        log_in(sidecar)
        first = chats(sidecar, 1)
        services.wait(lambda: bool(services.asked(CHATS)), "the chat")
        expire_stored(tmp_path)
        eventually(lambda: "2026-11-20T00" in authenticate(sidecar, "status")["data"]["expires_at"])
        services.answer(CHATS, only_for(f"{TOKEN}-2"))
        services.answer(TOKENS, with_life(28_800, 2))
        assert codes(sidecar, chats(sidecar, 1)) == [None]
        held.let_go()
        assert codes(sidecar, first) == [None]
    assert [seen.headers["authorization"][-2:] for seen in services.asked(CHATS)] == ["-1", "-2"]


def test_a_login_that_cannot_be_renewed_asks_for_a_new_one(services: Services, tmp_path: Path) -> None:  # F13
    log_in_and_expire(services, tmp_path)
    services.answer(TOKENS, document({"error": "bad_refresh_token", "error_description": "It was used."}))
    with logged_off(services, tmp_path) as sidecar:
        assert codes(sidecar, chats(sidecar, 5)) == ["auth_required"] * 5
        assert codes(sidecar, chats(sidecar, 1)) == ["auth_required"]
        assert authenticate(sidecar, "status")["data"]["ready"] is False
    assert len(services.asked(TOKENS)) == 1
    assert not services.asked(CHATS)


def test_a_renewal_that_fails_for_now_is_tried_again_later(services: Services, tmp_path: Path) -> None:
    log_in_and_expire(services, tmp_path)
    services.answer(TOKENS, Answer(status=502), with_life(28_800, 2))
    with logged_off(services, tmp_path) as sidecar:
        assert codes(sidecar, chats(sidecar, 1)) == ["provider_error"]
        assert codes(sidecar, chats(sidecar, 1)) == [None]


# --- validate ------------------------------------------------------------------------------------

CHECKS = {
    "openai": "GET https://api.openai.com/v1/models",
    "anthropic": "GET https://api.anthropic.com/v1/models?limit=1000",
    "openrouter": "GET https://openrouter.ai/api/v1/key",
    "vercel": "GET https://ai-gateway.vercel.sh/v1/credits",
    "gemini": "GET https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000",
    "azure": "GET https://mine.openai.azure.com/openai/v1/models",
    "copilot": "GET https://api.githubcopilot.com/models",
}


@pytest.mark.parametrize("provider", CHECKS)
def test_a_credential_is_tried_with_one_cheap_question(services: Services, tmp_path: Path, provider: str) -> None:
    with logged_off(services, tmp_path, AZURE_OPENAI_RESOURCE="mine") as sidecar:

        def validate(**more: str) -> Object:
            return authenticate(sidecar, "validate", provider, **more)

        assert validate()["error"]["code"] == "auth_required"
        assert not services.asked()
        services.answer("*", document({"error": {"message": "CANARY-key is bad."}}, 401))
        failure = validate(api_key="CANARY-key")["error"]
        assert (failure["code"], failure["provider_status"]) == ("auth_failed", 401)
        services.forget()
        services.answer(CHECKS[provider], document({"data": [], "models": []}))
        answer = validate(api_key="CANARY-key")["data"]
        assert (answer["valid"], answer["source"], answer["method"]) == (True, "request", "api_key")
        # What is tried is not stored.
        assert authenticate(sidecar, "status", provider)["data"]["ready"] is False
        log_in(sidecar, provider, api_key="CANARY-key")
        assert validate()["data"]["source"] == "store"
    assert len(services.asked()) == 2


def test_a_token_that_needs_a_session_is_good(services: Services, tmp_path: Path) -> None:
    services.answer("GET https://api.githubcopilot.com/models", REFUSED, document({"data": []}))
    services.answer(SESSIONS, session())
    with logged_off(services, tmp_path, GH_COPILOT_TOKEN=TOKEN) as sidecar:
        assert authenticate(sidecar, "validate")["data"]["valid"] is True


def test_what_needs_no_credential_is_always_good(services: Services, tmp_path: Path) -> None:
    with logged_off(services, tmp_path) as sidecar:
        assert authenticate(sidecar, "validate", "replay")["data"]["valid"] is True
    assert not services.asked()
