"""Every host of the internet as a test needs it: whatever server it is asked for, it answers by rule.

`tests.support.listening_services` has them behind a proxy on 127.0.0.1, `tests.support.in_process` without a socket.
"""

import json
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from tests.support import canaries
from tests.support.canaries import Secrets


class Seen:
    """One request that came. `url` is the whole address, as the other side meant it."""

    def __init__(self, method: str, url: str, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        """By lower-case names."""
        self.body = body
        self.closed_at: float | None = None
        """When the other side hung up on an answer that stalls."""

    @property
    def path(self) -> str:
        """The path, without the query, as it was sent."""
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, list[str]]:
        """The query, decoded."""
        return parse_qs(urlsplit(self.url).query)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """All of it, for looking through."""
        return f"{self.method} {self.url}\n{self.headers}\n{self.body.decode(errors='replace')}"


class Answer(msgspec.Struct, frozen=True):
    """What is answered. One that *stalls* sends its body and nothing more, until the other side hangs up."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = {}
    stalls: bool = False


def document(value: object, status: int = 200, **headers: str) -> Answer:
    """Return an answer that is one JSON document; `retry_after` is the header `retry-after`."""
    named = {name.replace("_", "-"): each for name, each in headers.items()}
    return Answer(json.dumps(value).encode(), status, {"content-type": "application/json"} | named)


Answering = Answer | Callable[[Seen], Answer]


class Services:
    """The servers."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.changed = threading.Condition()
        self.problems: list[str] = []
        self.secrets = Secrets()
        """What they hand out, which is as secret as what they get."""
        self._rules: list[tuple[str, deque[Answering]]] = []
        self._came: dict[str, set[str]] = {}
        """Each secret that came, and the hosts that got it."""

    @property
    def port(self) -> int:
        """Where they listen themselves."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Their own base address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """The variables with which a program takes them for the whole internet."""
        raise NotImplementedError

    def answer(self, pattern: str, *answers: Answering) -> None:
        """Answer requests whose `METHOD URL` matches *pattern*, `*` standing for anything.

        The newest pattern that matches counts; of several *answers* each is given once, the last for ever.
        """
        with self.changed:
            self._rules.insert(0, (pattern, deque(answers)))

    def forget(self) -> None:
        """Begin anew."""
        with self.changed:
            assert not self.problems, self.problems
            self.seen.clear()
            self._rules.clear()

    def received(self) -> dict[str, set[str]]:
        """Return the secrets that have come since this was last asked, and the hosts that got each."""
        with self.changed:
            came, self._came = self._came, {}
        return came

    def asked(self, pattern: str = "*") -> list[Seen]:
        """Return the requests so far whose `METHOD URL` matches *pattern*."""
        with self.changed:
            return [seen for seen in self.seen if fnmatchcase(f"{seen.method} {seen.url}", pattern)]

    def only(self, pattern: str = "*") -> Seen:
        """Return the one request that matches *pattern*."""
        found = self.asked(pattern)
        assert len(found) == 1, f"{len(found)} requests for {pattern} among {[each.url for each in self.asked()]}"
        return found[0]

    def wait(self, happened: Callable[[], bool], what: str) -> None:
        """Wait until something has *happened*."""
        raise NotImplementedError

    def note(self, change: Callable[[], object]) -> None:
        """Do *change* and tell those who wait."""
        with self.changed:
            change()
            self.changed.notify_all()

    def answer_to(self, seen: Seen) -> Answer:
        """Return what *seen* is answered with."""
        with self.changed:
            self.seen.append(seen)
            for secret in canaries.tokens(seen.text):
                self._came.setdefault(secret, set()).add(urlsplit(seen.url).hostname or "")
            found = next(
                (answers for pattern, answers in self._rules if fnmatchcase(f"{seen.method} {seen.url}", pattern)), None
            )
            answer = document({"error": "no such service"}, 404) if found is None else found[0]
            if found and len(found) > 1:
                found.popleft()
            self.changed.notify_all()
        given = answer if isinstance(answer, Answer) else answer(seen)
        with suppress(ValueError):
            self.secrets.register_fields(json.loads(given.body))
        return given
