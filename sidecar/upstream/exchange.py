"""The questions of schemes and logins, carried by the process's HTTP client and sent again where that may help.

Knows retries and what of an answer is read. Must not know schemes.
"""

import anyio

from sidecar.auth.exchange import Answer, Exchange, Question
from sidecar.auth.redaction import redact
from sidecar.core.errors import SidecarError
from sidecar.core.http import PhaseTrace, Transport
from sidecar.core.http_bodies import read_body, read_error_body
from sidecar.upstream.gates import retry


def make_exchange(http: Transport) -> Exchange:
    """Return the `Exchange` that asks through *http*."""

    async def exchange(question: Question) -> Answer:
        attempt = 1
        while True:
            try:
                return await _ask(http, question)
            except SidecarError as error:
                failure = redact(error, [each.reveal() for each in question.secrets])
                remaining_ms = question.timeouts.first_byte * 1000
                wait_ms = retry.wait_ms(failure.body, attempt, question.max_attempts, remaining_ms)
                if wait_ms is None:
                    raise failure from None
            await anyio.sleep(wait_ms / 1000)
            attempt += 1

    return exchange


async def _ask(http: Transport, question: Question) -> Answer:
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
    return answer
