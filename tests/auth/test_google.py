"""Google Cloud's credentials: where they are looked for, what they are exchanged for, how long a token is kept."""

import json
import subprocess
import sys
from base64 import urlsafe_b64decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import anyio
import msgspec
import pytest

from sidecar.auth.memory import Memory
from sidecar.auth.scheme import Call
from sidecar.auth.schemes import google
from sidecar.auth.schemes.google_files import LOGIN_HINT, SCOPE
from sidecar.auth.token_cache import Terms
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Secret
from tests.support.answer_rules import DOWN
from tests.support.fake_exchange import FakeExchange
from tests.support.fake_services import Answer, Seen, document
from tests.support.google_files import EXTERNAL, PROGRAM, USER, service_account
from tests.support.scheme_calls import (
    MIN_AGE_SECONDS,
    UNAUTHORIZED,
    Authorizer,
    TokenClock,
    gather_bearers,
    get_bearer,
    get_failure,
)

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
TOKEN = {"access_token": "ya29.first", "expires_in": 3600, "token_type": "Bearer"}
SECOND = TOKEN | {"access_token": "ya29.second"}


@pytest.fixture
def vertex(exchange: FakeExchange, memory: Memory) -> Authorizer:
    return Authorizer("vertex", exchange, memory)


def named(folder: Path, info: object) -> dict[str, str]:
    """Write *info* to a credentials file and return the environment that names it."""
    file = folder / "key.json"
    file.write_text(info if isinstance(info, str) else json.dumps(info), encoding="utf-8")
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}


async def get_headers(call: Call) -> dict[str, str]:
    return (await google.make_headers(call)).headers


