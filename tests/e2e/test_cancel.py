"""`cancel` and `timeout`: the terminal line comes at once and the provider's connection is closed."""

import time

import pytest

from tests.support import process_probes
from tests.support.fake_provider import STALL, Pause, Provider
from tests.support.process import Id, Sidecar, in_time, text
from tests.support.reply_scripts import ANTHROPIC, SHAPES, Shape, stream
from tests.support.stalling_providers import PHASES, Phase, lively, stalled

pytestmark = pytest.mark.alone

ENDED_SECONDS = 0.05
CLOSED_SECONDS = 0.25


def cancel(sidecar: Sidecar, request_id: Id) -> tuple[float, float]:
    """Cancel a request, and return when it was asked for and how many seconds its end took."""
    asked_at = time.monotonic()
    acknowledgement = sidecar.send("cancel", {"id": request_id})
    end = sidecar.stream(request_id)[-1]
    assert end.code == "cancelled"
    assert sidecar.reply(acknowledgement)["data"] == {"found": True}
    return asked_at, end.at - asked_at


@process_probes.linux_only
@pytest.mark.parametrize("phase", PHASES)
def test_a_request_is_cancelled_whatever_it_waits_for(warm: Sidecar, provider: Provider, phase: Phase) -> None:  # G03
    def measure() -> float:
        with stalled(warm, provider, phase) as request_id:
            asked_at, seconds = cancel(warm, request_id)
            provider.disconnected()
            assert time.monotonic() - asked_at <= CLOSED_SECONDS
        return seconds

    in_time(measure, ENDED_SECONDS)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.wire)
def test_a_stream_in_full_flow_is_cancelled(warm: Sidecar, provider: Provider, shape: Shape) -> None:  # G04, G12
    def measure() -> float:
        provider.forget()
        request_id = warm.chat(provider.play("m", lively(shape)), shape)
        warm.chunk(request_id, 5)
        asked_at, seconds = cancel(warm, request_id)
        assert provider.closed(provider.call("m")) - asked_at <= CLOSED_SECONDS
        *chunks, end = warm.lines_of(request_id)
        error = end.data["error"]
        assert (error["partial"], error["partial_seq"], error["retryable"]) == (True, chunks[-1].data["seq"], False)
        assert error["usage"]["estimated"] is True
        assert error["usage"]["output_tokens"] >= 1
        if shape is ANTHROPIC:
            assert error["usage"]["input_tokens"] == 10
        return seconds

    in_time(measure, ENDED_SECONDS)


def test_generate_is_cancelled_with_nothing_delivered(warm: Sidecar, provider: Provider) -> None:
    request_id = warm.chat(provider.play("m", lively()), action="generate")
    provider.sent(provider.call("m"), 5)
    cancel(warm, request_id)
    assert warm.lines_of(request_id)[-1].data["error"]["partial"] is False


def test_a_listing_is_cancelled(warm: Sidecar, provider: Provider) -> None:
    provider.play("/v1/models?limit=1000", [STALL])
    key_and_place = {name: warm.params("m")[name] for name in ("api_key", "base_url")}
    request_id = warm.send("list_models", key_and_place, provider="anthropic")
    call = provider.call("/v1/models?limit=1000")
    asked_at, _ = cancel(warm, request_id)
    assert provider.closed(call) - asked_at <= CLOSED_SECONDS


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_are_cancelled_at_once(warm: Sidecar, provider: Provider, count: int) -> None:  # G10
    warm.max_growth_bytes *= 2
    provider.play("m", ANTHROPIC.begun("x", STALL))
    ids = [warm.chat("m") for _ in range(count)]
    for request_id in ids:
        warm.chunk(request_id, 1)
    asked_at = time.monotonic()
    for request_id in ids:
        warm.send("cancel", {"id": request_id})
    for request_id in ids:
        end = warm.stream(request_id)[-1]
        assert end.code == "cancelled"
        assert end.at - asked_at <= 1
    provider.hung_up("m", count)
    assert time.monotonic() - asked_at <= 1 + CLOSED_SECONDS


def test_what_is_not_open_cannot_be_cancelled(warm: Sidecar, provider: Provider) -> None:  # G07
    nothing = {"found": False}
    assert warm.ask("cancel", {"id": "never"})["data"] == nothing
    warm.stream(warm.chat(provider.play("m", ANTHROPIC.answer("over")), id="over"))
    assert warm.ask("cancel", {"id": "over"})["data"] == nothing
    with stalled(warm, provider, "body", id="twice"):
        cancel(warm, "twice")
        assert warm.ask("cancel", {"id": "twice"})["data"] == nothing
        assert warm.ask("cancel", {"id": "twice"}, id="twice")["data"] == nothing


def test_cancel_and_the_natural_end_at_the_same_time_make_one_end(sidecar: Sidecar, provider: Provider) -> None:  # G08
    for step in range(30):
        provider.play(
            f"m{step}", stream([ANTHROPIC.opening, ANTHROPIC.text("a"), Pause(step / 20_000), ANTHROPIC.closing])
        )
    codes = set()
    for turn in range(300):
        request_id = sidecar.chat(f"m{turn % 30}")
        sidecar.chunk(request_id, 1)
        acknowledgement = sidecar.send("cancel", {"id": request_id})
        end = sidecar.stream(request_id)[-1]
        found = sidecar.reply(acknowledgement)["data"]["found"]
        assert (end.code == "cancelled") is found
        codes.add(end.code)
    assert codes == {None, "cancelled"}


def test_a_cancelled_id_can_be_used_at_once(sidecar: Sidecar, provider: Provider) -> None:  # G09
    provider.play("old", lively())
    provider.play("new", ANTHROPIC.answer("new"))
    for _ in range(20):
        sidecar.chat("old", id="same")
        sidecar.chunk("same", 2)
        sidecar.send("cancel", {"id": "same"})
        assert sidecar.stream("same")[-1].code == "cancelled"
        sidecar.chat("new", id="same")
        assert text(sidecar.stream("same")) == "new"


TOLD = {"connect": "connect", "tls": "connect", "headers": "headers", "error": "idle", "body": "idle"}
"""Phase → how an error names it."""


@process_probes.linux_only
@pytest.mark.parametrize("phase", PHASES)
def test_the_timeout_of_a_request_is_over_everything(warm: Sidecar, provider: Provider, phase: Phase) -> None:  # I01
    def measure() -> float:
        start = time.monotonic()
        with stalled(warm, provider, phase, timeout=300) as request_id:
            end = warm.stream(request_id)[-1]
        error = end.data["error"]
        assert (error["code"], error["phase"], error["retryable"]) == ("timeout", TOLD[phase], True)
        assert error["reason"] == "deadline"
        assert error["partial"] is (phase == "body")
        assert end.at - start >= 0.3
        provider.disconnected()
        return end.at - start

    in_time(measure, 0.4)


@process_probes.linux_only
@pytest.mark.parametrize(
    ("phase", "option", "told"),
    [("connect", "connect_ms", "connect"), ("headers", "first_byte_ms", "headers"), ("body", "idle_ms", "idle")],
)
def test_each_phase_has_a_limit_of_its_own(
    sidecar: Sidecar, provider: Provider, phase: Phase, option: str, told: str
) -> None:  # D04, D05, D11
    with stalled(sidecar, provider, phase, {option: 200}) as request_id:
        error = sidecar.reply(request_id)["error"]
    assert (error["code"], error["phase"]) == ("timeout", told)
    assert error["partial"] is (phase == "body")
