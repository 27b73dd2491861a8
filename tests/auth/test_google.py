"""Google Cloud's credentials: where they are looked for, what they are exchanged for, how long a token is kept."""

import json
import subprocess
import sys
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs

import anyio
import msgspec
import pytest

from sidecar.auth.authorize import Call
from sidecar.auth.memory import Memory
from sidecar.auth.schemes import google
from sidecar.catalogue import provider_rows
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts, Response
from sidecar.core.secret import Secret
from sidecar.providers.values import Target
from sidecar.upstream.http_client import HttpClient
from sidecar.wires.shared.types import Route
from tests.support.fake_exchange import FakeExchange
from tests.support.google_files import EXTERNAL, PROGRAM, USER, service_account

ROOT = Path(__file__).resolve().parents[2]
TOKEN = {"access_token": "ya29.first", "expires_in": 3600, "token_type": "Bearer"}

pytestmark = pytest.mark.anyio


class Http:
    """Stands for the HTTP client: each request gets the next reply or failure, and is remembered."""

    def __init__(self, *replies: tuple[int, Any] | SidecarError) -> None:
        self.requests: list[HttpRequest] = []
        self._replies = list(replies)

    async def answer(self, request: HttpRequest) -> tuple[int, Any]:
        self.requests.append(request)
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if isinstance(reply, SidecarError):
            raise reply
        return reply

    @asynccontextmanager
    async def send(
        self, request: HttpRequest, auth: dict[str, str], limits: HttpTimeouts, **_: bool
    ) -> AsyncIterator[Response]:
        assert auth == {}
        assert limits.first_byte <= google.LIMIT_SECONDS
        status, reply = await self.answer(request)
        yield Response(status, {"content-type": "application/json"}, body(json.dumps(reply).encode()))


async def body(data: bytes) -> AsyncIterator[bytes]:
    yield data


def call(http: Http, env: dict[str, str], credential: Secret | None = None) -> Call:
    target = Target(
        row=provider_rows.read_providers()["vertex"],
        route=Route(provider="vertex", wire="gemini", model="m", base_url="https://provider.test"),
        credential=credential,
        list_base_url="https://provider.test",
        env=env,
    )
    return Call(target=target, http=cast("HttpClient", http), exchange=FakeExchange(), memory=cast("Memory", None))


def named(folder: Path, info: object) -> dict[str, str]:
    """Write *info* to a credentials file and return the environment that names it."""
    file = folder / "key.json"
    file.write_text(info if isinstance(info, str) else json.dumps(info), encoding="utf-8")
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}


async def failure(asked: Call) -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        await google.headers(asked)
    return caught.value


