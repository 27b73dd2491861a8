"""OpenAI's workload identities: what proves one, what it is exchanged for, and that the SDK does the same."""

from pathlib import Path
from typing import Any, Self

import pytest

from sidecar.auth.memory import Memory
from sidecar.auth.schemes import openai as scheme
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Secret
from tests.support.answer_rules import DOWN
from tests.support.fake_exchange import FakeExchange
from tests.support.fake_services import Answer, document
from tests.support.scheme_calls import Authorizer, TokenClock, gather_bearers, get_bearer, get_failure

TOKENS = "POST https://auth.openai.com/oauth/token"
IDENTITY = {"OPENAI_IDENTITY_PROVIDER_ID": "idp-1", "OPENAI_SERVICE_ACCOUNT_ID": "sa-1"}
GRANTED = document({"access_token": "CANARY-access", "expires_in": 3600, "token_type": "Bearer"})


@pytest.fixture
def openai_(exchange: FakeExchange, memory: Memory) -> Authorizer:
    return Authorizer("openai", exchange, memory)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a workload whose own token is in a file."""
    (tmp_path / "subject").write_text("CANARY-subject\n", encoding="utf-8")
    return IDENTITY | {"OPENAI_IDENTITY_TOKEN_FILE": str(tmp_path / "subject")}


# --- the SDK ---------------------------------------------------------------------------------


@pytest.mark.long
def test_the_sources_are_those_of_the_sdk_and_none_starts_a_program() -> None:
    """A source that is new in the SDK has to be looked at before it may be named."""
    import openai.auth

    suffix = "_token_provider"
    found = {name.removesuffix(suffix) for name in openai.auth.__all__ if name.endswith(suffix)}
    assert found == {scheme.FILE, *scheme._read_metadata_servers()}  # noqa: SLF001 - the table


class Reply:
    """What the SDK is answered with."""

    is_error = False
    is_success = True
    status_code = 200
    content = b"{}"
    text = "CANARY-subject"

    def json(self) -> dict[str, object]:
        return {"access_token": "CANARY-subject", "expires_in": 3600}


class Client:
    """The SDK's HTTP client, which keeps what it is asked to send."""

    def __init__(self, **_: object) -> None:
        self.sent: list[tuple[str, str, dict[str, Any]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, url: str, **given: Any) -> Reply:
        self.sent.append(("GET", url, given))
        return Reply()

    def post(self, url: str, **given: Any) -> Reply:
        self.sent.append(("POST", url, given))
        return Reply()


@pytest.mark.long
@pytest.mark.parametrize("name", ["k8s_service_account", "azure_managed_identity", "gcp_id"])
async def test_what_is_asked_is_what_the_sdk_asks(
    openai_: Authorizer, exchange: FakeExchange, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import openai.auth

    client = Client()
    monkeypatch.setattr("openai.auth._workload.DefaultHttpx2Client", lambda **_: client)
    make = getattr(openai.auth, f"{name}_token_provider")
    source = make(env["OPENAI_IDENTITY_TOKEN_FILE"]) if name == scheme.FILE else make(http_client=client)
    openai.auth.WorkloadIdentityAuth(
        workload_identity={"identity_provider_id": "idp-1", "service_account_id": "sa-1", "provider": source}
    ).get_token()

    exchange.answer("GET *", Answer(b"CANARY-subject"))
    exchange.answer("GET *metadata/identity*", document({"access_token": "CANARY-subject"}))
    exchange.answer(TOKENS, GRANTED)
    assert await get_bearer(openai_.make_call(env, settings={"subject_token": name})) == "CANARY-access"

    assert len(client.sent) == len(exchange.asked())
    for (method, url, given), seen, question in zip(client.sent, exchange.asked(), exchange.questions, strict=True):
        assert (method, url) == (seen.method, seen.url.partition("?")[0])
        if method == "POST":
            assert seen.json == given["json"]
            assert not question.link_local
        else:
            assert seen.query == {key: [value] for key, value in given["params"].items()}
            assert seen.headers == {key.lower(): value for key, value in given["headers"].items()}
            assert question.link_local


# --- tokens ----------------------------------------------------------------------------------


async def test_many_at_once_ask_for_one_token(openai_: Authorizer, exchange: FakeExchange, env: dict[str, str]) -> None:
    exchange.answer(TOKENS, GRANTED)
    assert await gather_bearers(openai_.make_call(env), 20) == ["CANARY-access"] * 20
    assert len(exchange.asked()) == 1


async def test_a_key_goes_before_an_identity(openai_: Authorizer, exchange: FakeExchange, env: dict[str, str]) -> None:
    call = openai_.make_call(env, Secret("CANARY-key", "environment"))
    made = await scheme.make_headers(call)
    assert (made.headers, made.list_secrets()) == ({"authorization": "Bearer CANARY-key"}, ["CANARY-key"])
    assert not exchange.asked()


async def test_a_token_is_replaced_two_minutes_before_it_expires(
    openai_: Authorizer, exchange: FakeExchange, env: dict[str, str], token_clock: TokenClock
) -> None:
    second = document({"access_token": "CANARY-second", "expires_in": 3600})
    exchange.answer(TOKENS, GRANTED, second)
    call, bearers = openai_.make_call(env), []
    for seconds in (0, 3470, 20):
        token_clock.pass_by(seconds)
        bearers.append(await get_bearer(call))
    assert bearers == ["CANARY-access", "CANARY-access", "CANARY-second"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (document({"error": "invalid_grant", "error_description": "CANARY-subject is old."}, 400), "auth_required"),
        (document({"error": "CANARY-subject"}, 401), "auth_required"),
        (document({"error": "access_denied"}, 403), "auth_required"),
        (Answer(b"<html>", 200), "provider_error"),
        (document({"access_token": "CANARY-access", "expires_in": 0}), "provider_error"),
        (document({"access_token": "CANARY-access", "expires_in": "3600"}), "provider_error"),
        (document({"access_token": "", "expires_in": 3600}), "provider_error"),
        (Answer(status=503), "provider_error"),
        (Answer(status=429), "provider_error"),
        (DOWN, "network_error"),
    ],
)
async def test_a_token_that_is_not_given_is_an_error(
    openai_: Authorizer, exchange: FakeExchange, env: dict[str, str], answer: Answer | SidecarError, code: str
) -> None:
    exchange.answer(TOKENS, answer)
    body = (await get_failure(openai_.make_call(env))).body
    assert body.code == code
    assert "CANARY" not in str(body)
    assert ("OPENAI_IDENTITY_PROVIDER_ID" in (body.hint or "")) is (code == "auth_required")


# --- the workload's own token ----------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff"], ids=["none", "empty", "blank", "no text"])
async def test_a_workload_without_a_token_of_its_own_is_told_so(
    openai_: Authorizer, exchange: FakeExchange, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "subject").write_bytes(content)
    env = IDENTITY | {"OPENAI_IDENTITY_TOKEN_FILE": str(tmp_path / "subject")}
    body = (await get_failure(openai_.make_call(env))).body
    assert (body.code, "OPENAI_IDENTITY_TOKEN_FILE" in (body.hint or "")) == ("auth_required", True)
    assert not exchange.asked()


@pytest.mark.parametrize("answer", [Answer(b"CANARY", 404), document([]), document({"access_token": 5}), DOWN])
async def test_a_metadata_server_that_gives_no_token_is_told_so(
    openai_: Authorizer, exchange: FakeExchange, answer: Answer | SidecarError
) -> None:
    exchange.answer("GET *", answer)
    body = (await get_failure(openai_.make_call(IDENTITY, settings={"subject_token": "azure_managed_identity"}))).body
    assert (body.code, body.message) == ("auth_required", "The workload's own token cannot be read.")
    assert len(exchange.asked()) == 1


async def test_an_identity_that_is_half_there_is_none(openai_: Authorizer, exchange: FakeExchange) -> None:
    body = (await get_failure(openai_.make_call({"OPENAI_SERVICE_ACCOUNT_ID": "sa-1"}))).body
    assert (body.code, "OPENAI_IDENTITY_PROVIDER_ID" in (body.hint or "")) == ("auth_required", True)
    assert not exchange.asked()


async def test_a_source_that_nobody_knows_is_refused(openai_: Authorizer, exchange: FakeExchange) -> None:
    body = (await get_failure(openai_.make_call(IDENTITY, settings={"subject_token": "program"}))).body
    assert (body.code, body.param, "gcp_id" in body.message) == ("invalid_request", "subject_token", True)
    assert not exchange.asked()


@pytest.mark.parametrize(
    ("base_url", "is_own"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://evilapi.openai.com/v1", False),
        ("https://api.openai.com.evil.example/v1", False),
    ],
)
async def test_an_identity_goes_to_no_other_address(openai_: Authorizer, base_url: str, is_own: bool) -> None:
    call = openai_.make_call(IDENTITY, base_url=base_url)
    if is_own:
        assert await scheme.prepare(call) is call.target
        return
    with pytest.raises(SidecarError, match="OpenAI's own address"):
        await scheme.prepare(call)