# --- keys and tokens -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (Secret("AQ.key", "request"), {"x-goog-api-key": "AQ.key"}),
        (Secret("ya29.token", "request", "token"), {"authorization": "Bearer ya29.token"}),
    ],
)
async def test_a_key_or_token_is_one_header(vertex: Authorizer, secret: Secret, expected: dict[str, str]) -> None:
    env = {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere", "GOOGLE_CLOUD_QUOTA_PROJECT": "payer"}
    made = await google.make_headers(vertex.make_call(env, secret))
    assert made.headers == expected
    assert made.list_secrets() == [secret.reveal()]


@pytest.mark.spawns
def test_the_library_is_not_loaded_for_a_key_or_a_token() -> None:
    script = (
        "import sys, anyio, tests.auth.test_google as t\n"
        "vertex = t.Authorizer('vertex', t.FakeExchange(), None)\n"
        "for kind in ('key', 'token'):\n"
        "    anyio.run(t.google.make_headers, vertex.make_call({}, t.Secret('k', 'request', kind)))\n"
        "print(*(name for name in sys.modules if name.partition('.')[0] in ('google', 'requests')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


# --- files -----------------------------------------------------------------------------------


async def test_a_service_account_signs_for_a_token_that_is_kept(
    vertex: Authorizer, exchange: FakeExchange, tmp_path: Path
) -> None:
    exchange.answer("*", document(TOKEN))
    call = vertex.make_call(named(tmp_path, service_account()))
    assert [await get_headers(call) for _ in range(2)] == [{"authorization": "Bearer ya29.first"}] * 2
    seen = exchange.only("POST https://token.test/token")
    (assertion,) = parse_qs(seen.body.decode())["assertion"]
    claims = json.loads(urlsafe_b64decode(assertion.split(".")[1] + "=="))
    assert claims["iss"] == "robot@p.iam.test"
    assert claims["scope"] == SCOPE


async def test_many_at_once_ask_for_one_token(vertex: Authorizer, exchange: FakeExchange, tmp_path: Path) -> None:
    exchange.answer("*", document(TOKEN))
    call = vertex.make_call(named(tmp_path, service_account()))
    assert await gather_bearers(call, 20) == ["ya29.first"] * 20
    assert len(exchange.asked()) == 1


async def test_a_token_is_renewed_five_minutes_before_it_expires(
    vertex: Authorizer, exchange: FakeExchange, tmp_path: Path, token_clock: TokenClock
) -> None:
    exchange.answer("*", document(TOKEN | {"expires_in": 600}), document(SECOND))
    call = vertex.make_call(named(tmp_path, service_account()))
    bearers = []
    for seconds in (0, 290, 20):
        token_clock.pass_by(seconds)
        bearers.append(await get_bearer(call))
    assert bearers == ["ya29.first", "ya29.first", "ya29.second"]


async def test_a_refused_token_is_replaced_once_it_is_a_minute_old(
    vertex: Authorizer, exchange: FakeExchange, tmp_path: Path, token_clock: TokenClock
) -> None:
    exchange.answer("*", document(TOKEN), document(SECOND))
    call = vertex.make_call(named(tmp_path, USER))
    assert await get_bearer(call) == "ya29.first"
    assert await google.renew(call, UNAUTHORIZED) is None
    token_clock.pass_by(MIN_AGE_SECONDS)
    assert await google.renew(call, UNAUTHORIZED.with_fields(provider_status=403)) is None
    assert await google.renew(call, UNAUTHORIZED) is call.target
    assert await get_bearer(call) == "ya29.second"
    # A key is the user's own affair.
    assert await google.renew(vertex.make_call({}, Secret("AQ.key", "request")), UNAUTHORIZED) is None


async def test_another_file_is_another_credential(vertex: Authorizer, exchange: FakeExchange, tmp_path: Path) -> None:
    exchange.answer("*", document(TOKEN), document(SECOND))
    call = vertex.make_call(named(tmp_path, service_account()))
    await get_headers(call)
    named(tmp_path, USER)
    assert await get_bearer(call) == "ya29.second"
    assert parse_qs(exchange.asked()[1].body.decode())["refresh_token"] == ["r"]


@pytest.mark.parametrize(("env", "project"), [({}, "payer"), ({"GOOGLE_CLOUD_QUOTA_PROJECT": "other"}, "other")])
async def test_the_login_of_a_user_says_who_pays(
    vertex: Authorizer, exchange: FakeExchange, tmp_path: Path, env: dict[str, str], project: str
) -> None:
    exchange.answer("*", document(TOKEN))
    made = await get_headers(vertex.make_call(named(tmp_path, USER) | env))
    assert made == {"authorization": "Bearer ya29.first", "x-goog-user-project": project}
    assert "scope" not in parse_qs(exchange.only().body.decode())


@pytest.mark.parametrize(
    ("variable", "folder"), [("CLOUDSDK_CONFIG", ""), ("HOME", ".config/gcloud"), ("APPDATA", "gcloud")]
)
async def test_the_login_is_found_where_gcloud_keeps_it(
    vertex: Authorizer, exchange: FakeExchange, tmp_path: Path, variable: str, folder: str
) -> None:
    place = tmp_path / folder
    place.mkdir(parents=True, exist_ok=True)
    (place / "application_default_credentials.json").write_text(json.dumps(USER), encoding="utf-8")
    exchange.answer("POST *", document(TOKEN))
    call = vertex.make_call({variable: str(tmp_path), "GCE_METADATA_HOST": "m.test"})
    assert await get_bearer(call) == "ya29.first"


async def test_impersonation_exchanges_the_login_for_the_other_account(
    vertex: Authorizer, exchange: FakeExchange, tmp_path: Path
) -> None:
    expiry = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    exchange.answer("*", document(TOKEN), document({"accessToken": "ya29.robot", "expireTime": expiry}))
    url = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/robot@p.iam.test:generateAccessToken"
    info = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": url,
        "source_credentials": USER,
    }
    assert await get_bearer(vertex.make_call(named(tmp_path, info))) == "ya29.robot"
    assert [seen.url for seen in exchange.asked()] == ["https://oauth2.googleapis.com/token", url]
    assert exchange.asked()[1].json["scope"] == [SCOPE]


async def test_another_cloud_s_identity_is_exchanged(
    vertex: Authorizer, exchange: FakeExchange, tmp_path: Path
) -> None:
    (tmp_path / "jwt").write_text("subject", encoding="utf-8")
    exchange.answer("*", document(TOKEN | {"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}))
    info = EXTERNAL | {"credential_source": {"file": str(tmp_path / "jwt")}}
    assert await get_headers(vertex.make_call(named(tmp_path, info))) == {"authorization": "Bearer ya29.first"}
    sent = parse_qs(exchange.only().body.decode())
    assert sent["subject_token"] == ["subject"]
    assert sent["scope"] == [SCOPE]


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ("{", "is no JSON object"),
        ("[]", "is no JSON object"),
        ({}, "of no type"),
        ({"type": ["service_account"]}, "of no type"),
        ({"type": "gdch_service_account"}, "of no type"),
        ({"type": "service_account", "private_key": "canary"}, "incomplete or malformed"),
        (service_account() | {"private_key": "canary"}, "incomplete or malformed"),
        ({"type": "impersonated_service_account"}, "incomplete or malformed"),
        ({"type": "authorized_user", "refresh_token": 5}, "incomplete or malformed"),
        (EXTERNAL | {"credential_source": 7}, "incomplete or malformed"),
        (PROGRAM, "names a program"),
        ({"type": "impersonated_service_account", "source_credentials": PROGRAM}, "names a program"),
    ],
)
async def test_a_file_that_cannot_be_used_is_refused(
    vertex: Authorizer,
    exchange: FakeExchange,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    info: object,
    message: str,
) -> None:
    monkeypatch.setenv("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")
    error = await get_failure(vertex.make_call(named(tmp_path, info)))
    assert error.body.code == "auth_required"
    assert message in error.body.message
    assert "GOOGLE_APPLICATION_CREDENTIALS" in (error.body.hint or "")
    assert "canary" not in repr(msgspec.to_builtins(error.body))
    assert exchange.asked() == []


async def test_a_file_that_is_named_must_be_there(vertex: Authorizer, exchange: FakeExchange, tmp_path: Path) -> None:
    (tmp_path / "application_default_credentials.json").write_text(json.dumps(USER), encoding="utf-8")
    for name in (str(tmp_path / "none.json"), "nul\0"):
        env = {"GOOGLE_APPLICATION_CREDENTIALS": name, "CLOUDSDK_CONFIG": str(tmp_path)}
        assert (await get_failure(vertex.make_call(env))).body.code == "auth_required"
    folder = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path)}
    assert "cannot be read" in (await get_failure(vertex.make_call(folder))).body.message
    assert exchange.asked() == []


