"""GitHub Copilot: who asks, which wire, and what a refused token is exchanged for."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from sidecar.auth import exchange
from sidecar.auth.schemes import copilot_session
from tests.support import app
from tests.support.answer_rules import Held
from tests.support.app import Host, read_codes, send_chats
from tests.support.fake_services import Answer, Seen, document
from tests.support.in_memory import RuledServer
from tests.support.lines import Object
from tests.support.provider_rows import params, secrets, text_of
from tests.support.scheme_calls import MIN_AGE_SECONDS, TokenClock

pytestmark = pytest.mark.long

COPILOT = "https://api.githubcopilot.com"
SESSIONS = "https://api.github.com/copilot_internal/v2/token"
GITHUB = "CANARY-github"
IMAGE = {"type": "image", "data": "iVBORw0KGgo=", "media_type": "image/png"}
CALL = {"type": "tool_call", "id": "call_1", "name": "look", "arguments": {}, "arguments_text": "{}"}
REFUSED = document({"error": {"message": "Unauthorized"}}, 401)
MANY = 50


@pytest.fixture
def services() -> RuledServer:
    return RuledServer()


@pytest.fixture
async def host(services: RuledServer) -> AsyncIterator[Host]:
    """Yield an app with a GitHub token."""
    env = {"GH_COPILOT_TOKEN": GITHUB}
    async with app.online(services, env=env, limits={"max_attempts": 1}) as host:
        yield host


async def ask(host: Host, wire: str | None = None, **more: Any) -> Object:
    """Ask a chat and return its `done`."""
    reply = await host.ask("stream_chat", params(wire, **more), provider="copilot")
    assert reply["success"], reply
    done: Object = reply["data"]
    return done


async def ask_many(host: Host, count: int) -> list[str | None]:
    """Ask chats at once and return their error codes, None for those that went well."""
    return await read_codes(host, send_chats(host, "copilot", count, options={"wire": "openai_chat"}))


def list_models(**endpoints: list[str]) -> Answer:
    """Return a list of models with those endpoints."""
    entries = [
        {"id": name.replace("_", "-"), "capabilities": {"type": "chat"}, "supported_endpoints": paths}
        for name, paths in endpoints.items()
    ]
    return document({"data": [*entries, {"id": "old", "capabilities": {"type": "chat"}}, {"id": None}, 5]})


def make_session(token: str = "CANARY-session", **more: Any) -> Answer:
    """Return a reply of the exchange."""
    return document({"token": token, "expires_at": int(time.time()) + 1800, "refresh_in": 1500} | more)


def accept_only(token: str, status: int = 401) -> Callable[[Seen], Answer]:
    """Return a chat for those who come with the token, a refusal for all others."""
    refused = document({"message": "token expired"}, status)
    return lambda seen: text_of("openai_chat") if token in seen.headers["authorization"] else refused


# --- who asks, and for what ------------------------------------------------------------------

LOOK: list[Object] = [{"role": "user", "content": "Look."}, {"role": "assistant", "content": [CALL]}]


def show(content: Any) -> Object:
    """Return the message with a tool's result."""
    return {"role": "tool", "content": [{"type": "tool_result", "id": "call_1", "content": content}]}


async def test_the_api_is_told_who_asks_and_for_what(host: Host, services: RuledServer) -> None:
    conversations: list[tuple[list[Object], str, str | None]] = [
        ([{"role": "user", "content": "Hi"}], "user", None),
        ([{"role": "user", "content": [{"type": "text", "text": "What?"}, IMAGE]}], "user", "true"),
        ([*LOOK, show("seen")], "agent", None),
        ([*LOOK, show([IMAGE])], "agent", "true"),
        ([*LOOK, show("seen"), {"role": "user", "content": "Thanks."}], "user", None),
    ]
    services.answer(f"GET {COPILOT}/models", list_models())
    services.answer("POST *", text_of("openai_chat"))
    await host.ask("initialize", {"client": {"name": "my editor", "version": "3.2"}})
    for messages, _, _ in conversations:
        await ask(host, messages=messages)
    for seen, (_, initiator, vision) in zip(services.asked("POST *"), conversations, strict=True):
        assert seen.headers["authorization"] == f"Bearer {GITHUB}"
        assert seen.headers["x-initiator"] == initiator
        assert seen.headers.get("copilot-vision-request") == vision
        assert seen.headers["editor-version"] == "my-editor/3.2"
        assert seen.headers["editor-plugin-version"].startswith("sidecar/")
        assert "copilot-integration-id" not in seen.headers