# --- keys and tokens -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (Secret("AQ.key", "request"), {"x-goog-api-key": "AQ.key"}),
        (Secret("ya29.token", "request", "token"), {"authorization": "Bearer ya29.token"}),
    ],
)
async def test_a_key_or_token_is_one_header(secret: Secret, expected: dict[str, str]) -> None:
    env = {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere", "GOOGLE_CLOUD_QUOTA_PROJECT": "payer"}
    assert await google.headers(call(Http(), env, secret)) == expected


def test_the_library_is_not_loaded_for_a_key_or_a_token() -> None:
    script = (
        "import sys, anyio, tests.auth.test_google as t\n"
        "for kind in ('key', 'token'):\n"
        "    anyio.run(t.google.headers, t.call(t.Http(), {}, t.Secret('k', 'request', kind)))\n"
        "print(*(name for name in sys.modules if name.partition('.')[0] in ('google', 'requests')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


# --- files -----------------------------------------------------------------------------------


async def test_a_service_account_signs_for_a_token_that_is_kept(tmp_path: Path) -> None:
    http = Http((200, TOKEN))
    asked = call(http, named(tmp_path, service_account()))
    assert await google.headers(asked) == {"authorization": "Bearer ya29.first"}
    assert await google.headers(asked) == {"authorization": "Bearer ya29.first"}
    (request,) = http.requests
    assert (request.method, request.url) == ("POST", "https://token.test/token")
    (assertion,) = parse_qs(request.body.decode())["assertion"]
    claims = json.loads(urlsafe_b64decode(assertion.split(".")[1] + "=="))
    assert claims["iss"] == "robot@p.iam.test"
    assert claims["scope"] == google.SCOPE


async def test_many_at_once_ask_for_one_token(tmp_path: Path) -> None:
    http = Http((200, TOKEN))
    asked = call(http, named(tmp_path, service_account()))
    made: list[dict[str, str]] = []

    async def ask() -> None:
        made.append(await google.headers(asked))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
    assert made == [{"authorization": "Bearer ya29.first"}] * 20
    assert len(http.requests) == 1


async def test_a_token_is_renewed_before_it_wears_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    http = Http((200, TOKEN | {"expires_in": 600}), (200, TOKEN | {"access_token": "ya29.second"}))
    asked = call(http, named(tmp_path, service_account()))
    assert await google.headers(asked) == {"authorization": "Bearer ya29.first"}
    monkeypatch.setattr(google, "datetime", clock(timedelta(seconds=290)))
    assert await google.headers(asked) == {"authorization": "Bearer ya29.first"}
    monkeypatch.setattr(google, "datetime", clock(timedelta(seconds=310)))
    assert await google.headers(asked) == {"authorization": "Bearer ya29.second"}
    assert len(http.requests) == 2


def clock(ahead: timedelta) -> Any:
    class Ahead:
        @staticmethod
        def now(zone: Any) -> datetime:
            return datetime.now(zone) + ahead

    return Ahead


async def test_another_file_is_another_credential(tmp_path: Path) -> None:
    http = Http((200, TOKEN), (200, TOKEN | {"access_token": "ya29.second"}))
    asked = call(http, named(tmp_path, service_account()))
    await google.headers(asked)
    named(tmp_path, USER)
    assert (await google.headers(asked))["authorization"] == "Bearer ya29.second"
    assert parse_qs(http.requests[1].body.decode())["refresh_token"] == ["r"]


@pytest.mark.parametrize(("env", "project"), [({}, "payer"), ({"GOOGLE_CLOUD_QUOTA_PROJECT": "other"}, "other")])
async def test_the_login_of_a_user_says_who_pays(tmp_path: Path, env: dict[str, str], project: str) -> None:
    http = Http((200, TOKEN))
    made = await google.headers(call(http, named(tmp_path, USER) | env))
    assert made == {"authorization": "Bearer ya29.first", "x-goog-user-project": project}
    assert "scope" not in parse_qs(http.requests[0].body.decode())


@pytest.mark.parametrize(
    ("variable", "folder"), [("CLOUDSDK_CONFIG", ""), ("HOME", ".config/gcloud"), ("APPDATA", "gcloud")]
)
async def test_the_login_is_found_where_gcloud_keeps_it(tmp_path: Path, variable: str, folder: str) -> None:
    place = tmp_path / folder
    place.mkdir(parents=True, exist_ok=True)
    (place / "application_default_credentials.json").write_text(json.dumps(USER), encoding="utf-8")
    made = await google.headers(call(Http((200, TOKEN)), {variable: str(tmp_path), "GCE_METADATA_HOST": "m.test"}))
    assert made["authorization"] == "Bearer ya29.first"


async def test_impersonation_exchanges_the_login_for_the_other_account(tmp_path: Path) -> None:
    expiry = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    http = Http((200, TOKEN), (200, {"accessToken": "ya29.robot", "expireTime": expiry}))
    url = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/robot@p.iam.test:generateAccessToken"
    info = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": url,
        "source_credentials": USER,
    }
    assert (await google.headers(call(http, named(tmp_path, info))))["authorization"] == "Bearer ya29.robot"
    assert [request.url for request in http.requests] == ["https://oauth2.googleapis.com/token", url]
    assert json.loads(http.requests[1].body)["scope"] == [google.SCOPE]


async def test_another_cloud_s_identity_is_exchanged(tmp_path: Path) -> None:
    (tmp_path / "jwt").write_text("subject", encoding="utf-8")
    http = Http((200, TOKEN | {"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}))
    info = EXTERNAL | {"credential_source": {"file": str(tmp_path / "jwt")}}
    assert await google.headers(call(http, named(tmp_path, info))) == {"authorization": "Bearer ya29.first"}
    sent = parse_qs(http.requests[0].body.decode())
    assert sent["subject_token"] == ["subject"]
    assert sent["scope"] == [google.SCOPE]


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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, info: object, message: str
) -> None:
    monkeypatch.setenv("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")
    http = Http((200, TOKEN))
    error = await failure(call(http, named(tmp_path, info)))
    assert error.body.code == "auth_required"
    assert message in error.body.message
    assert "GOOGLE_APPLICATION_CREDENTIALS" in (error.body.hint or "")
    assert "canary" not in repr(msgspec.to_builtins(error.body))
    assert http.requests == []


async def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "application_default_credentials.json").write_text(json.dumps(USER), encoding="utf-8")
    for name in (str(tmp_path / "none.json"), "nul\0"):
        env = {"GOOGLE_APPLICATION_CREDENTIALS": name, "CLOUDSDK_CONFIG": str(tmp_path)}
        assert (await failure(call(Http((200, TOKEN)), env))).body.code == "auth_required"
    folder = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path)}
    assert "cannot be read" in (await failure(call(Http((200, TOKEN)), folder))).body.message


