"""Logging in as a user does: programs with a store of their own, and a GitHub that gives codes and tokens."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support import in_process, listening_services
from tests.support.fake_provider import WAIT_SECONDS
from tests.support.fake_services import Answer, Seen, Services, document
from tests.support.lines import Id, Line, Object
from tests.support.process import Sidecar
from tests.support.program import Program
from tests.support.provider_rows import params, text_of
from tests.support.virtual_loop import virtual_loop

GITHUB = "https://github.com"
CODES = f"POST {GITHUB}/login/device/code"
TOKENS = f"POST {GITHUB}/login/oauth/access_token"
USER = "GET https://api.github.com/user"
SESSIONS = "GET https://api.github.com/copilot_internal/v2/token"

TOKEN = "gho_CANARY0123456789"
KEY = "sk-CANARY-5f2e7c90d1"

INTERVAL_SECONDS = 0.1


def code(**changed: object) -> Answer:
    """Return the answer to a request for a code."""
    usual = {
        "device_code": "CANARY-device-code",
        "user_code": "WDJB-MJHT",
        "verification_uri": f"{GITHUB}/login/device",
        "expires_in": 900,
        "interval": INTERVAL_SECONDS,
    }
    return document({name: value for name, value in (usual | changed).items() if value is not None})


def error(word: str, **more: object) -> Answer:
    """Return the answer to a poll that gives no token; GitHub sends it with status 200."""
    return document({"error": word, "error_description": f"About {word}."} | more)


PENDING = error("authorization_pending")
GRANTED = document({"access_token": TOKEN, "token_type": "bearer", "scope": "read:user"})


def github(services: Services, *polls: Answer, **changed: object) -> None:
    """Have GitHub give a code, answer *polls* and say whose token it is."""
    services.answer(CODES, code(**changed))
    services.answer(TOKENS, *(polls or (GRANTED,)))
    services.answer(USER, document({"login": "octocat"}))


def _make_env(folder: Path, env: dict[str, str]) -> dict[str, str]:
    # Not in the home directory, where no secret may be found afterwards, and not in the keychain of whoever tests.
    store = {"SIDECAR_STORE_DIR": str(folder / "store"), "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    return store | env


@contextmanager
def logged_off(services: Services, folder: Path, config: str = "", **env: str) -> Iterator[Program]:
    """Yield a program with a store, in which nothing is yet unless an earlier one has put it there."""
    with in_process.online(services, folder, config, **_make_env(folder, env)) as sidecar:
        yield sidecar


@contextmanager
def logged_off_process(services: Services, folder: Path, config: str = "", **env: str) -> Iterator[Sidecar]:
    """Yield what `logged_off` does, in a process of its own."""
    with listening_services.online(services, folder, config, **_make_env(folder, env)) as sidecar:
        # A keychain for a test keeps its secrets in a file.
        sidecar.allowed.places.append(folder / "keychain.json")
        yield sidecar


def authenticate(sidecar: Program, op: str, provider: str = "copilot", **params: Any) -> Object:
    """Do *op* and return its terminal line."""
    return sidecar.ask("authenticate", {"op": op} | params, provider=provider)


def log_in(sidecar: Program, provider: str = "copilot", **params: Any) -> Object:
    """Log in and return `done`."""
    reply = authenticate(sidecar, "login", provider, **params)
    assert reply["success"], reply
    done: Object = reply["data"]
    return done


def begin(sidecar: Program, provider: str = "copilot") -> Id:
    """Begin a login with a code and return its id once the code is there."""
    request_id = sidecar.send("authenticate", {"op": "login"}, provider=provider)
    assert sidecar.chunk(request_id).data["data"]["type"] == "device_flow"
    return request_id


def kinds(lines: list[Line]) -> list[str]:
    """Return the types of a stream's chunks."""
    return [line.data["data"]["type"] for line in lines if line.data["success"]]


class Clock:
    """Answers as they are told to, and when they were asked for."""

    def __init__(self, *answers: Answer) -> None:
        self.at: list[float] = []
        self._answers = answers

    def __call__(self, _: Seen) -> Answer:
        self.at.append(time.monotonic())
        return self._answers[min(len(self.at), len(self._answers)) - 1]

    @property
    def gaps(self) -> list[float]:
        """The seconds between one question and the next."""
        return [later - earlier for earlier, later in zip(self.at, self.at[1:], strict=False)]


