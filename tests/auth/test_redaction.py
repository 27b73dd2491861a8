"""What a scheme mints is seen nowhere: in no error, no hint, no recording and no log, whoever repeats it."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from sidecar.auth import redaction
from sidecar.auth.redaction import Authorized, redact, redact_bytes
from sidecar.core.errors import SidecarError
from tests.support import app
from tests.support.fake_services import Answer, Seen, document
from tests.support.google_files import service_account
from tests.support.in_memory import RuledServer
from tests.support.provider_rows import params

pytestmark = pytest.mark.long

GRANTED = document({"access_token": "CANARY-minted-0123456789", "expires_in": 3600, "token_type": "Bearer"})


class Case(msgspec.Struct, frozen=True):
    """How a provider's request comes to be authorized, and by which headers."""

    provider: str
    headers: tuple[str, ...]
    env: Mapping[str, str] = {}
    model: str = "m"
    settings: Mapping[str, str] = {}


CASES = {
    "key": Case("groq", ("authorization",), {"GROQ_API_KEY": "CANARY-key-0123456789"}),
    "document": Case(
        "vertex",
        ("authorization",),
        {
            "GOOGLE_CLOUD_PROJECT": "p",
            "GOOGLE_APPLICATION_CREDENTIALS": msgspec.json.encode(service_account()).decode(),
        },
        model="gemini-x",
    ),
    "federation": Case(
        "anthropic",
        ("authorization",),
        {
            "ANTHROPIC_FEDERATION_RULE_ID": "fdrl_1",
            "ANTHROPIC_ORGANIZATION_ID": "org_1",
            "ANTHROPIC_IDENTITY_TOKEN": "CANARY-identity-0123456789",
        },
    ),
    "workload": Case(
        "openai",
        ("authorization",),
        {
            "OPENAI_IDENTITY_PROVIDER_ID": "idp-1",
            "OPENAI_SERVICE_ACCOUNT_ID": "sa-1",
            "OPENAI_IDENTITY_TOKEN_FILE": "/",
        },
    ),
    "resource key": Case(
        "azure", ("api-key",), {"AZURE_OPENAI_RESOURCE": "mine", "AZURE_OPENAI_API_KEY": "CANARY-key-0123456789"}
    ),
    "application": Case(
        "azure",
        ("authorization",),
        {
            "AZURE_OPENAI_RESOURCE": "mine",
            "AZURE_TENANT_ID": "my-tenant",
            "AZURE_CLIENT_ID": "my-client",
            "AZURE_CLIENT_SECRET": "CANARY-secret-0123456789",
        },
    ),
    "session": Case("copilot", ("authorization",), {"GH_COPILOT_TOKEN": "CANARY-github-0123456789"}),
    "signature": Case(
        "bedrock",
        ("authorization", "x-amz-security-token"),
        {
            "AWS_ACCESS_KEY_ID": "AKIDPUBLIC",
            "AWS_SECRET_ACCESS_KEY": "CANARY-secret-0123456789",
            "AWS_SESSION_TOKEN": "CANARY-session-0123456789",
            "AWS_REGION": "eu-west-1",
        },
    ),
}


def repeat(seen: Seen) -> Answer:
    """Refuse, and repeat whatever authorized the request."""
    sent = " and ".join(seen.headers[name] for name in sorted(seen.headers) if name not in ("accept", "content-type"))
    said = {"message": f"What is {sent}?", "code": sent, "type": sent}
    return document({"error": said, **said}, 403, x_request_id=sent)


def repeat_after_exchange(seen: Seen) -> Answer:
    """Refuse a GitHub token, so that it is exchanged, and repeat the session's."""
    is_session = "session" in seen.headers["authorization"]
    return repeat(seen) if is_session else document({"message": "expired"}, 401)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_what_authorizes_a_request_is_repeated_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "subject").write_text("CANARY-subject-0123456789", encoding="utf-8")
    env = dict(case.env) | {"HOME": str(tmp_path)}
    if "OPENAI_IDENTITY_TOKEN_FILE" in env:
        env["OPENAI_IDENTITY_TOKEN_FILE"] = str(tmp_path / "subject")
    for name, value in env.items():
        # Some libraries read the environment themselves.
        monkeypatch.setenv(name, value)
    services = RuledServer()
    services.answer("POST *", repeat_after_exchange if case.provider == "copilot" else repeat)
    services.answer("POST *token", GRANTED)
    services.answer("GET *copilot_internal*", document({"token": "CANARY-session-0123456789", "refresh_in": 1500}))
    recordings = tmp_path / "recordings"
    async with app.online(services, env=env, record_dir=str(recordings)) as host:
        asked = params(model=case.model, options={"retry": {"max_attempts": 1}})
        error = (await host.ask("stream_chat", asked, provider=case.provider))["error"]
    last = services.seen[-1]
    secrets = Authorized(last.headers, frozenset(case.headers)).list_secrets()
    assert len(secrets) == len(case.headers)
    written = [file.read_text(encoding="utf-8") for file in recordings.rglob("*") if file.is_file()]
    captured = capsys.readouterr()
    assert "What is" in error["message"]
    assert "[redacted]" in str(error)
    assert any("[redacted]" in text for text in written)
    for text in (str(error), *written, captured.out, captured.err):
        for secret in (*secrets, "CANARY"):
            assert secret not in text


# --- the pieces ------------------------------------------------------------------------------

TOKEN = "CANARY-0123456789abcdef"


def test_every_text_of_an_error_is_redacted() -> None:
    texts = dict.fromkeys(("message", "provider_code", "request_id", "hint", "param"), f"<{TOKEN}>")
    error = SidecarError("auth_failed", "x").with_fields(**texts, retry_after_ms=7)
    body = redact(error, [TOKEN]).body
    assert {name: getattr(body, name) for name in texts} == dict.fromkeys(texts, "<[redacted]>")
    assert body.retry_after_ms == 7
    assert redact(error, []) is error


def test_a_secret_of_few_characters_may_be_a_part_of_any_word() -> None:
    assert redact_bytes(b"password", ["pass"]) == b"password"


@pytest.mark.parametrize("secret", [TOKEN, 'CANARY"0123456789\\'])
def test_bytes_are_redacted_as_json_writes_them(secret: str) -> None:
    data = msgspec.json.encode({"message": f"What is {secret}?"}) + secret.encode()
    assert redact_bytes(data, [secret]) == b'{"message":"What is [redacted]?"}[redacted]'


def test_headers_do_not_show_themselves() -> None:
    authorized = Authorized(
        {"authorization": f"Bearer {TOKEN}", "x-other": "1"}, frozenset({"authorization", "x-none"})
    )
    assert repr(authorized) == "Authorized(['authorization', 'x-other'])"
    assert authorized.list_secrets() == [TOKEN]
    assert authorized.carries(TOKEN)
    assert not authorized.carries("1")


def test_the_texts_are_those_of_the_error_object() -> None:
    body = SidecarError("auth_failed", "x").body
    assert not [name for name in redaction._TEXTS if not hasattr(body, name)]  # noqa: SLF001 - the table
