"""Questions to servers that are no providers: what is asked again, how long is waited, and what an error repeats."""

import random
import time
from typing import Any

import anyio
import pytest

from sidecar.auth.exchange import Answer, Question
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.core.secret import Secret
from sidecar.upstream.exchange import GATE, make_exchange
from sidecar.upstream.gates.lookup import GateTable
from sidecar.wires.shared.error_rules import ReportedError, classify_error
from tests.support import fake_services
from tests.support.answer_rules import DOWN
from tests.support.fake_services import document
from tests.support.in_memory import RuledServer
from tests.support.in_memory_transport import InMemoryTransport

URL = "https://login.example.com/token"
GIVEN = document({"access_token": "t"})


@pytest.fixture(autouse=True)
def _without_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)


@pytest.fixture
def web() -> RuledServer:
    return RuledServer()


def classify(answer: Answer) -> SidecarError | None:
    if answer.status < 300:
        return None
    reported = ReportedError(message=answer.body.decode())
    return classify_error(reported, answer.status, answer.headers, {})


def question(max_attempts: int = 2, url: str = URL, **fields: Any) -> Question:
    return Question(
        request=HttpRequest(method="POST", url=url, headers={}),
        timeouts=HttpTimeouts(first_byte_seconds=10.0),
        classify=classify,
        max_attempts=max_attempts,
        **fields,
    )


async def fail(web: RuledServer, asked: Question) -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        await make_exchange(InMemoryTransport(web), GateTable({}))(asked)
    return caught.value


@pytest.mark.parametrize("failure", [DOWN, document({}, 503), document({}, 429, retry_after_ms="20")])
async def test_a_transient_failure_is_asked_again(web: RuledServer, failure: Any) -> None:
    web.answer("*", failure, GIVEN)
    answer = await make_exchange(InMemoryTransport(web), GateTable({}))(question())
    assert answer.read_object() == {"access_token": "t"}
    assert len(web.seen) == 2


@pytest.mark.parametrize(
    ("max_attempts", "failure", "code"),
    [
        (1, DOWN, "network_error"),
        (3, document({}, 401), "auth_failed"),
        (3, document({}, 302), "provider_error"),
        (3, fake_services.Answer(b"x" * 2000), "provider_error"),
    ],
)
async def test_a_permanent_failure_is_asked_once(web: RuledServer, max_attempts: int, failure: Any, code: str) -> None:
    web.answer("*", failure)
    error = await fail(web, question(max_attempts, limit_bytes=1000))
    assert error.body.code == code
    assert len(web.seen) == 1


async def test_no_more_attempts_are_made_than_the_question_allows(web: RuledServer) -> None:
    web.answer("*", DOWN)
    error = await fail(web, question(max_attempts=3))
    assert (error.body.code, error.body.phase) == ("network_error", "connect")
    assert len(web.seen) == 3


async def test_the_servers_retry_after_is_waited_for(web: RuledServer) -> None:
    web.answer("*", document({}, 503, retry_after_ms="50"), GIVEN)
    began = time.monotonic()
    await make_exchange(InMemoryTransport(web), GateTable({}))(question())
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize("caller_seconds", [1.5, None])
async def test_a_retry_after_beyond_the_callers_time_is_not_waited_for(
    web: RuledServer, caller_seconds: float | None
) -> None:
    """Without a time of the caller's, the question's own timeout counts."""
    web.answer("*", document({}, 503, retry_after="11" if caller_seconds is None else "2"), GIVEN)
    with anyio.fail_after(caller_seconds):
        error = await fail(web, question())
    assert error.body.code == "provider_overloaded"
    assert len(web.seen) == 1


async def test_a_rate_limit_keeps_out_everybody_who_asks_that_server(web: RuledServer) -> None:
    web.answer("*", document({}, 429, retry_after_ms="50"), GIVEN)
    gates = GateTable({})
    exchange = make_exchange(InMemoryTransport(web), gates)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(exchange, question())
        while not (retry_after_ms := gates.find_server_gate(GATE, URL).state.retry_after_ms):
            await anyio.lowlevel.checkpoint()
        began = time.monotonic()
        await exchange(question())
        assert (time.monotonic() - began) * 1000 >= retry_after_ms - 1
    assert len(web.seen) == 3


async def test_an_error_does_not_repeat_what_the_question_carries(web: RuledServer) -> None:
    web.answer("*", fake_services.Answer(b"no such token: CANARY-1234567890", 400))
    error = await fail(web, question(secrets=(Secret("CANARY-1234567890", "store"),)))
    assert error.body.message == "no such token: [redacted]"


async def test_without_a_classifier_every_answer_is_returned(web: RuledServer) -> None:
    web.answer("*", document({"error": "authorization_pending"}, 400))
    asked = Question(request=question().request, timeouts=HttpTimeouts(), max_attempts=3)
    answer = await make_exchange(InMemoryTransport(web), GateTable({}))(asked)
    assert (answer.status, answer.read_object()) == (400, {"error": "authorization_pending"})
    assert len(web.seen) == 1


@pytest.mark.parametrize("url", ["https://host:port/", "https://[::1"])
async def test_an_invalid_address_is_left_to_the_http_client(web: RuledServer, url: str) -> None:
    web.answer("*", SidecarError("invalid_request", "No such address."))
    assert (await fail(web, question(url=url))).body.code == "invalid_request"


def test_questions_with_other_credentials_have_other_gates() -> None:
    gates = GateTable({})
    url, own, other = "https://login.test/token", (Secret("a" * 20, "store"),), (Secret("b" * 20, "store"),)
    assert gates.find_server_gate("exchange", url, own) is gates.find_server_gate("exchange", url, own)
    assert gates.find_server_gate("exchange", url, own) is not gates.find_server_gate("exchange", url, other)
    assert gates.find_server_gate("exchange", url) is gates.find_server_gate("exchange", f"{url}?again")