async def test_without_any_credentials_it_says_what_to_do_and_probes_nothing(tmp_path: Path) -> None:
    http = Http((200, TOKEN))
    error = await failure(call(http, {"HOME": str(tmp_path)}))
    assert error.body.code == "auth_required"
    assert "gcloud auth application-default login" in (error.body.hint or "")
    assert http.requests == []


# --- the metadata server ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "host"),
    [({"GCE_METADATA_HOST": "meta.test:80"}, "meta.test:80"), ({"K_SERVICE": "s"}, "metadata.google.internal")],
)
async def test_a_metadata_server_is_asked_where_the_environment_says_so(env: dict[str, str], host: str) -> None:
    http = Http((200, TOKEN))
    asked = call(http, env)
    for _ in range(2):
        assert await google.headers(asked) == {"authorization": "Bearer ya29.first"}
    (request,) = http.requests
    assert request.url.startswith(f"http://{host}/computeMetadata/v1/")
    assert request.headers == {"metadata-flavor": "Google"}
    assert (await failure(call(http, env | {"NO_GCE_CHECK": "true"}))).body.code == "auth_required"


@pytest.mark.parametrize("reply", [(404, {}), (200, []), (200, {"access_token": None}), (200, "x")])
async def test_a_metadata_server_without_a_token(reply: tuple[int, Any]) -> None:
    assert (await failure(call(Http(reply), {"K_SERVICE": "s"}))).body.code == "auth_required"


async def test_a_metadata_token_of_unknown_life_is_not_kept() -> None:
    http = Http((200, {"access_token": "ya29.first"}))
    asked = call(http, {"K_SERVICE": "s"})
    await google.headers(asked)
    await google.headers(asked)
    assert len(http.requests) == 2


# --- failures --------------------------------------------------------------------------------


async def test_a_login_that_is_no_longer_good(tmp_path: Path) -> None:
    http = Http((400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}))
    (tmp_path / "application_default_credentials.json").write_text(json.dumps(USER), encoding="utf-8")
    error = await failure(call(http, {"CLOUDSDK_CONFIG": str(tmp_path)}))
    assert (error.body.code, error.body.provider_code) == ("auth_required", "invalid_grant")
    assert not error.body.retryable
    assert error.body.hint == google.LOGIN


async def test_a_token_endpoint_that_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _: None)
    error = await failure(call(Http((503, {"error": "backend"})), named(tmp_path, USER)))
    assert error.body.code == "provider_error"
    assert error.body.retryable


async def test_a_token_endpoint_that_cannot_be_reached(tmp_path: Path) -> None:
    down = SidecarError("network_error", "The connection was refused.", reason="refused")
    error = await failure(call(Http(down), named(tmp_path, USER)))
    assert (error.body.code, error.body.reason) == ("network_error", "refused")
    assert error.body.message == "No access token is to be had: The connection was refused."


class Silent(Http):
    """Never answers; `asked` is set when it should, and `left` once nobody waits any longer."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.left = anyio.Event(), anyio.Event()

    async def answer(self, request: HttpRequest) -> tuple[int, Any]:
        self.asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.left.set()
        raise AssertionError(request.url)


async def test_a_token_that_does_not_come_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    http = Silent()
    asked = call(http, named(tmp_path, USER))
    monkeypatch.setattr(google, "LIMIT_SECONDS", 0.3)
    assert (await failure(asked)).body.code == "timeout"
    with anyio.fail_after(5):
        await http.left.wait()


WHERE: dict[str, Callable[[Path], dict[str, str]]] = {
    "file": lambda folder: named(folder, USER),
    "metadata": lambda _: {"K_SERVICE": "s"},
}


@pytest.mark.parametrize("where", WHERE.values(), ids=WHERE.keys())
async def test_a_cancelled_request_frees_the_next(tmp_path: Path, where: Callable[[Path], dict[str, str]]) -> None:
    http, env = Silent(), where(tmp_path)
    asked = call(http, env)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(google.headers, asked)
            await http.asked.wait()
            tasks.cancel_scope.cancel()
        await http.left.wait()
        again = msgspec.structs.replace(asked, http=cast("HttpClient", Http((200, TOKEN))))
        assert (await google.headers(again))["authorization"] == "Bearer ya29.first"
