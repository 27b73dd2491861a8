"""What the servers of the internet answer in process: rules by method and address, and every request that came."""

from collections import deque
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase

import anyio

from sidecar.core.errors import SidecarError
from tests.support.fake_provider import WAIT_SECONDS
from tests.support.fake_services import Answer, Seen, document

Answering = Answer | SidecarError | Callable[[Seen], Answer] | Callable[[Seen], Awaitable[Answer]]
"""An answer, a failure of the connection, or what makes one or the other of a request."""

DOWN = SidecarError("network_error", "The connection was refused.", reason="refused", phase="connect")


class AnswerRules:
    """The rules, and the requests so far."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._rules: list[tuple[str, deque[Answering]]] = []
        self._came = anyio.Event()

    def answer(self, pattern: str, *answers: Answering) -> None:
        """Answer requests whose `METHOD URL` matches *pattern*, `*` standing for anything.

        The newest pattern that matches counts; of several *answers* each is given once, the last for ever.
        """
        self._rules.insert(0, (pattern, deque(answers)))

    def forget(self) -> None:
        """Begin anew."""
        self.seen.clear()
        self._rules.clear()

    def asked(self, pattern: str = "*") -> list[Seen]:
        """Return the requests so far whose `METHOD URL` matches *pattern*."""
        return [seen for seen in self.seen if fnmatchcase(f"{seen.method} {seen.url}", pattern)]

    def only(self, pattern: str = "*") -> Seen:
        """Return the one request that matches *pattern*."""
        found = self.asked(pattern)
        assert len(found) == 1, f"{len(found)} requests for {pattern} among {[each.url for each in self.seen]}"
        return found[0]

    async def wait_for(self, pattern: str, count: int = 1) -> None:
        """Wait until *count* requests that match *pattern* have come."""
        with anyio.fail_after(WAIT_SECONDS):
            while len(self.asked(pattern)) < count:
                await self._came.wait()

    async def take(self, seen: Seen) -> Answer:
        """Return what *seen* is answered; raises the failure that a rule names."""
        self.seen.append(seen)
        self._came.set()
        self._came = anyio.Event()
        named = f"{seen.method} {seen.url}"
        answers = next((answers for pattern, answers in self._rules if fnmatchcase(named, pattern)), None)
        if answers is None:
            return document({"error": "no such service"}, 404)
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        if isinstance(answer, SidecarError):
            raise answer.with_fields()
        if isinstance(answer, Answer):
            return answer
        made = answer(seen)
        return made if isinstance(made, Answer) else await made


class Held:
    """An answer that is given once it is let go."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._free = anyio.Event()

    async def __call__(self, _: Seen) -> Answer:
        with anyio.fail_after(WAIT_SECONDS):
            await self._free.wait()
        return self._answer

    def let_go(self) -> None:
        """Give it, now and from now on."""
        self._free.set()