class Held:
    """An answer that is given once it is let go."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._free = threading.Event()

    def __call__(self, _: Seen) -> Answer:
        assert self._free.wait(WAIT_SECONDS)
        return self._answer

    def let_go(self) -> None:
        """Give it, now and from now on."""
        self._free.set()


def hangs_up(_: Seen) -> Answer:
    """Answer nothing."""
    raise ConnectionResetError


Answering = Answer | Callable[[Seen], Answer]


# --- the store as it lies there ------------------------------------------------------------------


def file_of(folder: Path) -> Path:
    """Return the file of the store."""
    return folder / "store" / "credentials.json"


def stored(folder: Path) -> Object:
    """Return the entries of the file."""
    document: Object = json.loads(file_of(folder).read_bytes())
    assert document["version"] == 1
    entries: Object = document["entries"]
    return entries


def seed(folder: Path, content: bytes | None = None, file_mode: int = 0o600, folder_mode: int = 0o700) -> None:
    """Put a store in place, as an earlier process has left it."""
    entry = {"kind": "key", "method": "api_key", "home": "built-in", "saved_at": "2026-11-20T12:00:00+00:00"}
    document = {"version": 1, "entries": {"openai": entry | {"secrets": {"value": KEY}}}}
    (folder / "store").mkdir(mode=0o700)
    file_of(folder).write_bytes(json.dumps(document).encode() if content is None else content)
    file_of(folder).chmod(file_mode)
    (folder / "store").chmod(folder_mode)


def status(sidecar: Program, provider: str = "openai") -> Object:
    """Return what is said of the provider's credential."""
    reply = authenticate(sidecar, "status", provider)
    assert reply["success"], reply
    data: Object = reply["data"]
    return data


def warnings(data: Object) -> list[str]:
    """Return the codes of the warnings in an answer."""
    return [warning["code"] for warning in data.get("warnings", [])]


def key_of_chat(sidecar: Program, services: Services) -> str:
    """Return the key that a chat is sent with."""
    services.forget()
    services.answer("POST *", text_of("openai_chat"))
    assert sidecar.ask("stream_chat", params(), provider="openai")["success"]
    return services.only().headers["authorization"].removeprefix("Bearer ")


# --- time ----------------------------------------------------------------------------------------


def let_pass(seconds: float) -> None:
    """Let time pass for the programs within the test."""
    virtual_loop().run_until(lambda: False, seconds)


def eventually(happens: Callable[[], bool]) -> None:
    """Assert that something comes true within seconds: a change of the file is looked for that often."""
    for _ in range(12):
        if happens():
            return
        let_pass(0.5)
    assert happens()


# --- chats, and logins that expire ---------------------------------------------------------------

CHATS = "POST https://api.githubcopilot.com/*"
REFUSED = document({"error": {"message": "Unauthorized"}}, 401)
RENEWAL = "ghr_CANARY-renewal"


def only_for(token: str) -> Callable[[Seen], Answer]:
    """Return a chat for those who come with the token, a refusal for all others."""

    def answer(seen: Seen) -> Answer:
        return text_of("openai_chat") if seen.headers["authorization"] == f"Bearer {token}" else REFUSED

    return answer


def chats(sidecar: Program, count: int) -> list[object]:
    """Send chats at once and return their ids."""
    return [sidecar.send("stream_chat", params(), provider="copilot") for _ in range(count)]


def codes(sidecar: Program, ids: list[object]) -> list[str | None]:
    """Return the error codes of the chats, None for those that went well."""
    replies = [sidecar.reply(each) for each in ids]
    return [None if reply["success"] else reply["error"]["code"] for reply in replies]


def with_life(seconds: int, number: int = 1) -> Answer:
    """Return a grant that expires."""
    return document(
        {
            "access_token": f"{TOKEN}-{number}",
            "expires_in": seconds,
            "refresh_token": f"{RENEWAL}-{number}",
            "refresh_token_expires_in": 15_811_200,
        }
    )


def expire_stored(folder: Path) -> None:
    """Let the stored login expire."""
    file = folder / "store" / "credentials.json"
    document = json.loads(file.read_bytes())
    entry = document["entries"]["copilot"]
    assert entry["secrets"] == {"value": f"{TOKEN}-1", "renewal": f"{RENEWAL}-1"}
    assert datetime.fromisoformat(entry["expires_at"]) > datetime.now(UTC) + timedelta(hours=7)
    change(folder, expires_at="2026-11-20T00:00:00+00:00")


def change(folder: Path, **changed: str) -> None:
    """Change what the file has of the stored login."""
    file = folder / "store" / "credentials.json"
    document = json.loads(file.read_bytes())
    document["entries"]["copilot"] |= {"saved_at": "2026-11-20T00:00:00+00:00"} | changed
    file.write_bytes(json.dumps(document).encode())


def log_in_and_expire(
    services: Services,
    folder: Path,
    log_off: "Callable[[Services, Path], AbstractContextManager[Program]]" = logged_off,
) -> None:
    """Log in, and let the login expire."""
    github(services, with_life(28_800))
    with log_off(services, folder) as sidecar:
        assert log_in(sidecar)["expires_at"] is not None
        assert authenticate(sidecar, "status")["data"]["expires_at"] is not None
    expire_stored(folder)
    services.forget()
    services.answer(CHATS, only_for(f"{TOKEN}-2"))
    services.answer("GET https://api.githubcopilot.com/*", document({"data": []}))