async def test_the_providers_own_list_chooses_the_wire(host: Host, services: RuledServer) -> None:
    every = {
        "both": ["/chat/completions", "/responses"],
        "claude_x": ["/chat/completions", "/v1/messages"],
        "chat": ["/chat/completions"],
    }
    services.answer(f"GET {COPILOT}/models", list_models(**every))
    paths = {
        "both": "responses",
        "claude-x": "v1/messages",
        "chat": "chat/completions",
        "old": "chat/completions",
        "unlisted": "chat/completions",
    }
    wires = {"responses": "openai_responses", "v1/messages": "anthropic_messages", "chat/completions": "openai_chat"}
    for model, path in paths.items():
        services.answer("POST *", text_of(wires[path]))
        await ask(host, model=model)
    services.answer("POST *", text_of("openai_chat"))
    await ask(host, "openai_chat", model="both")
    posted = [seen.url for seen in services.asked("POST *")]
    assert posted == [f"{COPILOT}/{path}" for path in paths.values()] + [f"{COPILOT}/chat/completions"]
    assert len(services.asked("GET *")) == 1


# --- sessions --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_github_token_is_exchanged_once_and_the_session_is_kept(
    host: Host, services: RuledServer, status: int
) -> None:
    own = "https://api.individual.githubcopilot.com"
    services.answer(f"* {COPILOT}/*", document({"message": "token expired"}, status))
    services.answer(f"GET {SESSIONS}", make_session(endpoints={"api": own}))
    services.answer(f"GET {own}/models", list_models())
    services.answer(f"POST {own}/*", text_of("openai_chat"))
    for _ in range(3):
        assert (await ask(host))["finish_reason"] == "stop"
    assert services.only(f"GET {SESSIONS}").headers["authorization"] == f"token {GITHUB}"
    assert len(services.asked(f"POST {own}/*")) == 3
    assert all(secrets(seen) == {"CANARY-session"} for seen in services.asked(f"* {own}/*"))
    assert len(services.asked(f"POST {COPILOT}/*")) == 1


async def test_many_refusals_are_one_exchange(host: Host, services: RuledServer) -> None:  # F10
    services.answer("POST *", accept_only("CANARY-session"))
    services.answer(f"GET {SESSIONS}", make_session())
    assert await ask_many(host, MANY) == [None] * MANY
    assert await ask_many(host, 2) == [None] * 2
    assert len(services.asked(f"GET {SESSIONS}")) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_session_that_is_refused_later_is_exchanged_once_for_all(
    host: Host, services: RuledServer, token_clock: TokenClock, status: int
) -> None:
    services.answer(f"GET {SESSIONS}", make_session("CANARY-session-1"), make_session("CANARY-session-2"))
    services.answer("POST *", accept_only("session-1", status))
    assert await ask_many(host, 1) == [None]
    token_clock.pass_by(MIN_AGE_SECONDS)
    services.answer("POST *", accept_only("session-2", status))
    assert await ask_many(host, MANY) == [None] * MANY
    assert len(services.asked(f"GET {SESSIONS}")) == 2


