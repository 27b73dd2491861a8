"""The network as schemes and logins see it, in process: an `Exchange` that answers by rule and keeps each question."""

from sidecar.auth import exchange
from sidecar.auth.exchange import Question
from sidecar.auth.redaction import redact
from tests.support.answer_rules import AnswerRules
from tests.support.fake_services import Seen


class FakeExchange(AnswerRules):
    """Asks once, whatever a question's `max_attempts` says."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[Question] = []

    async def __call__(self, question: Question) -> exchange.Answer:
        """Return the answer to *question*, as an `Exchange` does."""
        self.questions.append(question)
        request = question.request
        answer = await self.take(Seen(request.method, request.url, request.headers, request.body))
        given = exchange.Answer(answer.status, answer.headers, answer.body)
        failure = question.classify(given)
        if failure is not None:
            raise redact(failure, [each.reveal() for each in question.secrets])
        return given
