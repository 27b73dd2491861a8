"""Tokens that a provider refuses: one new one for all who were refused, one more try each, and no storm."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from tests.support import app
from tests.support.answer_rules import Held
from tests.support.app import Host, read_codes, send_chats
from tests.support.fake_services import Answer, Seen, document
from tests.support.google_files import service_account
from tests.support.in_memory import RuledServer
from tests.support.provider_rows import text_of
from tests.support.scheme_calls import MIN_AGE_SECONDS, TokenClock

pytestmark = pytest.mark.long

MANY = 20
REFUSED = document({"error": {"message": "Unauthorized"}}, 401)
FORBIDDEN = document({"error": {"message": "Forbidden"}}, 403)


class Scheme(msgspec.Struct, frozen=True):
    """How one provider's login is asked for a token."""

    provider: str
    wire: str
    tokens: str
    chats: str
    env: dict[str, str]
    model: str = "some-model"


SCHEMES = [
    Scheme(
        "anthropic",
        "anthropic_messages",
        "POST https://api.anthropic.com/v1/oauth/token",
        "POST https://api.anthropic.com/v1/messages",
        {
            "ANTHROPIC_FEDERATION_RULE_ID": "fdrl_1",
            "ANTHROPIC_ORGANIZATION_ID": "org_1",
            "ANTHROPIC_IDENTITY_TOKEN": "CANARY-identity",
        },
    ),
    Scheme(
        "openai",
        "openai_chat",
        "POST https://auth.openai.com/oauth/token",
        "POST https://api.openai.com/v1/*",
        {"OPENAI_IDENTITY_PROVIDER_ID": "idp-1", "OPENAI_SERVICE_ACCOUNT_ID": "sa-1"},
    ),
    Scheme(
        "azure",
        "openai_chat",
        "POST https://login.microsoftonline.com/my-tenant/oauth2/v2.0/token",
        "POST https://mine.openai.azure.com/*",
        {
            "AZURE_OPENAI_RESOURCE": "mine",
            "AZURE_TENANT_ID": "my-tenant",
            "AZURE_CLIENT_ID": "my-client",
            "AZURE_CLIENT_SECRET": "CANARY-secret",
        },
    ),
    Scheme(
        "vertex",
        "gemini",
        "POST https://token.test/token",
        "POST https://aiplatform.googleapis.com/*",
        {"GOOGLE_CLOUD_PROJECT": "p"},
        "gemini-x",
    ),
]


