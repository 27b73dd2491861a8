"""What attackers try through the network: names that lead astray, providers and proxies that pry and tell."""

import json
import os
from base64 import b64encode
from pathlib import Path

import pytest

from tests.support.fake_provider import CLOSE, Provider
from tests.support.fake_services import Answer, Services, document
from tests.support.google_files import service_account
from tests.support.listening_services import online
from tests.support.logins import TOKEN
from tests.support.process import CANARY, ROOT, Sidecar, environment, text
from tests.support.provider_rows import params, text_of
from tests.support.reply_scripts import SHAPES, head

# --- names that lead to the link -----------------------------------------------------------------

LINK = """
import socket

def found(host, port, *_, **__):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

connect = socket.socket.connect
socket.getaddrinfo = found
socket.socket.connect = lambda self, address: connect(self, ("127.0.0.1", address[1]))
socket.socket.getpeername = lambda self: ("{address}", 443)
"""
"""A network in which every name, and every address, is a server on the link, which in truth is one on this machine."""


def on_the_link(folder: Path, address: str) -> dict[str, str]:
    """Return the variable that puts a process into that network."""
    (folder / "sitecustomize.py").write_text(LINK.replace("{address}", address), encoding="ascii")
    return {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.0.1", "::ffff:169.254.169.254", "fe80::1%eth0", "fd00:ec2::254", "64:ff9b::a9fe:a9fe"],
)
@pytest.mark.parametrize("origin", ["https://harmless.example:{port}", "http://harmless.localhost:{port}"])
def test_a_name_that_leads_to_the_link_gets_not_a_byte(
    tmp_path: Path, provider: Provider, address: str, origin: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    before = provider.begun
    with Sidecar(home, provider, env=environment(home, SIDECAR_MAX_ATTEMPTS="3", **on_the_link(tmp_path, address))) as (
        sidecar
    ):
        chat = sidecar.params("m", base_url=origin.format(port=provider.port))
        error = sidecar.ask("stream_chat", chat, provider="anthropic")["error"]
        provider.disconnected()
    assert (error["code"], error["reason"], error["retryable"]) == ("invalid_request", "address", False)
    assert "link-local" in error["message"]
    assert (provider.connections, provider.begun - before) == (1, 0)


def test_a_metadata_server_that_the_user_has_is_asked_all_the_same(services: Services, tmp_path: Path) -> None:
    link = on_the_link(tmp_path, "169.254.169.254")
    google, azure = (f"http://{name}:{services.port}" for name in ("metadata.test", "169.254.7.7"))
    for name, token in ((google, "CANARY-google"), (azure, "CANARY-azure-machine")):
        services.answer(f"GET {name}/*", document({"access_token": token, "expires_in": 3600}))
    services.answer("POST https://*.googleapis.com/*", text_of("gemini"))
    services.answer("POST https://mine.openai.azure.com/*", text_of("openai_chat"))
    env = {
        "GCE_METADATA_HOST": google.removeprefix("http://"),
        "GOOGLE_CLOUD_PROJECT": "my-project",
        "IDENTITY_ENDPOINT": f"{azure}/token",
        "IDENTITY_HEADER": "CANARY-header",
        "AZURE_OPENAI_RESOURCE": "mine",
    }
    # The chats themselves go through a proxy, which is on the link as well: that one is not looked at.
    with online(services, tmp_path, **env, **link) as sidecar:
        for provider in ("vertex", "azure"):
            reply = sidecar.ask("stream_chat", params(), provider=provider)
            assert reply["success"], reply
    for name in (google, azure):
        assert services.asked(f"GET {name}/*")
    tokens = [seen.headers["authorization"].removeprefix("Bearer ") for seen in services.asked("POST *")]
    assert tokens == ["CANARY-google", "CANARY-azure-machine"]


# --- logins that are led astray --------------------------------------------------------------------


def test_a_redirect_takes_no_login_along(services: Services, tmp_path: Path) -> None:
    workload = {
        "ANTHROPIC_FEDERATION_RULE_ID": "fdrl_1",
        "ANTHROPIC_ORGANIZATION_ID": "org_1",
        "ANTHROPIC_IDENTITY_TOKEN": "CANARY-identity",
    }
    application = {
        "AZURE_TENANT_ID": "my-tenant",
        "AZURE_CLIENT_ID": "my-client",
        "AZURE_CLIENT_SECRET": "CANARY-application",
        "AZURE_OPENAI_RESOURCE": "mine",
    }
    file = tmp_path / "account.json"
    account = service_account()
    file.write_text(json.dumps(account), encoding="utf-8")
    google = {"GOOGLE_APPLICATION_CREDENTIALS": str(file), "GOOGLE_CLOUD_PROJECT": "my-project"}
    services.answer("*", Answer(status=307, headers={"location": "https://evil.example/"}))
    with online(services, tmp_path, GH_COPILOT_TOKEN=TOKEN, **workload, **application, **google) as sidecar:
        for provider in ("anthropic", "azure", "vertex", "copilot"):
            assert not sidecar.ask("stream_chat", params(), provider=provider)["success"]
    assert len(services.asked()) >= 4
    assert not services.asked("* https://evil.example*")


def test_a_private_key_signs_and_is_seen_nowhere(services: Services, tmp_path: Path) -> None:
    account = service_account() | {"token_uri": "https://oauth2.googleapis.com/token"}
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account), encoding="utf-8")
    services.answer("POST https://*.googleapis.com/*", text_of("gemini"))
    granted = {"access_token": "ya29.CANARY-google", "expires_in": 3600, "token_type": "Bearer"}
    services.answer("POST https://oauth2.googleapis.com/token", document(granted))
    with online(services, tmp_path, GOOGLE_APPLICATION_CREDENTIALS=str(file), GOOGLE_CLOUD_PROJECT="p") as sidecar:
        reply = sidecar.ask("stream_chat", params(), provider="vertex")
        assert reply["success"], reply
    for seen in services.asked():
        assert services.secrets.find_in(seen.text.encode()) in (None, "CANARY")
    assert services.asked("POST https://aiplatform*")[0].headers["authorization"] == "Bearer ya29.CANARY-google"


