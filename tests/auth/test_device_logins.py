"""A login with a code: what the user is shown, when the provider is asked, and every way that it can end."""

from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.support import logins
from tests.support.fake_services import Answer, Services, document
from tests.support.lines import Object
from tests.support.logins import (
    CODES,
    GRANTED,
    INTERVAL_SECONDS,
    PENDING,
    SESSIONS,
    TOKEN,
    TOKENS,
    USER,
    Clock,
    authenticate,
    begin,
    code,
    error,
    github,
    kinds,
    log_in,
    logged_off,
    stored,
)
from tests.support.program import Program
from tests.support.provider_rows import params, text_of

pytestmark = pytest.mark.long

SHOWN = {
    "type": "device_flow",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://github.com/login/device",
    "expires_in": 900,
    "interval": INTERVAL_SECONDS,
}


def failed(sidecar: Program) -> Object:
    """Log in, and return the error that comes of it."""
    failure: Object = authenticate(sidecar, "login")["error"]
    return failure


def test_a_login_shows_a_code_and_ends_with_the_account(services: Services, tmp_path: Path) -> None:  # F01
    polls = Clock(PENDING, PENDING, PENDING, GRANTED)
    github(services)
    services.answer(TOKENS, polls)
    with logged_off(services, tmp_path) as sidecar:
        lines = sidecar.stream(sidecar.send("authenticate", {"op": "login"}, provider="copilot"))
        assert [line.data["data"] for line in lines] == [
            SHOWN,
            {
                "type": "done",
                "provider": "copilot",
                "method": "device",
                "account": "octocat",
                "storage": "file",
                "expires_at": None,
                "warnings": [],
            },
        ]
        services.answer("POST https://api.githubcopilot.com/*", text_of("openai_chat"))
        assert sidecar.ask("stream_chat", params(), provider="copilot")["success"]
    assert len(polls.at) == 4
    assert min(polls.gaps) >= INTERVAL_SECONDS
    asked = [parse_qs(seen.body.decode()) for seen in services.asked("POST https://github.com/*")]
    client_id = asked[0]["client_id"]
    assert asked[0] == {"client_id": client_id, "scope": ["read:user"]}
    grant = ["urn:ietf:params:oauth:grant-type:device_code"]
    assert asked[1:] == [{"client_id": client_id, "device_code": ["CANARY-device-code"], "grant_type": grant}] * 4
    assert all(seen.headers["accept"] == "application/json" for seen in services.asked("POST https://github.com/*"))
    assert services.only("POST https://api.githubcopilot.com/*").headers["authorization"] == f"Bearer {TOKEN}"


def test_a_host_that_wants_to_know_is_told_of_every_wait(services: Services, tmp_path: Path) -> None:
    github(services, PENDING, GRANTED)
    with logged_off(services, tmp_path) as sidecar:
        sidecar.ask("initialize", {"events": ["status"]})
        lines = sidecar.stream(sidecar.send("authenticate", {"op": "login"}, provider="copilot"))
    assert kinds(lines) == ["device_flow", "status", "status", "done"]
    assert lines[1].data["data"] == {"type": "status", "state": "waiting", "wait_ms": 120}


def test_slow_down_makes_the_wait_longer(services: Services, tmp_path: Path) -> None:  # F02
    polls = Clock(PENDING, error("slow_down", interval=0.2), GRANTED)
    github(services)
    services.answer(TOKENS, polls)
    with logged_off(services, tmp_path) as sidecar:
        log_in(sidecar)
    assert polls.gaps[0] < 2
    assert polls.gaps[1] >= 5 + INTERVAL_SECONDS


@pytest.mark.parametrize("word", ["expired_token", "token_expired"])
def test_a_code_that_the_provider_calls_expired_ends_the_login(  # F03
    services: Services, tmp_path: Path, word: str
) -> None:
    github(services, PENDING, error(word))
    with logged_off(services, tmp_path) as sidecar:
        failure = failed(sidecar)
        assert (failure["code"], failure["reason"]) == ("auth_failed", "device_code_expired")
        assert "removed" not in authenticate(sidecar, "status")["data"]
    assert len(services.asked(CODES)) == 1
    assert not (tmp_path / "store").exists()


def test_a_code_that_nobody_types_expires(services: Services, tmp_path: Path) -> None:  # F03
    github(services, PENDING, expires_in=1)
    with logged_off(services, tmp_path) as sidecar:
        failure = failed(sidecar)
        polls = len(services.asked(TOKENS))
        assert (failure["code"], failure["reason"]) == ("auth_failed", "device_code_expired")
        # A new login begins anew; of the old one nothing is heard.
        github(services, GRANTED)
        log_in(sidecar)
    assert len(services.asked(TOKENS)) == polls + 1
    assert len(services.asked(CODES)) == 2


