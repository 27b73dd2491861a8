"""What providers answer: how long is waited, what is asked again, and who else has to wait."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.generation.faults.conftest import Run
from tests.generation.faults.test_wires import waits
from tests.support.fake_provider import CLOSE, RESET, STALL, Pause, Provider, Repeat, Step
from tests.support.lines import Object, text
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, OPENAI, document, head, stream

SOON = {"retry_after_ms": "1"}

SAID = {"error": {"message": "No."}}


def refusal(status: int, said: object = SAID, **headers: str) -> list[Step]:
    return document(said, status, **headers)


def dated(seconds: float) -> dict[str, str]:
    """Return headers of a provider whose clock is an hour off and that wants to be asked again after so long."""
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    return {"date": format_datetime(now), "retry_after": format_datetime(now + timedelta(seconds=seconds))}


@pytest.mark.parametrize(
    ("headers", "least_ms", "most_ms"),
    [
        ({"retry_after_ms": "150"}, 150, 190),
        ({"x_ms_retry_after_ms": "150"}, 150, 190),
        ({"retry_after": "0.15"}, 150, 190),
        (dated(1), 1000, 1250),
        ({"retry_after_ms": "150", "retry_after": "40"}, 150, 190),
    ],
)
def test_a_time_that_the_provider_names_is_waited(
    sidecar: Program, provider: Provider, headers: dict[str, str], least_ms: int, most_ms: int
) -> None:  # E01, I07
    provider.play_in_turn("m", refusal(429, **headers), ANTHROPIC.answer("fine"))
    lines = sidecar.stream(sidecar.chat("m"))
    assert text(lines) == "fine"
    [told] = waits(lines)
    assert least_ms <= told["wait_ms"] <= most_ms
    assert provider.call("m", 1).at - provider.call("m").at >= least_ms / 1000


def test_headers_of_a_spent_limit_hold_the_next_request(sidecar: Program, provider: Provider) -> None:  # E01
    spent = {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "300ms"}
    answer = stream([OPENAI.opening, OPENAI.text("fine"), OPENAI.closing], **spent)
    for _ in range(2):
        assert text(sidecar.stream(sidecar.chat(provider.play("m", answer), OPENAI))) == "fine"
    first, second = provider.calls("m")
    assert second.at - first.at >= 0.29


@pytest.mark.parametrize("value", ["0", "-5", "abc", "1e12", "nan", "inf", "", "Wed, 21 Oct 2015 07:28:00 GMT", "1, 2"])
def test_a_time_that_is_none_is_ignored(sidecar: Program, provider: Provider, value: str) -> None:  # E02
    provider.play_in_turn(
        "m", refusal(429, retry_after=value, date=format_datetime(datetime.now(UTC))), ANTHROPIC.answer("fine")
    )
    lines = sidecar.stream(sidecar.chat("m"))
    assert text(lines) == "fine"
    [told] = waits(lines)
    assert 0 <= told["wait_ms"] <= 1000


@pytest.mark.parametrize(
    ("headers", "envelope", "told_ms"),
    [({"retry_after": "86400"}, {}, 86_400_000), ({"retry_after": "5"}, {"timeout": 3000}, 5000)],
)
def test_a_time_that_is_too_long_is_left_to_the_host(
    run: Run, provider: Provider, headers: dict[str, str], envelope: Object, told_ms: int
) -> None:  # E03
    provider.play("m", refusal(429, **headers))
    with run() as sidecar:
        begun = time.monotonic()
        error = sidecar.reply(sidecar.chat("m", **envelope))["error"]
    assert (error["code"], error["retry_after_ms"], error["attempts"]) == ("rate_limited", told_ms, 1)
    assert time.monotonic() - begun < 2


def test_without_a_time_the_waits_are_our_own(sidecar: Program, provider: Provider) -> None:  # E04
    provider.play_in_turn("m", refusal(429), refusal(429), ANTHROPIC.answer("fine"))
    lines = sidecar.stream(sidecar.chat("m"))
    assert text(lines) == "fine"
    first, second = waits(lines)
    assert 0 <= first["wait_ms"] <= 1000
    assert 0 <= second["wait_ms"] <= 2000
    assert [each.get("code") for each in lines[-1].data["data"]["attempts"]] == ["rate_limited", "rate_limited", None]


def test_after_a_rate_limit_one_of_twenty_tries_first(run: Run, provider: Provider) -> None:  # E05
    gate = provider.gate()
    held: list[Step] = [gate, *ANTHROPIC.answer("fine")]
    provider.play("limited", refusal(429, retry_after_ms="400"))
    provider.play_in_turn("queued", held, ANTHROPIC.answer("fine"))
    provider.play("other", ANTHROPIC.answer("fine"))
    with run() as sidecar:
        limited = sidecar.chat("limited")
        provider.call("limited")
        # The limit is known here once the process has answered what came after it.
        other = sidecar.params("other", api_key="sk-another-key")
        assert sidecar.ask("stream_chat", other, provider="anthropic")["success"]
        ids = [sidecar.chat("queued") for _ in range(20)]
        [held_up] = gates(sidecar)
        assert (held_up["state"], held_up["queued"]) == ("limited", 20)
        assert 0 < held_up["retry_after_ms"] <= 400
        assert not provider.calls("queued")
        assert sidecar.ask("stream_chat", other, provider="anthropic")["success"]
        probe = provider.call("queued")
        assert probe.at - provider.call("limited").at >= 0.4
        sidecar.ping()
        assert len(provider.calls("queued")) == 1
        assert not gates(sidecar)[0].get("retry_after_ms")
        gate.open()
        assert all(sidecar.stream(each)[-1].data["success"] for each in ids)
        assert len(provider.calls("queued")) == 20
        sidecar.send("cancel", {"id": limited})
        sidecar.stream(limited)


def gates(sidecar: Program) -> list[Object]:
    """Return the gates of the provider that hold requests up."""
    rows = sidecar.ask("list_providers")["data"]["providers"]
    found: list[Object] = next(row for row in rows if row["id"] == "anthropic").get("gates", [])
    return found


FOR_GOOD = [
    (400, SAID, "invalid_request"),
    (401, SAID, "auth_failed"),
    (402, SAID, "quota_exceeded"),
    (403, SAID, "permission_denied"),
    (404, SAID, "model_not_found"),
    (413, SAID, "invalid_request"),
    (422, SAID, "invalid_request"),
    (429, {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}, "quota_exceeded"),
    (301, SAID, "provider_error"),
]


def test_what_is_refused_for_good_is_asked_once(
    sidecar: Program, provider: Provider
) -> None:  # D22, E06, E08, E09, E11, E12
    for number, (status, said, code) in enumerate(FOR_GOOD):
        name = provider.play(f"refused-{number}", refusal(status, said))
        error = sidecar.reply(sidecar.chat(name, OPENAI))["error"]
        assert (error["code"], error["attempts"], error["retryable"]) == (code, 1, False)
        assert len(provider.calls(name)) == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (408, "provider_error"),
        (409, "provider_error"),
        (500, "provider_error"),
        (502, "provider_error"),
        (503, "provider_overloaded"),
        (504, "provider_error"),
        (520, "provider_error"),
        (524, "provider_error"),
        (529, "provider_overloaded"),
    ],
)
def test_an_outage_is_asked_three_times(sidecar: Program, provider: Provider, status: int, code: str) -> None:  # E07
    page = b"<html><title>cloudflare</title></html>"
    begun = b"HTTP/1.1 %d Oh\r\nretry-after-ms: 1\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n"
    provider.play("m", [begun % (status, len(page)) + page])
    error = sidecar.reply(sidecar.chat("m"))["error"]
    assert (error["code"], error["provider_status"], error["attempts"]) == (code, status, 3)
    assert "<" not in error["message"]


OVERLOADED = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'


def test_an_error_as_the_first_event_is_asked_again_and_a_later_one_is_not(
    sidecar: Program, provider: Provider
) -> None:  # E15, E16
    provider.play_in_turn("m", stream([OVERLOADED]), stream([ANTHROPIC.opening, OVERLOADED]), ANTHROPIC.answer("fine"))
    lines = sidecar.stream(sidecar.chat("m"))
    assert text(lines) == "fine"
    assert [wait["code"] for wait in waits(lines)] == ["provider_overloaded"] * 2
    provider.play("later", stream([ANTHROPIC.opening, ANTHROPIC.text("so far"), OVERLOADED]))
    lines = sidecar.stream(sidecar.chat("later"))
    error = lines[-1].data["error"]
    assert (error["code"], error["attempts"], error["partial"]) == ("provider_overloaded", 1, True)


def test_a_key_that_is_refused_once_is_tried_again_later(sidecar: Program, provider: Provider) -> None:  # E25
    gate = provider.gate()
    provider.play("alive", [*ANTHROPIC.begun("so "), gate, *stream([ANTHROPIC.text("far"), ANTHROPIC.closing])[1:]])
    provider.play_in_turn("m", refusal(401), ANTHROPIC.answer("fine"))
    alive = sidecar.chat("alive")
    sidecar.chunk(alive, 1)
    assert sidecar.reply(sidecar.chat("m"))["error"]["code"] == "auth_failed"
    assert sidecar.reply(sidecar.chat("m"))["success"]
    gate.open()
    assert text(sidecar.stream(alive)) == "so far"


def test_the_model_that_answered_is_named(sidecar: Program, provider: Provider) -> None:  # E26
    done = sidecar.reply(sidecar.chat(provider.play("m", ANTHROPIC.answer("x"))))["data"]
    assert done["model"] == "claude-x"


@pytest.mark.parametrize(("status", "word", "attempts"), [(500, "false", 1), (400, "true", 3), (429, "false", 1)])
def test_a_provider_that_says_whether_to_ask_again_is_obeyed(
    sidecar: Program, provider: Provider, status: int, word: str, attempts: int
) -> None:  # E28
    provider.play("m", refusal(status, x_should_retry=word, **SOON))
    error = sidecar.reply(sidecar.chat("m"))["error"]
    assert (error["provider_status"], error["attempts"]) == (status, attempts)


@pytest.mark.parametrize(
    "rest", [[Repeat(b"x" * 65536, 1600), STALL], [b'{"error":', STALL]], ids=["100 MB", "never ends"]
)
def test_an_error_without_end_is_told_by_its_beginning(
    sidecar: Program, provider: Provider, rest: list[Step]
) -> None:  # D24
    provider.play("m", [head(500, content_length="999999999", x_should_retry="false"), *rest])
    begun = time.monotonic()
    error = sidecar.reply(sidecar.chat("m"))["error"]
    assert (error["code"], error["provider_status"], error["attempts"]) == ("provider_error", 500, 1)
    assert time.monotonic() - begun < 7
    call = provider.call("m")
    provider.closed(call)
    assert call.sent_bytes < 16 * 1024 * 1024


# --- time ------------------------------------------------------------------------------------


def test_no_wait_is_begun_that_cannot_end_in_time(sidecar: Program, provider: Provider) -> None:  # I02
    begun = time.monotonic()
    error = sidecar.reply(sidecar.chat(provider.play("m", refusal(500)), timeout=900))["error"]
    assert (error["code"], error["retryable"], error["attempts"]) == ("provider_error", True, 1)
    assert time.monotonic() - begun < 0.8


def test_a_deadline_is_over_all_attempts(sidecar: Program, provider: Provider) -> None:  # I04
    provider.play("m", [Pause(0.8), *refusal(500, **SOON)])
    begun = time.monotonic()
    error = sidecar.reply(sidecar.chat("m", timeout=2500))["error"]
    assert error["attempts"] <= 2
    assert time.monotonic() - begun <= 2.6


def test_a_deadline_in_the_wait_for_a_turn(run: Run, provider: Provider) -> None:  # I01
    provider.play("holder", ANTHROPIC.begun("x", provider.gate()))
    with run(SIDECAR_CONCURRENCY="1") as sidecar:
        holder = sidecar.chat("holder")
        sidecar.chunk(holder, 1)
        begun = time.monotonic()
        end = sidecar.stream(sidecar.chat("m", timeout=300))[-1]
        error = end.data["error"]
        assert (error["code"], error["phase"], error["reason"]) == ("timeout", "queue", "deadline")
        assert 0.3 <= end.at - begun <= 0.4
        sidecar.send("cancel", {"id": holder})
        sidecar.stream(holder)
        assert "attempts" not in error
    assert not provider.calls("m")


OUTAGES: dict[str, list[Step]] = {
    "503": refusal(503),
    "500": refusal(500),
    "529 in the stream": stream([OVERLOADED]),
    "reset": [RESET],
    "closed": [CLOSE],
    "cut": stream([ANTHROPIC.opening]),
}


@pytest.mark.long
@pytest.mark.parametrize("is_warm", [False, True], ids=["new", "warm"])
@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_is_not_answered_with_a_storm(
    run: Run, provider: Provider, outage: str, is_warm: bool
) -> None:  # I05
    with run() as sidecar:
        if is_warm:
            # A hundred connections that the outage meets idle.
            gate = provider.gate()
            provider.play("warm", [gate, *ANTHROPIC.answer("up")])
            ids = [sidecar.chat("warm") for _ in range(100)]
            provider.call("warm", 99)
            gate.open()
            assert all(sidecar.reply(each)["success"] for each in ids)
        provider.play("m", OUTAGES[outage])
        ids = [sidecar.chat("m") for _ in range(100)]
        errors = [sidecar.reply(each)["error"] for each in ids]
        assert len({error["code"] for error in errors}) == 1
        assert errors[0]["code"] in ("provider_overloaded", "provider_error", "network_error", "stream_interrupted")
        if outage == "503":
            [gate_of_it] = gates(sidecar)
            assert gate_of_it["state"] == "open"
    assert 100 < len(provider.calls("m")) <= 135


def test_a_fallback_is_asked_when_the_first_is_down(run: Run, provider: Provider) -> None:
    provider.play("down", refusal(503, **SOON))
    provider.play("up", OPENAI.answer("fine"))
    env = {"ANTHROPIC_API_KEY": "sk-1", "OPENAI_API_KEY": "sk-2"}
    places = {f"SIDECAR_{name}_BASE_URL": provider.url + base for name, base in (("ANTHROPIC", ""), ("OPENAI", "/v1"))}
    chat = {"model": "down", "messages": [{"role": "user", "content": "Hi"}]}
    options = {"fallbacks": ["openai/up"], "wire": None}
    with run(**env, **places) as sidecar:
        sidecar.ask("initialize", {"events": ["status"]})
        for attempts in (3, 3, 0):
            before = len(provider.calls("down"))
            lines = sidecar.stream(sidecar.send("stream_chat", chat | {"options": options}, provider="anthropic"))
            assert lines[-1].data["success"], lines[-1].data
            assert lines[-1].data["data"]["provider"] == "openai"
            assert len(provider.calls("down")) - before == attempts
            states = [line.data["data"]["state"] for line in lines if line.data["data"]["type"] == "status"]
            assert states[-1] == "falling_back"


def test_a_connection_closed_before_its_reply_ends_in_one_error(sidecar: Program, provider: Provider) -> None:  # D06
    error = sidecar.reply(sidecar.chat(provider.play("m", [CLOSE])))["error"]
    assert (error["code"], error["attempts"]) == ("network_error", 3)