async def test_without_any_credentials_it_says_what_to_do_and_probes_nothing(
    vertex: Authorizer, exchange: FakeExchange, tmp_path: Path
) -> None:
    error = await get_failure(vertex.make_call({"HOME": str(tmp_path)}))
    assert error.body.code == "auth_required"
    assert "gcloud auth application-default login" in (error.body.hint or "")
    assert exchange.asked() == []


# --- the metadata server ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "host"),
    [({"GCE_METADATA_HOST": "meta.test:80"}, "meta.test:80"), ({"K_SERVICE": "s"}, "metadata.google.internal")],
)
async def test_a_metadata_server_is_asked_where_the_environment_says_so(
    vertex: Authorizer, exchange: FakeExchange, env: dict[str, str], host: str
) -> None:
    exchange.answer("*", document(TOKEN))
    call = vertex.make_call(env)
    assert [await get_headers(call) for _ in range(2)] == [{"authorization": "Bearer ya29.first"}] * 2
    seen = exchange.only(f"GET http://{host}/computeMetadata/v1/*")
    assert seen.headers == {"metadata-flavor": "Google"}
    assert exchange.questions[0].link_local
    assert (await get_failure(vertex.make_call(env | {"NO_GCE_CHECK": "true"}))).body.code == "auth_required"