# --- providers that repeat what they were sent -------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [
        CANARY,
        CANARY[:-3],
        b64encode(CANARY.encode()).decode(),
        b64encode(f"user:{CANARY}".encode()).decode(),
    ],
    ids=["plain", "cut", "base64", "basic"],
)
def test_a_provider_that_repeats_a_key_is_not_repeated(sidecar: Sidecar, provider: Provider, told: str) -> None:
    said = {"type": "error", "error": {"type": told, "code": told, "message": f"Bad key: {told}, or so."}}
    body = json.dumps(said).encode()
    headers = {"x_request_id": told, "request_id": told, "retry_after": told, "content_length": str(len(body))}
    for status in (400, 401, 403, 404, 429, 500):
        line = head(status, content_type="application/json", **headers).replace(b"Whatever", told.encode())
        provider.play("m", [line + body, CLOSE])
        for action in ("stream_chat", "generate"):
            error = sidecar.reply(sidecar.chat("m", action=action))["error"]
            assert "Bad key" in error["message"]
    # The harness has looked through every line.


def test_a_session_token_of_aws_that_is_repeated_is_not_shown(services: Services, tmp_path: Path) -> None:
    token = "CANARY-session/0123456789+token=="
    services.answer("POST *", document({"message": f"The security token {token} is not for this."}, 403))
    env = {"AWS_ACCESS_KEY_ID": "AKIA0123", "AWS_SECRET_ACCESS_KEY": "CANARY-secret", "AWS_REGION": "us-east-1"}
    with online(services, tmp_path, **env, AWS_SESSION_TOKEN=token) as sidecar:
        error = sidecar.reply(sidecar.send("stream_chat", params(), provider="bedrock"), 60)["error"]
        assert "The security token [redacted]" in error["message"]
    assert services.only("POST *").headers["x-amz-security-token"] == token


def test_a_key_in_a_stream_that_breaks_is_not_repeated(sidecar: Sidecar, provider: Provider) -> None:
    for raw in (f"data: {CANARY}\n\n", f'event: error\ndata: {{"error": "{CANARY}"}}\n\n', f"{CANARY}\r\n\r\n"):
        provider.play("m", [head(content_type="text/event-stream") + raw.encode(), CLOSE])
        assert not sidecar.reply(sidecar.chat("m"))["success"]
    provider.play("m", [f"HTTP/1.1 {CANARY}\r\n\r\n".encode(), CLOSE])
    assert not sidecar.reply(sidecar.chat("m"))["success"]


# --- proxies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 407, 502, -1], ids=["closed", "407", "502", "refused"])
def test_a_proxys_password_is_in_no_message(tmp_path: Path, provider: Provider, status: int) -> None:
    port = 9 if status < 0 else provider.port
    provider.play("api.anthropic.com:443", [head(status, content_length="0")] if status > 0 else [CLOSE])
    env = environment(tmp_path, HTTPS_PROXY=f"http://user:CANARY-proxy@127.0.0.1:{port}")
    with Sidecar(tmp_path, env=env) as sidecar:
        for action in ("stream_chat", "list_models"):
            request = params(api_key=CANARY) if action == "stream_chat" else {"api_key": CANARY}
            error = sidecar.ask(action, request, provider="anthropic")["error"]
            assert (error["code"], error["reason"]) in {
                ("network_error", reason) for reason in ("proxy", "connection", "refused")
            }
        assert "CANARY" not in json.dumps(sidecar.ask("list_providers"))
    provider.disconnected()


# --- one process, many conversations -----------------------------------------------------------------


def test_no_stream_has_a_word_of_another(sidecar: Sidecar, provider: Provider) -> None:  # H09
    gate = provider.gate()
    asked: dict[str | int, tuple[str, str]] = {}
    for number in range(60):
        shape, own = SHAPES[number % len(SHAPES)], f"<{number:04}>"
        script = shape.answer(*[own] * 20)
        provider.play(f"m{number}", [*script[:5], gate, *script[5:]])
        # Ids that are easily confused: a number and its string.
        request_id = number // 2 if number % 2 else str(number // 2)
        chat = sidecar.params(f"m{number}", shape) | {"messages": [{"role": "user", "content": own}]}
        asked[sidecar.send("stream_chat", chat, provider=shape.provider, id=request_id)] = (own, f"m{number}")
    assert len(asked) == 60
    for _, model in asked.values():
        provider.call(model)
    gate.open()
    for request_id, (own, model) in asked.items():
        lines = sidecar.stream(request_id)
        assert text(lines) == own * 20
        assert lines[-1].data["data"]["model"] is not None
        assert own in provider.call(model).body.decode()
