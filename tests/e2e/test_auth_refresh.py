"""Credentials that wear off, are refused or taken back: renewed once for all who wait, and never in a storm."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.fake_services import Answer, Seen, Services, document
from tests.support.logins import SESSIONS, TOKEN, TOKENS, Held, authenticate, github, log_in, logged_off, stored
from tests.support.process import Object, Sidecar
from tests.support.provider_rows import params, text_of

CHATS = "POST https://api.githubcopilot.com/*"
SESSION = "tid=CANARY-session;exp=1"
REFUSED = document({"error": {"message": "Unauthorized"}}, 401)
MANY = 50


def session(**changed: object) -> Answer:
    """Return the answer to an exchange."""
    return document({"token": SESSION, "refresh_in": 1500, "expires_at": int(time.time()) + 1800} | changed)


def only_for(token: str) -> Callable[[Seen], Answer]:
    """Return a chat for those who come with the token, a refusal for all others."""

    def answer(seen: Seen) -> Answer:
        return text_of("openai_chat") if seen.headers["authorization"] == f"Bearer {token}" else REFUSED

    return answer


def chats(sidecar: Sidecar, count: int) -> list[object]:
    """Send chats at once and return their ids."""
    return [sidecar.send("stream_chat", params(), provider="copilot") for _ in range(count)]


def codes(sidecar: Sidecar, ids: list[object]) -> list[str | None]:
    """Return the error codes of the chats, None for those that went well."""
    replies = [sidecar.reply(each) for each in ids]
    return [None if reply["success"] else reply["error"]["code"] for reply in replies]


# --- one refresh -------------------------------------------------------------------------------


def test_many_refusals_are_one_exchange(services: Services, tmp_path: Path) -> None:  # F10
    services.answer(CHATS, only_for(SESSION))
    services.answer(SESSIONS, session())
    with logged_off(services, tmp_path, GH_COPILOT_TOKEN=TOKEN) as sidecar:
        assert codes(sidecar, chats(sidecar, MANY)) == [None] * MANY
        assert codes(sidecar, chats(sidecar, 2)) == [None] * 2
    assert len(services.asked(SESSIONS)) == 1
    assert services.only(SESSIONS).headers["authorization"] == f"token {TOKEN}"


def test_an_exchange_that_fails_is_tried_once_more_for_all(services: Services, tmp_path: Path) -> None:  # F10
    held = Held(Answer(status=500))
    services.answer(CHATS, only_for(SESSION))
    services.answer(SESSIONS, held)
    with logged_off(services, tmp_path, GH_COPILOT_TOKEN=TOKEN) as sidecar:
        ids = chats(sidecar, MANY)
        services.wait(lambda: len(services.asked(CHATS)) == MANY, "every chat")
        held.let_go()
        assert set(codes(sidecar, ids)) == {"provider_error"}
    assert len(services.asked(SESSIONS)) == 2


def test_whoever_leaves_takes_nobody_with_it(services: Services, tmp_path: Path) -> None:  # F11
    held = Held(session())
    services.answer(CHATS, only_for(SESSION))
    services.answer(SESSIONS, held)
    with logged_off(services, tmp_path, GH_COPILOT_TOKEN=TOKEN) as sidecar:
        first = chats(sidecar, 1)
        services.wait(lambda: bool(services.asked(SESSIONS)), "the exchange")
        others = chats(sidecar, 9)
        services.wait(lambda: len(services.asked(CHATS)) == 10, "every chat")
        for each in (*first, others[4]):
            began = time.monotonic()
            sidecar.ask("cancel", {"id": each})
            assert sidecar.reply(each)["error"]["code"] == "cancelled"
            assert time.monotonic() - began < 1
        held.let_go()
        assert codes(sidecar, [each for each in others if each is not others[4]]) == [None] * 8
    assert len(services.asked(SESSIONS)) == 1


def test_a_new_session_that_is_refused_is_not_exchanged_again(services: Services, tmp_path: Path) -> None:
    services.answer(CHATS, REFUSED)
    services.answer(SESSIONS, session())
    with logged_off(services, tmp_path, GH_COPILOT_TOKEN=TOKEN) as sidecar:
        for _ in range(3):
            assert codes(sidecar, chats(sidecar, 1)) == ["auth_failed"]
    assert len(services.asked(SESSIONS)) == 1


@pytest.mark.parametrize("ahead_seconds", [-86_400, 86_400, -1])
def test_a_clock_that_is_wrong_makes_no_storm(  # F14
    services: Services, tmp_path: Path, ahead_seconds: int
) -> None:
    services.answer(CHATS, only_for(SESSION))
    services.answer(SESSIONS, session(refresh_in=1, expires_at=int(time.time()) + ahead_seconds))
    with logged_off(services, tmp_path, GH_COPILOT_TOKEN=TOKEN) as sidecar:
        for _ in range(5):
            assert codes(sidecar, chats(sidecar, 2)) == [None, None]
    assert len(services.asked(SESSIONS)) == 1


# --- logins that end -----------------------------------------------------------------------------


def test_a_login_that_was_taken_back_is_forgotten(services: Services, tmp_path: Path) -> None:  # F13
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


RENEWAL = "ghr_CANARY-renewal"


def with_life(seconds: int, number: int = 1) -> Answer:
    """Return a grant that wears off."""
    return document(
        {
            "access_token": f"{TOKEN}-{number}",
            "expires_in": seconds,
            "refresh_token": f"{RENEWAL}-{number}",
            "refresh_token_expires_in": 15_811_200,
        }
    )


def wear_off(folder: Path) -> None:
    """Make the stored login an old one."""
    file = folder / "store" / "credentials.json"
    document = json.loads(file.read_bytes())
    entry = document["entries"]["copilot"]
    assert entry["secrets"] == {"value": f"{TOKEN}-1", "renewal": f"{RENEWAL}-1"}
    assert datetime.fromisoformat(entry["expires_at"]) > datetime.now(UTC) + timedelta(hours=7)
    change(folder, expires_at="2026-11-20T00:00:00+00:00")


def change(folder: Path, **changed: str) -> None:
    """Change what the file has of the stored login."""
    file = folder / "store" / "credentials.json"
    document = json.loads(file.read_bytes())
    document["entries"]["copilot"] |= {"saved_at": "2026-11-20T00:00:00+00:00"} | changed
    file.write_bytes(json.dumps(document).encode())


def worn_off(services: Services, folder: Path) -> None:
    """Log in, and let time pass."""
    github(services, with_life(28_800))
    with logged_off(services, folder) as sidecar:
        assert log_in(sidecar)["expires_at"] is not None
        assert authenticate(sidecar, "status")["data"]["expires_at"] is not None
    wear_off(folder)
    services.forget()
    services.answer(CHATS, only_for(f"{TOKEN}-2"))
    services.answer("GET https://api.githubcopilot.com/*", document({"data": []}))


def test_two_processes_renew_a_login_once(services: Services, tmp_path: Path) -> None:  # F18
    worn_off(services, tmp_path)
    held = Held(with_life(28_800, 2))
    services.answer(TOKENS, held)
    with logged_off(services, tmp_path) as one, logged_off(services, tmp_path) as two:
        ids = [(process, each) for process in (one, two) for each in chats(process, 5)]
        services.wait(lambda: bool(services.asked(TOKENS)), "the renewal")
        # The others wait, and so does the other process; nobody else is held up.
        assert max(process.ping() for process in (one, two)) < 1
        held.let_go()
        assert all(process.reply(each)["success"] for process, each in ids)
    assert f"refresh_token={RENEWAL}-1" in services.only(TOKENS).body.decode()
    assert stored(tmp_path)["copilot"]["secrets"] == {"value": f"{TOKEN}-2", "renewal": f"{RENEWAL}-2"}
    assert stored(tmp_path)["copilot"]["account"] == "octocat"


def test_a_login_that_cannot_be_renewed_for_now_is_used_while_it_is_good(services: Services, tmp_path: Path) -> None:
    worn_off(services, tmp_path)
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
    worn_off(services, tmp_path)
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


def test_a_login_that_wears_off_within_a_stream_does_not_touch_it(services: Services, tmp_path: Path) -> None:  # F12
    held = Held(text_of("openai_chat"))
    github(services, with_life(28_800))
    services.answer("GET https://api.githubcopilot.com/*", document({"data": []}))
    services.answer(CHATS, held)
    with logged_off(services, tmp_path) as sidecar:
        log_in(sidecar)
        first = chats(sidecar, 1)
        services.wait(lambda: bool(services.asked(CHATS)), "the chat")
        wear_off(tmp_path)
        while "2026-11-20T00" not in authenticate(sidecar, "status")["data"]["expires_at"]:
            assert sidecar.ping() < 1
        services.answer(CHATS, only_for(f"{TOKEN}-2"))
        services.answer(TOKENS, with_life(28_800, 2))
        assert codes(sidecar, chats(sidecar, 1)) == [None]
        held.let_go()
        assert codes(sidecar, first) == [None]
    assert [seen.headers["authorization"][-2:] for seen in services.asked(CHATS)] == ["-1", "-2"]


def test_a_login_that_cannot_be_renewed_asks_for_a_new_one(services: Services, tmp_path: Path) -> None:  # F13
    worn_off(services, tmp_path)
    services.answer(TOKENS, document({"error": "bad_refresh_token", "error_description": "It was used."}))
    with logged_off(services, tmp_path) as sidecar:
        assert codes(sidecar, chats(sidecar, 5)) == ["auth_required"] * 5
        assert codes(sidecar, chats(sidecar, 1)) == ["auth_required"]
        assert authenticate(sidecar, "status")["data"]["ready"] is False
    assert len(services.asked(TOKENS)) == 1
    assert not services.asked(CHATS)


def test_a_renewal_that_fails_for_now_is_tried_again_later(services: Services, tmp_path: Path) -> None:
    worn_off(services, tmp_path)
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