@pytest.mark.parametrize(
    "answer", [document({}, 404), document([]), document({"access_token": None}), document("x"), DOWN]
)
async def test_a_metadata_server_without_a_token(
    vertex: Authorizer, exchange: FakeExchange, answer: Answer | SidecarError
) -> None:
    exchange.answer("*", answer)
    assert (await get_failure(vertex.make_call({"K_SERVICE": "s"}))).body.code == "auth_required"


async def test_a_metadata_token_of_unknown_life_is_not_kept(vertex: Authorizer, exchange: FakeExchange) -> None:
    exchange.answer("*", document({"access_token": "ya29.first"}))
    call = vertex.make_call({"K_SERVICE": "s"})
    await get_headers(call)
    await get_headers(call)
    assert len(exchange.asked()) == 2


# --- failures --------------------------------------------------------------------------------


async def test_a_login_that_is_no_longer_good(vertex: Authorizer, exchange: FakeExchange, tmp_path: Path) -> None:
    exchange.answer("*", document({"error": "invalid_grant", "error_description": "It has been revoked."}, 400))
    (tmp_path / "application_default_credentials.json").write_text(json.dumps(USER), encoding="utf-8")
    error = await get_failure(vertex.make_call({"CLOUDSDK_CONFIG": str(tmp_path)}))
    assert (error.body.code, error.body.provider_code) == ("auth_required", "invalid_grant")
    assert not error.body.retryable
    assert error.body.hint == LOGIN_HINT


async def test_a_token_endpoint_that_is_down(
    vertex: Authorizer, exchange: FakeExchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _: None)
    exchange.answer("*", document({"error": "backend"}, 503))
    error = await get_failure(vertex.make_call(named(tmp_path, USER)))
    assert error.body.code == "provider_error"
    assert error.body.retryable


async def test_a_token_endpoint_that_cannot_be_reached(
    vertex: Authorizer, exchange: FakeExchange, tmp_path: Path
) -> None:
    exchange.answer("*", DOWN)
    error = await get_failure(vertex.make_call(named(tmp_path, USER)))
    assert (error.body.code, error.body.reason) == ("network_error", "refused")
    assert error.body.message == "No access token could be obtained: The connection was refused."


class Silent:
    """Does not answer until it is `let_go`; `asked` is set when it should, and `left` once nobody waits any longer."""

    def __init__(self) -> None:
        self.asked, self.left, self.free = anyio.Event(), anyio.Event(), anyio.Event()

    async def __call__(self, _: Seen) -> Answer:
        self.asked.set()
        try:
            await self.free.wait()
        finally:
            self.left.set()
        return document(TOKEN)


async def test_a_token_that_does_not_come_is_not_waited_for(
    vertex: Authorizer, exchange: FakeExchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Silent()
    exchange.answer("*", silent)
    monkeypatch.setattr(google, "TERMS", Terms(limit_seconds=0.3))
    assert (await get_failure(vertex.make_call(named(tmp_path, USER)))).body.code == "timeout"
    with anyio.fail_after(5):
        await silent.left.wait()


WHERE: dict[str, Callable[[Path], dict[str, str]]] = {
    "file": lambda folder: named(folder, USER),
    "metadata": lambda _: {"K_SERVICE": "s"},
}


@pytest.mark.parametrize("where", WHERE.values(), ids=WHERE.keys())
async def test_a_cancelled_request_leaves_its_token_to_the_next(
    vertex: Authorizer, exchange: FakeExchange, tmp_path: Path, where: Callable[[Path], dict[str, str]]
) -> None:
    silent = Silent()
    exchange.answer("*", silent)
    call = vertex.make_call(where(tmp_path))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get_headers, call)
            await silent.asked.wait()
            tasks.cancel_scope.cancel()
        silent.free.set()
        assert await get_bearer(call) == "ya29.first"
    assert len(exchange.asked()) == 1
