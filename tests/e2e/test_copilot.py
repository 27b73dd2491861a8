"""GitHub Copilot through the whole process: who asks, which wire, and what a refused token is exchanged for."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_services import Answer, Services, document
from tests.support.listening_services import online
from tests.support.process import Object, Sidecar
from tests.support.provider_rows import params, secrets, text_of

COPILOT = "https://api.githubcopilot.com"
SESSIONS = "https://api.github.com/copilot_internal/v2/token"
IMAGE = {"type": "image", "data": "iVBORw0KGgo=", "media_type": "image/png"}
CALL = {"type": "tool_call", "id": "call_1", "name": "look", "arguments": {}, "arguments_text": "{}"}


def ask(sidecar: Sidecar, wire: str | None = None, **more: Any) -> Object:
    """Ask a chat and return its `done`."""
    reply = sidecar.ask("stream_chat", params(wire, **more), provider="copilot")
    assert reply["success"], reply
    done: Object = reply["data"]
    return done


def models(**endpoints: list[str]) -> Answer:
    """Return a list of models with those endpoints."""
    entries = [
        {"id": name.replace("_", "-"), "capabilities": {"type": "chat"}, "supported_endpoints": paths}
        for name, paths in endpoints.items()
    ]
    return document({"data": [*entries, {"id": "old", "capabilities": {"type": "chat"}}, {"id": None}, 5]})


LOOK: list[Object] = [{"role": "user", "content": "Look."}, {"role": "assistant", "content": [CALL]}]


def seen_as(content: Any) -> Object:
    """Return the message with a tool's result."""
    return {"role": "tool", "content": [{"type": "tool_result", "id": "call_1", "content": content}]}


def test_the_api_is_told_who_asks_and_for_what(services: Services, tmp_path: Path) -> None:
    conversations: list[tuple[list[Object], str, str | None]] = [
        ([{"role": "user", "content": "Hi"}], "user", None),
        ([{"role": "user", "content": [{"type": "text", "text": "What?"}, IMAGE]}], "user", "true"),
        ([*LOOK, seen_as("seen")], "agent", None),
        ([*LOOK, seen_as([IMAGE])], "agent", "true"),
        ([*LOOK, seen_as("seen"), {"role": "user", "content": "Thanks."}], "user", None),
    ]
    services.answer(f"GET {COPILOT}/models", models())
    services.answer("POST *", text_of("openai_chat"))
    with online(services, tmp_path, GH_COPILOT_TOKEN="CANARY-github") as sidecar:
        sidecar.ask("initialize", {"client": {"name": "my editor", "version": "3.2"}})
        for messages, _, _ in conversations:
            ask(sidecar, messages=messages)
    for seen, (_, initiator, vision) in zip(services.asked("POST *"), conversations, strict=True):
        assert seen.headers["authorization"] == "Bearer CANARY-github"
        assert seen.headers["x-initiator"] == initiator
        assert seen.headers.get("copilot-vision-request") == vision
        assert seen.headers["editor-version"] == "my-editor/3.2"
        assert seen.headers["editor-plugin-version"].startswith("sidecar/")
        assert "copilot-integration-id" not in seen.headers


def test_the_providers_own_list_chooses_the_wire(services: Services, tmp_path: Path) -> None:
    every = {
        "both": ["/chat/completions", "/responses"],
        "claude_x": ["/chat/completions", "/v1/messages"],
        "chat": ["/chat/completions"],
    }
    services.answer(f"GET {COPILOT}/models", models(**every))
    paths = {
        "both": "responses",
        "claude-x": "v1/messages",
        "chat": "chat/completions",
        "old": "chat/completions",
        "unlisted": "chat/completions",
    }
    wires = {"responses": "openai_responses", "v1/messages": "anthropic_messages", "chat/completions": "openai_chat"}
    with online(services, tmp_path, GH_COPILOT_TOKEN="CANARY-github") as sidecar:
        for model, path in paths.items():
            services.answer("POST *", text_of(wires[path]))
            ask(sidecar, model=model)
        services.answer("POST *", text_of("openai_chat"))
        ask(sidecar, "openai_chat", model="both")
    posted = [seen.url for seen in services.asked("POST *")]
    assert posted == [f"{COPILOT}/{path}" for path in paths.values()] + [f"{COPILOT}/chat/completions"]
    assert len(services.asked("GET *")) == 1


