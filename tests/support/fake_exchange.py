"""The network as schemes and logins see it, in process: an `Exchange` that answers by rule and keeps each question."""

from collections import deque
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase

from sidecar.auth import exchange
from sidecar.auth.exchange import Question
from sidecar.auth.redaction import redact
from sidecar.core.errors import SidecarError
from tests.support.fake_services import Answer, Seen, document

Answering = Answer | SidecarError | Callable[[Seen], Awaitable[Answer]]


class FakeExchange:
    """Answers as the rules say that `answer` has made; a failure among the answers is raised, as a client does."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self._rules: list[tuple[str, deque[Answering]]] = []

    async def __call__(self, question: Question) -> exchange.Answer:
        """Return the answer to *question*, as an `Exchange` does; it is asked once, whatever `max_attempts` says."""
        self.questions.append(question)
        request = question.request
        answer = self._pick_answer(question)
        if callable(answer):
            answer = await answer(Seen(request.method, request.url, request.headers, request.body))
        if isinstance(answer, SidecarError):
            raise answer.with_fields()
        given = exchange.Answer(answer.status, answer.headers, answer.body)
        failure = question.classify(given)
        if failure is not None:
            raise redact(failure, [each.reveal() for each in question.secrets])
        return given

    def answer(self, pattern: str, *answers: Answering) -> None:
        """Answer questions whose `METHOD URL` matches *pattern*; of several answers the last one is given for ever."""
        self._rules.insert(0, (pattern, deque(answers)))

    def asked(self, pattern: str = "*") -> list[Seen]:
        """Return the requests so far whose `METHOD URL` matches *pattern*."""
        requests = [question.request for question in self.questions]
        return [
            Seen(each.method, each.url, each.headers, each.body)
            for each in requests
            if fnmatchcase(f"{each.method} {each.url}", pattern)
        ]

    def only(self, pattern: str = "*") -> Seen:
        """Return the one request that matches *pattern*."""
        found = self.asked(pattern)
        assert len(found) == 1, f"{len(found)} requests for {pattern} among {[each.url for each in self.asked()]}"
        return found[0]

    def _pick_answer(self, question: Question) -> Answering:
        named = f"{question.request.method} {question.request.url}"
        answers = next((answers for pattern, answers in self._rules if fnmatchcase(named, pattern)), None)
        if answers is None:
            return document({"error": "no such service"}, 404)
        return answers.popleft() if len(answers) > 1 else answers[0]