async def test_an_exchange_that_fails_is_tried_once_more_for_all(host: Host, services: RuledServer) -> None:  # F10
    held = Held(Answer(status=500))
    services.answer("POST *", accept_only("CANARY-session"))
    services.answer(f"GET {SESSIONS}", held)
    sent = send_chats(host, "copilot", MANY, options={"wire": "openai_chat"})
    await services.wait_for("POST *", MANY)
    held.let_go()
    assert set(await read_codes(host, sent)) == {"provider_error"}
    assert len(services.asked(f"GET {SESSIONS}")) == 2


async def test_whoever_leaves_takes_nobody_with_it(host: Host, services: RuledServer) -> None:  # F11
    held = Held(make_session())
    services.answer("POST *", accept_only("CANARY-session"))
    services.answer(f"GET {SESSIONS}", held)
    sent = send_chats(host, "copilot", 10, options={"wire": "openai_chat"})
    await services.wait_for("POST *", 10)
    for each in (sent[0], sent[5]):
        await host.ask("cancel", {"id": each})
        assert await read_codes(host, [each]) == ["cancelled"]
    held.let_go()
    assert await read_codes(host, [*sent[1:5], *sent[6:]]) == [None] * 8
    assert len(services.asked(f"GET {SESSIONS}")) == 1


async def test_a_refused_session_is_exchanged_once_more_and_then_told(host: Host, services: RuledServer) -> None:
    services.answer("* https://api.*githubcopilot.com/*", REFUSED)
    services.answer(f"GET {SESSIONS}", make_session())
    error = (await host.ask("stream_chat", params("openai_chat"), provider="copilot"))["error"]
    assert (error["code"], error["provider_status"], error["attempts"]) == ("auth_failed", 401, 2)
    assert len(services.asked(f"GET {SESSIONS}")) == 1
    assert [secrets(seen) for seen in services.asked("POST *")] == [{GITHUB}, {"CANARY-session"}]


async def test_a_new_session_that_is_refused_is_not_exchanged_again(host: Host, services: RuledServer) -> None:
    services.answer("POST *", REFUSED)
    services.answer(f"GET {SESSIONS}", make_session())
    for _ in range(3):
        assert await ask_many(host, 1) == ["auth_failed"]
    assert len(services.asked(f"GET {SESSIONS}")) == 1


async def test_an_exchange_that_is_refused_tells_the_first_refusal(host: Host, services: RuledServer) -> None:
    services.answer("POST *", document({"error": {"message": "bad token"}}, 401))
    services.answer(f"GET {SESSIONS}", document({"message": "Bad credentials"}, 401))
    error = (await host.ask("stream_chat", params("openai_chat"), provider="copilot"))["error"]
    assert (error["code"], error["message"]) == ("auth_failed", "bad token")


@pytest.mark.parametrize("ahead_seconds", [-86_400, 86_400, -1])
async def test_a_clock_that_is_wrong_makes_no_storm(  # F14
    host: Host, services: RuledServer, ahead_seconds: int
) -> None:
    services.answer("POST *", accept_only("CANARY-session"))
    expires_at = int(time.time()) + ahead_seconds
    services.answer(f"GET {SESSIONS}", make_session(refresh_in=1, expires_at=expires_at))
    for _ in range(5):
        assert await ask_many(host, 2) == [None, None]
    assert len(services.asked(f"GET {SESSIONS}")) == 1


@pytest.mark.parametrize("answer", [Answer(b"<html>"), document([]), document({"token": 5})])
async def test_an_exchange_without_a_session_is_an_error(host: Host, services: RuledServer, answer: Answer) -> None:
    services.answer("POST *", REFUSED)
    services.answer(f"GET {SESSIONS}", answer)
    assert await ask_many(host, 1) == ["provider_error"]


# --- addresses -------------------------------------------------------------------------------


async def test_an_address_of_a_session_must_be_the_apis_own(host: Host, services: RuledServer) -> None:
    services.answer(f"POST {COPILOT}/*", document({}, 401), text_of("openai_chat"))
    services.answer(f"GET {SESSIONS}", make_session(endpoints={"api": "https://githubcopilot.com.evil.example"}))
    await ask(host, "openai_chat")
    assert not services.asked("*evil*")