def session(token: str = "CANARY-session", **more: Any) -> Answer:
    """Return a reply of the exchange."""
    return document({"token": token, "expires_at": int(time.time()) + 1800, "refresh_in": 1500} | more)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_github_token_is_exchanged_once_and_the_session_is_kept(
    services: Services, tmp_path: Path, status: int
) -> None:
    own = "https://api.individual.githubcopilot.com"
    services.answer(f"* {COPILOT}/*", document({"message": "token expired"}, status))
    services.answer(f"GET {SESSIONS}", session(endpoints={"api": own}))
    services.answer(f"GET {own}/models", models())
    services.answer(f"POST {own}/*", text_of("openai_chat"))
    with online(services, tmp_path, GH_COPILOT_TOKEN="CANARY-github") as sidecar:
        for _ in range(3):
            assert ask(sidecar)["finish_reason"] == "stop"
    exchange = services.only(f"GET {SESSIONS}")
    assert exchange.headers["authorization"] == "token CANARY-github"
    assert len(services.asked(f"POST {own}/*")) == 3
    assert all(secrets(seen) == {"CANARY-session"} for seen in services.asked(f"* {own}/*"))
    assert len(services.asked(f"POST {COPILOT}/*")) == 1


def test_a_refused_session_is_exchanged_once_more_and_then_told(services: Services, tmp_path: Path) -> None:
    services.answer("* https://api.*githubcopilot.com/*", document({"error": {"message": "unauthorized"}}, 401))
    services.answer(f"GET {SESSIONS}", session("CANARY-session"))
    with online(services, tmp_path, GH_COPILOT_TOKEN="CANARY-github") as sidecar:
        error = sidecar.ask("stream_chat", params("openai_chat"), provider="copilot")["error"]
        assert (error["code"], error["provider_status"], error["attempts"]) == ("auth_failed", 401, 2)
    assert len(services.asked(f"GET {SESSIONS}")) == 1
    assert [secrets(seen) for seen in services.asked("POST *")] == [{"CANARY-github"}, {"CANARY-session"}]


def test_an_exchange_that_is_refused_tells_the_first_refusal(services: Services, tmp_path: Path) -> None:
    services.answer("POST *", document({"error": {"message": "bad token"}}, 401))
    services.answer(f"GET {SESSIONS}", document({"message": "Bad credentials"}, 401))
    with online(services, tmp_path, GH_COPILOT_TOKEN="CANARY-github") as sidecar:
        error = sidecar.ask("stream_chat", params("openai_chat"), provider="copilot")["error"]
    assert (error["code"], error["message"]) == ("auth_failed", "bad token")


def test_an_address_of_a_session_must_be_the_apis_own(services: Services, tmp_path: Path) -> None:
    services.answer(f"POST {COPILOT}/*", document({}, 401), text_of("openai_chat"))
    services.answer(f"GET {SESSIONS}", session(endpoints={"api": "https://githubcopilot.com.evil.example"}))
    with online(services, tmp_path, GH_COPILOT_TOKEN="CANARY-github") as sidecar:
        ask(sidecar, "openai_chat")
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
def test_an_enterprises_token_stays_with_its_own_hosts(
    services: Services, tmp_path: Path, domain: str, told: str | None, asked: str | None
) -> None:
    own = f"https://copilot-api.{domain}"
    services.answer("POST *", text_of("openai_chat"))
    services.answer(f"GET {own}/models", models())
    services.answer(f"POST {own}/*", document({"message": "token expired"}, 401), text_of("openai_chat"))
    given: Object = {"endpoints": {"api": told}} if told else {}
    services.answer(f"GET https://api.{domain}/copilot_internal/v2/token", session(**given))
    config = f'[providers.copilot]\ndomain = "{domain}"\napi_key = "CANARY-enterprise"\n'
    with online(services, tmp_path, config) as sidecar:
        ask(sidecar)
        ask(sidecar)
    for last in services.asked("POST *")[-2:]:
        assert last.url == (asked or own) + "/chat/completions"
        assert secrets(last) == {"CANARY-session"}
    with_token = [seen for seen in services.asked() if "CANARY-enterprise" in secrets(seen)]
    assert {seen.url.split("/")[2] for seen in with_token} == {f"copilot-api.{domain}", f"api.{domain}"}


def test_a_token_for_an_enterprise_may_come_with_its_domain(bare: Sidecar, services: Services) -> None:
    services.answer("GET *", models())
    services.answer("POST *", text_of("openai_chat"))
    given = {"domain": "company.ghe.com", "api_key": "CANARY-asked"}
    ask(bare, settings=given)
    assert services.only("POST *").url == "https://copilot-api.company.ghe.com/chat/completions"
    for domain in ("evil.example/x", "a..ghe.com", ".ghe.com", "x@a.ghe.com"):
        error = bare.ask("stream_chat", params(settings=given | {"domain": domain}), provider="copilot")["error"]
        assert (error["code"], error["param"]) == ("invalid_request", "params.settings.domain"), domain


def test_a_token_is_exchanged_at_no_address_with_a_user_name(bare: Sidecar, services: Services) -> None:
    services.answer("POST *", document({"message": "token expired"}, 401))
    given = {"domain": "x@evil.example", "api_key": "CANARY-asked"}
    error = bare.ask("stream_chat", params("openai_chat", settings=given), provider="copilot")["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "params.settings.domain")
    assert not services.asked("*evil*")