def test_a_user_who_refuses_ends_the_login(services: Services, tmp_path: Path) -> None:  # F04
    github(services, PENDING, error("access_denied"))
    with logged_off(services, tmp_path) as sidecar:
        failure = failed(sidecar)
    assert (failure["code"], failure["reason"], failure["retryable"]) == ("auth_failed", "denied", False)
    assert len(services.asked(TOKENS)) == 2


@pytest.mark.parametrize("word", ["incorrect_client_credentials", "device_flow_disabled", "unsupported_grant_type"])
def test_a_login_that_the_provider_does_not_give_ends_at_once(services: Services, tmp_path: Path, word: str) -> None:
    github(services, error(word))
    with logged_off(services, tmp_path) as sidecar:
        failure = failed(sidecar)
        assert (failure["code"], failure["provider_code"]) == ("auth_failed", word)
        services.answer(CODES, error(word))
        assert failed(sidecar)["provider_code"] == word
    assert len(services.asked(TOKENS)) == 1


def test_a_server_that_repeats_what_it_was_asked_with_is_not_repeated(services: Services, tmp_path: Path) -> None:
    github(services, error("CANARY-device-code", error_description="What is CANARY-device-code?"))
    with logged_off(services, tmp_path) as sidecar:
        failure = failed(sidecar)
        assert (failure["code"], failure["provider_code"]) == ("auth_failed", "[redacted]")
        # As old as an enterprise's token is, its shape tells nothing.
        token = "CANARY0123456789abcdef0123456789abcdef01"
        services.answer("POST https://api.githubcopilot.com/*", document({"error": {"message": "No."}}, 401))
        services.answer("GET https://api.githubcopilot.com/*", document({"error": {"message": "No."}}, 401))
        services.answer(SESSIONS, document({"message": f"What is {token}?"}, 500))
        for asked in (
            authenticate(sidecar, "validate", api_key=token),
            sidecar.ask("stream_chat", params(api_key=token), provider="copilot"),
        ):
            assert "What is [redacted]?" in asked["error"]["message"]
    # The harness has looked through every line.


def test_answers_that_do_not_come_are_asked_for_again(services: Services, tmp_path: Path) -> None:  # F05
    broken: list[logins.Answering] = [
        Answer(status=500),
        Answer(b"<html>Bad gateway</html>", 502, {"content-type": "text/html"}),
        document({"error": "server_error"}, 503),
        logins.hangs_up,
    ]
    github(services)
    services.answer(TOKENS, *broken, GRANTED)
    with logged_off(services, tmp_path) as sidecar:
        sidecar.ask("initialize", {"events": ["status"]})
        lines = sidecar.stream(sidecar.send("authenticate", {"op": "login"}, provider="copilot"))
    waits = [line.data["data"]["wait_ms"] for line in lines if line.data["data"]["type"] == "status"]
    assert waits == [120, 240, 480, 960, 1920]
    assert lines[-1].data["data"]["account"] == "octocat"


def test_a_login_is_cancelled_at_any_moment(services: Services, tmp_path: Path) -> None:  # F06
    github(services, PENDING)
    services.answer(CODES, code(device_code="CANARY-first"), code(device_code="CANARY-second"))
    with logged_off(services, tmp_path) as sidecar:
        first = begin(sidecar)
        services.wait(lambda: len(services.asked(TOKENS)) >= 2, "two polls")
        assert sidecar.ask("cancel", {"id": first})["data"] == {"found": True}
        assert sidecar.reply(first)["error"]["code"] == "cancelled"
        polls = len(services.asked(TOKENS))
        second = begin(sidecar)
        services.wait(lambda: len(services.asked(TOKENS)) >= polls + 4, "polls of the second login")
        sidecar.ask("cancel", {"id": second})
        sidecar.reply(second)
    codes = [parse_qs(seen.body.decode())["device_code"][0] for seen in services.asked(TOKENS)]
    assert codes == ["CANARY-first"] * polls + ["CANARY-second"] * (len(codes) - polls)


def test_a_login_that_waits_for_its_code_is_cancelled(services: Services, tmp_path: Path) -> None:  # F06
    services.answer(CODES, Answer(stalls=True))
    with logged_off(services, tmp_path) as sidecar:
        request_id = sidecar.send("authenticate", {"op": "login"}, provider="copilot")
        services.wait(lambda: bool(services.asked(CODES)), "the question")
        sidecar.ask("cancel", {"id": request_id})
        assert sidecar.reply(request_id)["error"]["code"] == "cancelled"
        services.wait(lambda: services.only(CODES).closed_at is not None, "the end of the connection")


def test_a_timeout_ends_a_login(services: Services, tmp_path: Path) -> None:
    github(services, PENDING)
    with logged_off(services, tmp_path) as sidecar:
        reply = sidecar.ask("authenticate", {"op": "login"}, provider="copilot", timeout=300)
        assert (reply["error"]["code"], reply["error"]["phase"]) == ("timeout", "total")


