"""Logging in as a user does: processes with a store of their own, and a GitHub that gives codes and tokens."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.fake_provider import WAIT_SECONDS
from tests.support.fake_services import Answer, Seen, Services, document
from tests.support.listening_services import online
from tests.support.process import Id, Line, Object, Sidecar
from tests.support.provider_rows import params, text_of

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


@contextmanager
def logged_off(services: Services, folder: Path, config: str = "", **env: str) -> Iterator[Sidecar]:
    """Yield a process with a store, in which nothing is yet unless an earlier one has put it there."""
    # Not in the home directory, where no secret may be found afterwards, and not in the keychain of whoever tests.
    store = {"SIDECAR_STORE_DIR": str(folder / "store"), "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    with online(services, folder, config, **(store | env)) as sidecar:
        # A keychain for a test keeps its secrets in a file.
        sidecar.allowed.places.append(folder / "keychain.json")
        yield sidecar


def authenticate(sidecar: Sidecar, op: str, provider: str = "copilot", **params: Any) -> Object:
    """Do *op* and return its terminal line."""
    return sidecar.ask("authenticate", {"op": op} | params, provider=provider)


def log_in(sidecar: Sidecar, provider: str = "copilot", **params: Any) -> Object:
    """Log in and return `done`."""
    reply = authenticate(sidecar, "login", provider, **params)
    assert reply["success"], reply
    done: Object = reply["data"]
    return done


def begin(sidecar: Sidecar, provider: str = "copilot") -> Id:
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


def status(sidecar: Sidecar, provider: str = "openai") -> Object:
    """Return what is said of the provider's credential."""
    reply = authenticate(sidecar, "status", provider)
    assert reply["success"], reply
    data: Object = reply["data"]
    return data


def warnings(data: Object) -> list[str]:
    """Return the codes of the warnings in an answer."""
    return [warning["code"] for warning in data.get("warnings", [])]


def key_of_chat(sidecar: Sidecar, services: Services) -> str:
    """Return the key that a chat is sent with."""
    services.forget()
    services.answer("POST *", text_of("openai_chat"))
    assert sidecar.ask("stream_chat", params(), provider="openai")["success"]
    return services.only().headers["authorization"].removeprefix("Bearer ")