@pytest.fixture(params=SCHEMES, ids=lambda scheme: scheme.provider)
def scheme(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scheme:
    """Return each scheme, with the file that a workload's own token is in."""
    (tmp_path / "subject").write_text("CANARY-subject", encoding="utf-8")
    found: Scheme = request.param
    env = found.env | {"HOME": str(tmp_path), "OPENAI_IDENTITY_TOKEN_FILE": str(tmp_path / "subject")}
    if found.provider == "vertex":
        env["GOOGLE_APPLICATION_CREDENTIALS"] = msgspec.json.encode(service_account()).decode()
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return msgspec.structs.replace(found, env=env)


@pytest.fixture
def services() -> RuledServer:
    return RuledServer()


@pytest.fixture
async def host(services: RuledServer, scheme: Scheme) -> AsyncIterator[Host]:
    """Yield an app with the scheme's environment."""
    async with app.online(services, env=scheme.env, limits={"max_attempts": 1}) as host:
        yield host


def make_grant(number: int) -> Answer:
    """Return the answer with a token."""
    return document({"access_token": f"CANARY-token-{number}", "expires_in": 3600, "token_type": "Bearer"})


def accept_only(scheme: Scheme, *tokens: int) -> Callable[[Seen], Answer]:
    """Return a chat for those who come with one of the tokens, a refusal for all others."""
    good = {f"Bearer CANARY-token-{number}" for number in tokens}
    return lambda seen: text_of(scheme.wire) if seen.headers["authorization"] in good else REFUSED


async def ask(host: Host, scheme: Scheme, count: int = 1) -> list[str | None]:
    """Ask chats at once and return their error codes, None for those that went well."""
    return await read_codes(host, send_chats(host, scheme.provider, count, model=scheme.model))


async def test_many_refusals_are_one_new_token(
    host: Host, services: RuledServer, scheme: Scheme, token_clock: TokenClock
) -> None:
    held = Held(make_grant(2))
    services.answer(scheme.tokens, make_grant(1), held)
    services.answer(scheme.chats, accept_only(scheme, 1))
    assert await ask(host, scheme) == [None]
    token_clock.pass_by(MIN_AGE_SECONDS)
    services.answer(scheme.chats, accept_only(scheme, 2))
    sent = send_chats(host, scheme.provider, MANY, model=scheme.model)
    await services.wait_for(scheme.chats, 1 + MANY)
    await services.wait_for(scheme.tokens, 2)
    # Whoever leaves takes nobody with it.
    await host.ask("cancel", {"id": sent[0]})
    assert await read_codes(host, sent[:1]) == ["cancelled"]
    held.let_go()
    assert await read_codes(host, sent[1:]) == [None] * (MANY - 1)
    assert len(services.asked(scheme.tokens)) == 2
    assert len(services.asked(scheme.chats)) == 1 + MANY + MANY - 1


async def test_a_new_token_that_is_refused_too_is_an_error_after_one_more_try(
    host: Host, services: RuledServer, scheme: Scheme, token_clock: TokenClock
) -> None:
    services.answer(scheme.tokens, make_grant(1), make_grant(2))
    services.answer(scheme.chats, text_of(scheme.wire), REFUSED)
    assert await ask(host, scheme) == [None]
    token_clock.pass_by(MIN_AGE_SECONDS)
    assert await ask(host, scheme) == ["auth_failed"]
    tried = [seen.headers["authorization"][-1] for seen in services.asked(scheme.chats)]
    assert tried == ["1", "1", "2"]
    # And the next minute makes no other.
    assert await ask(host, scheme, 3) == ["auth_failed"] * 3
    assert len(services.asked(scheme.tokens)) == 2


async def test_what_is_forbidden_is_no_reason_for_a_new_token(
    host: Host, services: RuledServer, scheme: Scheme, token_clock: TokenClock
) -> None:
    services.answer(scheme.tokens, make_grant(1), make_grant(2))
    services.answer(scheme.chats, text_of(scheme.wire), FORBIDDEN)
    assert await ask(host, scheme) == [None]
    token_clock.pass_by(MIN_AGE_SECONDS)
    assert await ask(host, scheme) == ["permission_denied"]
    assert len(services.asked(scheme.tokens)) == 1
    assert len(services.asked(scheme.chats)) == 2


async def test_a_token_that_is_refused_at_once_is_not_replaced(
    host: Host, services: RuledServer, scheme: Scheme
) -> None:
    services.answer(scheme.tokens, make_grant(1), make_grant(2))
    services.answer(scheme.chats, REFUSED)
    assert await ask(host, scheme, 5) == ["auth_failed"] * 5
    assert await ask(host, scheme) == ["auth_failed"]
    assert len(services.asked(scheme.tokens)) == 1
    assert len(services.asked(scheme.chats)) == 6


async def test_a_refusal_that_comes_late_gets_the_token_that_others_have_renewed(
    host: Host, services: RuledServer, scheme: Scheme, token_clock: TokenClock
) -> None:
    late = Held(REFUSED)
    services.answer(scheme.tokens, make_grant(1), make_grant(2))
    services.answer(scheme.chats, text_of(scheme.wire), late, accept_only(scheme, 2))
    assert await ask(host, scheme) == [None]
    first = send_chats(host, scheme.provider, 1, model=scheme.model)
    await services.wait_for(scheme.chats, 2)
    token_clock.pass_by(MIN_AGE_SECONDS)
    assert await ask(host, scheme, 3) == [None] * 3
    late.let_go()
    assert await read_codes(host, first) == [None]
    assert len(services.asked(scheme.tokens)) == 2


async def test_a_login_that_fails_for_a_moment_is_asked_again(services: RuledServer, scheme: Scheme) -> None:
    services.answer(scheme.tokens, document({"error": "unavailable"}, 503), make_grant(1))
    services.answer(scheme.chats, text_of(scheme.wire))
    env = scheme.env | {"SIDECAR_MAX_ATTEMPTS": "3"}
    async with app.online(services, env=env) as host:
        [sent] = send_chats(host, scheme.provider, 1, model=scheme.model)
        done = (await host.read_reply(sent))[-1]["data"]
    assert done["type"] == "done"
    assert len(services.asked(scheme.tokens)) == 2
    assert len(services.asked(scheme.chats)) == 1