def test_two_logins_at_once_are_one(services: Services, tmp_path: Path) -> None:  # F07
    github(services, PENDING)
    with logged_off(services, tmp_path) as sidecar:
        first, second, third = begin(sidecar), begin(sidecar), begin(sidecar)
        # Whoever began it may leave; the others still wait.
        sidecar.ask("cancel", {"id": first})
        assert sidecar.reply(first)["error"]["code"] == "cancelled"
        services.answer(TOKENS, GRANTED)
        for request_id in (second, third):
            lines = sidecar.stream(request_id)
            assert lines[0].data["data"] == SHOWN
            assert lines[-1].data["data"]["account"] == "octocat"
    assert len(services.asked(CODES)) == 1
    assert len(services.asked(USER)) == 1
    assert list(stored(tmp_path)) == ["copilot"]


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http://github.com/login/device",
        "https://evil.example/login/device",
        "https://github.com.evil.example/login/device",
        "https://github.com@evil.example/login/device",
        "https://github.com:8443/login/device",
        "https://github.com/login/device?x=$(touch x)",
        "https://github.com/$(touch${IFS}x)",
        "https://github.com/login/\x1b]8;;device",
        "https://github.com/login/device\n",
        "https://g\u0131thub.com/login/device",
        7,
        None,
    ],
)
def test_an_address_that_is_not_the_providers_is_not_passed_on(  # F08
    services: Services, tmp_path: Path, uri: object
) -> None:
    github(services, verification_uri=uri)
    with logged_off(services, tmp_path) as sidecar:
        request_id = sidecar.send("authenticate", {"op": "login"}, provider="copilot")
        (line,) = sidecar.stream(request_id)
        assert line.data["error"]["code"] in ("auth_failed", "provider_error")
        assert "evil" not in str(line.data)
    assert not services.asked(TOKENS)


@pytest.mark.parametrize("user_code", ["AB\x1b[2J", "AB\u202eCD", "AB\u200bCD", "", "A B", "A\nB", "X" * 99, 5, None])
def test_a_code_that_is_no_code_is_not_passed_on(services: Services, tmp_path: Path, user_code: object) -> None:  # F09
    github(services, user_code=user_code)
    with logged_off(services, tmp_path) as sidecar:
        (line,) = sidecar.stream(sidecar.send("authenticate", {"op": "login"}, provider="copilot"))
        assert line.data["error"]["code"] in ("auth_failed", "provider_error")
    assert not services.asked(TOKENS)


@pytest.mark.parametrize("answer", [Answer(b"<html>"), document([]), document({}), Answer(status=500)])
def test_a_code_that_does_not_come_is_an_error(services: Services, tmp_path: Path, answer: Answer) -> None:
    services.answer(CODES, answer)
    with logged_off(services, tmp_path) as sidecar:
        assert failed(sidecar)["code"] == "provider_error"


def test_an_account_that_is_not_told_is_unknown(services: Services, tmp_path: Path) -> None:
    github(services)
    services.answer(USER, Answer(status=500))
    with logged_off(services, tmp_path) as sidecar:
        assert log_in(sidecar)["account"] is None


def test_a_login_of_an_enterprise_is_at_its_own_domain(services: Services, tmp_path: Path) -> None:
    own = "https://company.ghe.com"
    services.answer(f"POST {own}/login/device/code", code(verification_uri=f"{own}/login/device"))
    services.answer(f"POST {own}/login/oauth/access_token", GRANTED)
    services.answer("GET https://api.company.ghe.com/user", document({"login": "ada"}))
    config = '[providers.copilot]\ndomain = "company.ghe.com"\nlogin_client_id = "my-own-app"\n'
    with logged_off(services, tmp_path, config) as sidecar:
        assert log_in(sidecar)["account"] == "ada"
    assert {seen.url.split("/")[2] for seen in services.asked()} == {"company.ghe.com", "api.company.ghe.com"}
    assert b"client_id=my-own-app" in services.asked()[0].body
    # The token of one domain is nothing for another.
    with logged_off(services, tmp_path) as sidecar:
        failure = sidecar.ask("stream_chat", params(), provider="copilot")["error"]
        assert failure["code"] == "auth_required"


def test_a_login_server_of_ones_own(services: Services, tmp_path: Path) -> None:
    base = f"{services.url}/own"
    services.answer(f"POST {base}/login/device/code", code(verification_uri=f"{services.url}/login/device"))
    services.answer(f"POST {base}/login/oauth/access_token", GRANTED)
    services.answer(f"GET {base}/user", document({"login": "ada"}))
    with logged_off(services, tmp_path, f'[providers.copilot]\nlogin_base_url = "{base}"\n') as sidecar:
        assert log_in(sidecar)["account"] == "ada"
    assert all(seen.url.startswith(base) for seen in services.asked())
