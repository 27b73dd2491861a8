"""Anthropic with the login of a profile or of a workload, as its own SDK finds them."""

import json
import stat
import time
from pathlib import Path

import pytest

from sidecar.auth import authorize
from sidecar.auth.memory import Memory
from sidecar.auth.scheme import Call
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest
from sidecar.core.secret import Secret
from tests.support.answer_rules import DOWN, Answering
from tests.support.fake_exchange import FakeExchange
from tests.support.fake_services import Answer, document
from tests.support.scheme_calls import Authorizer, TokenClock, gather_bearers, get_bearer, get_failure

pytestmark = pytest.mark.long

TOKENS = "POST https://api.anthropic.com/v1/oauth/token"
WORKLOAD = {
    "ANTHROPIC_FEDERATION_RULE_ID": "fdrl_1",
    "ANTHROPIC_ORGANIZATION_ID": "org_1",
    "ANTHROPIC_IDENTITY_TOKEN": "CANARY-identity",
}
GRANTED = document({"access_token": "CANARY-access", "expires_in": 3600, "token_type": "Bearer"})


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the logins of whoever runs the tests out of them: the SDK reads the environment itself."""
    import os

    for name in [name for name in os.environ if name.startswith("ANTHROPIC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def anthropic(exchange: FakeExchange, memory: Memory) -> Authorizer:
    return Authorizer("anthropic", exchange, memory)


@pytest.fixture
def workload(anthropic: Authorizer, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Return a call of a workload."""
    for name, value in WORKLOAD.items():
        monkeypatch.setenv(name, value)
    return anthropic.make_call()


def write_profile(folder: Path, expires_at: float, **more: object) -> Path:
    """Write the profile `dev`, as a login leaves it, and return the folder of its configuration."""
    root = folder / "anthropic"
    for name, content in (
        ("configs", {"authentication": {"type": "user_oauth", "client_id": "client_1"}} | more),
        ("credentials", {"access_token": "CANARY-old", "refresh_token": "CANARY-refresh", "expires_at": expires_at}),
    ):
        (root / name).mkdir(parents=True)
        file = root / name / "dev.json"
        file.write_text(json.dumps(content), encoding="utf-8")
        file.chmod(0o600)
    return root


@pytest.fixture
def profile(anthropic: Authorizer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Return a call of the profile `dev`, whose token has expired."""
    root = write_profile(tmp_path, time.time() - 60, workspace_id="wrkspc_1", base_url="https://staging.example")
    monkeypatch.setenv("ANTHROPIC_CONFIG_DIR", str(root))
    monkeypatch.setenv("ANTHROPIC_PROFILE", "dev")
    return anthropic.make_call()


async def test_a_workload_gets_one_token_for_all(workload: Call, exchange: FakeExchange) -> None:
    exchange.answer(TOKENS, GRANTED)
    assert await gather_bearers(workload, 20) == ["CANARY-access"] * 20
    asked = exchange.only(TOKENS)
    assert (asked.json["assertion"], asked.json["federation_rule_id"]) == ("CANARY-identity", "fdrl_1")
    assert asked.headers["user-agent"].startswith("anthropic-python/")


@pytest.mark.parametrize(("wanted", "sent"), [(None, "oauth-2025-04-20"), ("a-1,b-2", "a-1,b-2,oauth-2025-04-20")])
async def test_a_token_comes_with_its_beta_beside_those_of_the_request(
    anthropic: Authorizer, workload: Call, exchange: FakeExchange, wanted: str | None, sent: str
) -> None:
    exchange.answer(TOKENS, GRANTED)
    headers = {"anthropic-beta": wanted} if wanted else {}
    request = HttpRequest(method="POST", url="https://api.anthropic.com/v1/messages", headers=headers)
    made = await authorize.make_headers(anthropic.make_call(request=request))
    assert made.headers == {"authorization": "Bearer CANARY-access", "anthropic-beta": sent}
    assert made.list_secrets() == ["CANARY-access"]
    assert workload.target.credential is None


async def test_a_key_goes_before_a_login(anthropic: Authorizer, workload: Call, exchange: FakeExchange) -> None:
    call = anthropic.make_call(credential=Secret("CANARY-key", "environment"))
    assert (await authorize.make_headers(call)).headers == {"authorization": "Bearer CANARY-key"}
    assert await authorize.prepare(call) is call.target
    assert workload.target.credential is None
    assert not exchange.asked()


async def test_a_token_is_replaced_two_minutes_before_it_expires(
    workload: Call, exchange: FakeExchange, token_clock: TokenClock
) -> None:
    exchange.answer(TOKENS, GRANTED, document({"access_token": "CANARY-second", "expires_in": 3600}))
    bearers = []
    for seconds in (0, 3470, 20):
        token_clock.pass_by(seconds)
        bearers.append(await get_bearer(workload))
    assert bearers == ["CANARY-access", "CANARY-access", "CANARY-second"]


async def test_a_profile_that_has_expired_is_renewed_and_kept(
    profile: Call, exchange: FakeExchange, tmp_path: Path
) -> None:
    exchange.answer("POST https://staging.example/v1/oauth/token", GRANTED)
    target = await authorize.prepare(profile)
    assert (target.route.base_url, target.list_base_url) == ("https://staging.example", "https://staging.example")
    made = await authorize.make_headers(profile)
    assert made.headers["authorization"] == "Bearer CANARY-access"
    assert made.headers["anthropic-workspace-id"] == "wrkspc_1"
    asked = exchange.only()
    assert (asked.json["grant_type"], asked.json["refresh_token"]) == ("refresh_token", "CANARY-refresh")
    file = tmp_path / "anthropic" / "credentials" / "dev.json"
    assert json.loads(file.read_bytes())["access_token"] == "CANARY-access"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        (
            document({"error": "invalid_grant", "error_description": "CANARY-refresh is used."}, 400),
            "auth_required",
            None,
        ),
        (document({"error": "invalid_grant"}, 401), "auth_required", None),
        (Answer(b"<html>", 200), "provider_error", None),
        (Answer(status=503), "provider_error", None),
        (Answer(status=429), "provider_error", None),
        (DOWN, "network_error", "refused"),
    ],
)
async def test_a_login_that_is_not_renewed_is_an_error(
    profile: Call, exchange: FakeExchange, answer: Answering, code: str, reason: str | None
) -> None:
    exchange.answer("*", answer)
    body = (await get_failure(profile)).body
    assert (body.code, body.reason) == (code, reason)
    assert "CANARY" not in str(body)


async def test_a_login_that_cannot_be_reached_says_so(profile: Call, exchange: FakeExchange) -> None:
    exchange.answer("*", DOWN)
    message = (await get_failure(profile)).body.message
    assert message == "Anthropic's login could not be reached: The connection was refused."


@pytest.mark.parametrize("name", ["nobody", ""])
async def test_without_a_login_one_is_asked_for(
    anthropic: Authorizer, exchange: FakeExchange, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name:
        monkeypatch.setenv("ANTHROPIC_PROFILE", name)
    body = (await get_failure(anthropic.make_call())).body
    assert (body.code, "ANTHROPIC_API_KEY" in (body.hint or "")) == ("auth_required", True)
    assert not exchange.asked()


async def test_a_login_does_not_go_to_another_address(
    anthropic: Authorizer, workload: Call, exchange: FakeExchange
) -> None:
    with pytest.raises(SidecarError, match="Anthropic's own address"):
        await authorize.prepare(anthropic.make_call(base_url="https://lab.example"))
    assert workload.target.credential is None
    assert not exchange.asked()