@pytest.mark.parametrize(
    ("domain", "told", "asked"),
    [
        ("company.ghe.com", "https://api.of.ghe.com", "https://api.of.ghe.com"),
        ("company.ghe.com", None, None),
        ("company.ghe.com", "https://company.ghe.com.evil.example", None),
        ("github.company.example", "https://copilot.github.company.example", "https://copilot.github.company.example"),
        (
            "github.company.example",
            "https://api.enterprise.githubcopilot.com",
            "https://api.enterprise.githubcopilot.com",
        ),
        ("github.company.example", "https://github.company.example/copilot", "https://github.company.example/copilot"),
        ("github.company.example", None, None),
        ("github.company.example", "https://evilgithub.company.example", None),
        ("github.company.example", "http://copilot.github.company.example", None),
    ],
)
async def test_an_enterprises_token_stays_with_its_own_hosts(
    services: RuledServer, domain: str, told: str | None, asked: str | None
) -> None:
    own = f"https://copilot-api.{domain}"
    services.answer("POST *", text_of("openai_chat"))
    services.answer(f"GET {own}/models", list_models())
    services.answer(f"POST {own}/*", document({"message": "token expired"}, 401), text_of("openai_chat"))
    given: Object = {"endpoints": {"api": told}} if told else {}
    services.answer(f"GET https://api.{domain}/copilot_internal/v2/token", make_session(**given))
    providers = {"copilot": {"domain": domain, "api_key": "CANARY-enterprise"}}
    async with app.online(services, providers=providers) as host:
        await ask(host)
        await ask(host)
    for last in services.asked("POST *")[-2:]:
        assert last.url == (asked or own) + "/chat/completions"
        assert secrets(last) == {"CANARY-session"}
    with_token = [seen for seen in services.asked() if "CANARY-enterprise" in secrets(seen)]
    assert {seen.url.split("/")[2] for seen in with_token} == {f"copilot-api.{domain}", f"api.{domain}"}


async def test_a_token_for_an_enterprise_may_come_with_its_domain(services: RuledServer) -> None:
    services.answer("GET *", list_models())
    services.answer("POST *", text_of("openai_chat"))
    given = {"domain": "company.ghe.com", "api_key": "CANARY-asked"}
    async with app.online(services) as host:
        await ask(host, settings=given)
        assert services.only("POST *").url == "https://copilot-api.company.ghe.com/chat/completions"
        for domain in ("evil.example/x", "a..ghe.com", ".ghe.com", "x@a.ghe.com"):
            asked = params(settings=given | {"domain": domain})
            error = (await host.ask("stream_chat", asked, provider="copilot"))["error"]
            assert (error["code"], error["param"]) == ("invalid_request", "params.settings.domain"), domain


async def test_a_token_is_exchanged_at_no_address_with_a_user_name(services: RuledServer) -> None:
    services.answer("POST *", document({"message": "token expired"}, 401))
    given = {"domain": "x@evil.example", "api_key": "CANARY-asked"}
    async with app.online(services) as host:
        error = (await host.ask("stream_chat", params("openai_chat", settings=given), provider="copilot"))["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "params.settings.domain")
    assert not services.asked("*evil*")


@pytest.mark.parametrize(
    ("life", "seconds"), [("1" + "0" * 400, 86_400), ("1e300", 86_400), ("60", 60), ('"soon"', 1500)]
)
def test_a_session_is_used_for_a_day_at_most_whatever_it_says(life: str, seconds: float) -> None:
    answer = exchange.Answer(200, {}, b'{"token":"made-up","refresh_in":%s}' % life.encode())
    minted = copilot_session._read_session(answer, "github.com")  # noqa: SLF001 - what an answer becomes
    assert minted.life_seconds == seconds
