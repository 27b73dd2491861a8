"""Questions to servers that are no providers: of schemes, of logins, and for the catalogue. Asked through `ask`.

Knows how much of an answer is read. Must not know schemes.
"""

from functools import partial

import anyio

from sidecar.auth.exchange import Answer, Exchange, Question
from sidecar.auth.redaction import redact
from sidecar.core.errors import SidecarError
from sidecar.core.http import PhaseTrace, Transport
from sidecar.core.http_bodies import read_body, read_error_body
from sidecar.core.request_state import RequestState
from sidecar.upstream.ask import AskPolicy, ask
from sidecar.upstream.gates.gate import Turn
from sidecar.upstream.gates.lookup import GateTable

GATE = "exchange"


def make_exchange(http: Transport, gates: GateTable) -> Exchange:
    """Return the `Exchange` that asks through *http*, one gate for each server and credential."""

    async def exchange(question: Question) -> Answer:
        # Several requests may wait for the answer, so the question has a state of its own.
        state = RequestState("exchange")
        state.scope.deadline = anyio.current_effective_deadline()
        gate = gates.find_server_gate(GATE, question.request.url, question.secrets)
        policy = AskPolicy[Question, Answer](
            attempt=partial(_attempt, http),
            find_gate=lambda _: gate,
            max_attempts=question.max_attempts,
            explain=lambda _, error: redact(error, [each.reveal() for each in question.secrets]),
            max_wait_ms=question.timeouts.first_byte_seconds * 1000,
        )
        return await ask(state, policy, question)

    return exchange


async def _attempt(http: Transport, question: Question, turn: Turn) -> Answer:
    trace = PhaseTrace()
    try:
        async with http.send(
            question.request, {}, question.timeouts, trace, link_local=question.link_local
        ) as response:
            if response.status < 300:
                body = await read_body(response, question.limit_bytes)
            else:
                body = await read_error_body(response)
            answer = Answer(response.status, response.headers, body)
    except SidecarError as error:
        raise error.with_fields(phase=error.body.phase or trace.phase) from None
    failure = question.classify(answer)
    if failure is not None:
        raise failure
    turn.report_success()
    return answer
