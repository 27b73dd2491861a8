"""The network and HTTP: what is asked again, what is not, and what is never taken for an answer."""

import gzip
import os
import socket
import time
from pathlib import Path
from typing import get_args

import pytest

from sidecar.core.http import ClientName
from tests.e2e.faults.conftest import Spawn
from tests.support import process_probes
from tests.support.fake_provider import CLOSE, RESET, STALL, Act, Pause, Provider, Repeat, Step
from tests.support.listening_provider import ListeningProvider
from tests.support.process import ROOT, Object, Sidecar, in_time, text
from tests.support.raw_servers import early, listening, silent, tls
from tests.support.reply_scripts import ANTHROPIC, SSE, head, opened, stream, whole
from tests.support.stalling_providers import full_house

pytestmark = pytest.mark.alone

RETRIED_SECONDS = 20.0


@pytest.fixture(scope="module", params=get_args(ClientName))
def client(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the variable for each of the clients in turn: what a network does is told alike by both."""
    return {"SIDECAR_HTTP": request.param}


SOON = {"retry_after_ms": "1"}
"""A provider that wants to be asked again at once."""


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def ended(sidecar: Sidecar, model: str, base_url: str | None = None, **timeouts: int) -> Object:
    """Return the terminal line of a chat."""
    params = sidecar.params(model)
    params["options"]["timeouts"] = timeouts
    if base_url:
        params["base_url"] = base_url
    return sidecar.reply(sidecar.send("stream_chat", params, provider="anthropic"), RETRIED_SECONDS)


def failed(sidecar: Sidecar, model: str, base_url: str | None = None, **timeouts: int) -> Object:
    """Return the error of a chat that fails."""
    error: Object = ended(sidecar, model, base_url, **timeouts)["error"]
    return error


def test_a_refused_connection_is_tried_three_times(sidecar: Sidecar) -> None:  # D01
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        error = failed(sidecar, "m", f"http://127.0.0.1:{nobody.getsockname()[1]}")
    assert (error["code"], error["reason"], error["attempts"]) == ("network_error", "refused", 3)


def test_a_name_that_nobody_has(sidecar: Sidecar) -> None:  # D02
    error = failed(sidecar, "m", "https://nothing.invalid")
    assert (error["code"], error["reason"]) == ("network_error", "dns")
    assert error["attempts"] == (3 if error["retryable"] else 1)


RESOLVER = """
import socket, threading
_known = socket.getaddrinfo
def getaddrinfo(host, *arguments, **options):
    name = host.decode() if isinstance(host, bytes) else host
    if name == "deaf.example":
        threading.Event().wait()
    if name == "busy.example":
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return _known(host, *arguments, **options)
socket.getaddrinfo = getaddrinfo
"""


@process_probes.posix_only
def test_a_name_server_that_fails_is_asked_again_and_one_that_is_deaf_holds_up_no_other_name(
    tmp_path: Path, spawn: Spawn, provider: Provider
) -> None:  # D02, H04
    (tmp_path / "resolver").mkdir()
    (tmp_path / "resolver" / "sitecustomize.py").write_text(RESOLVER, encoding="ascii")
    provider.play("m", ANTHROPIC.answer("fine"))
    with spawn(PYTHONPATH=os.pathsep.join((str(tmp_path / "resolver"), str(ROOT)))) as sidecar:
        # More than the event loop has threads of its own.
        params = sidecar.params("m", base_url="https://deaf.example")
        waiting = [sidecar.send("stream_chat", params, provider="anthropic") for _ in range(40)]
        assert ended(sidecar, "m", provider.url.replace("127.0.0.1", "localhost"), first_byte_ms=2000)["success"]
        error = failed(sidecar, "m", "https://busy.example", connect_ms=2000)
        assert (error["code"], error["reason"], error["attempts"]) == ("network_error", "dns", 3)
        for request_id in waiting:
            sidecar.send("cancel", {"id": request_id})
        assert {sidecar.reply(request_id)["error"]["code"] for request_id in waiting} == {"cancelled"}


@pytest.mark.parametrize(
    ("fault", "server", "trusted", "hint"),
    [
        ("signed by itself", {}, False, "SSL_CERT_FILE"),
        ("expired", {"days": -1}, True, "Check the clock"),
        ("for another host", {"name": "elsewhere.example"}, True, "base_url"),
        ("too old a version", {"version": "TLSv1"}, True, "TLS 1.2"),
    ],
)
def test_tls_that_cannot_be_trusted_is_not_tried_again(
    spawn: Spawn, tmp_path: Path, fault: str, server: Object, trusted: bool, hint: str
) -> None:  # D03
    with (
        tls(tmp_path, **server) as (listener, root),
        spawn(**({"SSL_CERT_FILE": str(root)} if trusted else {})) as sidecar,
    ):
        error = failed(sidecar, "m", f"https://127.0.0.1:{listener.port}")
        root.unlink()
    assert (error["code"], error["reason"], error["retryable"]) == ("network_error", "tls", False), fault
    assert (error["attempts"], len(listener.came)) == (1, 1)
    assert "verify" not in str(error)
    assert hint in error["hint"]


@process_probes.linux_only
def test_a_handshake_that_stalls_is_tried_again(sidecar: Sidecar) -> None:  # D03
    with listening(silent) as listener:
        error = failed(sidecar, "m", f"https://127.0.0.1:{listener.port}", connect_ms=150)
    assert (error["code"], error["phase"], error["attempts"]) == ("timeout", "connect", 3)


@process_probes.linux_only
def test_a_server_that_never_accepts_is_tried_again(sidecar: Sidecar) -> None:  # D04
    with full_house() as port:
        error = failed(sidecar, "m", f"http://127.0.0.1:{port}", connect_ms=150)
    assert (error["code"], error["phase"], error["attempts"]) == ("timeout", "connect", 3)


TWO_FAMILIES = """
import socket
_known = socket.getaddrinfo
def getaddrinfo(host, port, *arguments, **options):
    if host not in ("localhost", b"localhost"):
        return _known(host, port, *arguments, **options)
    kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    return [(socket.AF_INET6, *kind, ("::1", port, 0, 0)), (socket.AF_INET, *kind, ("127.0.0.1", port))]
socket.getaddrinfo = getaddrinfo
"""


@process_probes.linux_only
@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 on this machine")
def test_an_ipv6_that_swallows_everything_costs_half_a_second_at_most(tmp_path: Path, spawn: Spawn) -> None:  # D28
    (tmp_path / "families").mkdir()
    (tmp_path / "families" / "sitecustomize.py").write_text(TWO_FAMILIES, encoding="ascii")
    path = os.pathsep.join((str(tmp_path / "families"), str(ROOT)))
    # A server of its own, to which no other process keeps a connection.
    with ListeningProvider() as provider:
        url = provider.url.replace("127.0.0.1", "localhost")
        # The connection is closed after it, so that each time there must be a new one.
        provider.play("m", [*ANTHROPIC.answer("fine"), CLOSE])
        with full_house("::1", provider.port), spawn(PYTHONPATH=path) as sidecar:
            assert ended(sidecar, "m", url)["success"]

            def measure() -> float:
                provider.disconnected()
                begun = time.monotonic()
                done = ended(sidecar, "m", url)
                assert (done["success"], len(done["data"]["attempts"])) == (True, 1)
                return time.monotonic() - begun

            in_time(measure, 0.5)
            # It was tried, and first.
            provider.disconnected()
            begun = time.monotonic()
            assert ended(sidecar, "m", url)["success"]
            assert time.monotonic() - begun > 0.2


def test_a_server_that_never_answers_is_tried_again(sidecar: Sidecar, provider: Provider) -> None:  # D05
    error = failed(sidecar, provider.play("m", [STALL]), first_byte_ms=150)
    assert (error["code"], error["phase"], error["attempts"]) == ("timeout", "headers", 3)
    assert len(provider.calls("m")) == 3


@pytest.mark.parametrize("end", [RESET, CLOSE], ids=["RST", "FIN"])
def test_a_connection_that_breaks_before_the_head_is_tried_again(
    sidecar: Sidecar, provider: Provider, end: Act
) -> None:  # D06
    half: list[Step] = [b"HTTP/1.1 200 OK\r\ncont", end]
    provider.play_in_turn("m", half, ANTHROPIC.answer("fine"))
    lines = sidecar.stream(sidecar.chat("m"))
    assert text(lines) == "fine"
    assert [each.get("code") for each in lines[-1].data["data"]["attempts"]][-1] is None


def test_an_idle_connection_that_closes_as_it_is_used_goes_unnoticed(
    sidecar: Sidecar, provider: Provider
) -> None:  # D07
    sidecar.stream(sidecar.chat(provider.play("warm", ANTHROPIC.answer("warm"))))
    provider.play_in_turn("m", [CLOSE], ANTHROPIC.answer("fine"))
    lines = sidecar.stream(sidecar.chat("m"))
    assert text(lines) == "fine"
    assert len(lines[-1].data["data"]["attempts"]) == 1
    assert provider.call("m").connection == provider.call("warm").connection
    assert provider.call("m", 1).connection != provider.call("m").connection


@pytest.mark.parametrize(("stale", "is_answered"), [(2, True), (3, True), (4, False)])
def test_so_many_idle_connections_are_replaced(
    spawn: Spawn, provider: Provider, stale: int, is_answered: bool
) -> None:  # D07
    with spawn(SIDECAR_MAX_ATTEMPTS="1") as sidecar:
        gate = provider.gate()
        ids = [sidecar.chat(provider.play("warm", [gate, *ANTHROPIC.answer("warm")])) for _ in range(5)]
        provider.call("warm", 4)
        gate.open()
        assert all(sidecar.reply(each)["success"] for each in ids)
        provider.play_in_turn("m", *[[CLOSE]] * stale, ANTHROPIC.answer("fine"))
        assert sidecar.reply(sidecar.chat("m"))["success"] is is_answered


@pytest.mark.parametrize("begun", [False, True])
def test_signs_of_life_are_no_content(sidecar: Sidecar, provider: Provider, begun: bool) -> None:  # D12
    pings: list[Step] = [Pause(0.02), b": ping\n\n"]
    provider.play("m", [*ANTHROPIC.begun(*(["so far"] if begun else [])), *opened(pings * 100)[1:], STALL])
    error = failed(sidecar, "m", progress_ms=200, idle_ms=5000)
    assert (error["code"], error["phase"], error["partial"]) == ("timeout", "progress", begun)
    assert error["attempts"] == 1
    provider.closed(provider.call("m"))


def test_a_reply_that_trickles_ends_at_the_deadline(sidecar: Sidecar, provider: Provider) -> None:  # D13
    trickle = [step for byte in ANTHROPIC.text("x" * 500) for step in (Pause(0.02), b"1\r\n%c\r\n" % byte)]
    provider.play("m", [*ANTHROPIC.begun(), *trickle])
    begun = time.monotonic()
    error = sidecar.reply(sidecar.chat("m", timeout=400))["error"]
    assert (error["code"], error["reason"], error["phase"]) == ("timeout", "deadline", "idle")
    assert 0.4 <= time.monotonic() - begun < 1


def test_an_event_without_end_is_given_up(sidecar: Sidecar, provider: Provider) -> None:  # D16
    provider.play("m", [*ANTHROPIC.begun("x"), b"fffffff\r\ndata: ", Repeat(b"y" * 65536, 1600), STALL])
    error = failed(sidecar, "m")
    assert (error["code"], error["reason"], error["partial"]) == ("provider_error", "event_too_large", True)
    call = provider.call("m")
    provider.closed(call)
    assert call.sent_bytes < 40 * 1024 * 1024


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate, gzip"])
def test_a_compressed_reply_is_not_unfolded(sidecar: Sidecar, provider: Provider, encoding: str) -> None:  # D20, D21
    bomb = gzip.compress(b"data: " + b"\0" * 8_000_000)
    provider.play("m", whole(bomb, content_type=SSE, content_encoding=encoding))
    error = failed(sidecar, "m")
    assert (error["code"], error["reason"], error["attempts"]) == ("provider_error", "content_encoding", 1)
    provider.play("e", whole(bomb, 500, content_encoding=encoding, **SOON))
    error = failed(sidecar, "e")
    assert (error["code"], error["provider_status"], error["attempts"]) == ("provider_error", 500, 3)
    assert provider.call("m").headers["accept-encoding"] == "identity"


def body(*headers: str) -> bytes:
    """Return a head with those lines, and a bit of a body."""
    return "\r\n".join(["HTTP/1.1 200 OK", *headers, "", "4\r\ndata"]).encode()


MALFORMED: dict[str, list[Step]] = {
    "a status of words": [b"HTTP/1.1 fine thanks\r\n\r\n", CLOSE],
    "another protocol": [b"SSH-2.0-OpenSSH_9.9\r\n\r\n", CLOSE],
    "a negative length": [body("content-length: -1"), CLOSE],
    "two lengths": [body("content-length: 3", "content-length: 4"), CLOSE],
    "an unknown transfer encoding": [body("transfer-encoding: cookies"), CLOSE],
    "a head of 200 KB": [body("x: " + "y" * 200_000), CLOSE],
    "a chunk without a size": [head(content_type=SSE, transfer_encoding="chunked"), b"zz\r\n", CLOSE],
    "a chunk of negative size": [head(content_type=SSE, transfer_encoding="chunked"), b"-5\r\nhello\r\n", CLOSE],
}


def test_what_is_no_http_is_tried_once_more(sidecar: Sidecar, provider: Provider) -> None:  # D23
    ids = {name: sidecar.chat(provider.play(name, steps)) for name, steps in MALFORMED.items()}
    for name, request_id in ids.items():
        error = sidecar.reply(request_id, RETRIED_SECONDS)["error"]
        assert (error["code"], error["reason"], error["attempts"]) == ("provider_error", "protocol", 2), name
    provider.quiet()
    assert text(sidecar.stream(sidecar.chat(provider.play("fine", ANTHROPIC.answer("fine"))))) == "fine"


def test_a_flood_of_provisional_replies_ends_with_the_first_byte_limit(
    sidecar: Sidecar, provider: Provider
) -> None:  # D23
    provider.play("m", [Repeat(b"HTTP/1.1 102 Processing\r\n\r\n", 1000), STALL])
    error = failed(sidecar, "m", first_byte_ms=200)
    assert (error["code"], error["phase"]) == ("timeout", "headers")


def test_a_network_that_comes_back_serves_all_that_waited(spawn: Spawn, provider: Provider) -> None:  # D27
    half: list[Step] = [b"HTTP", RESET]
    provider.play_in_turn("m", *[half] * 25, ANTHROPIC.answer("fine"))
    with spawn() as sidecar:
        lines = [sidecar.stream(request_id, RETRIED_SECONDS) for request_id in [sidecar.chat("m") for _ in range(20)]]
    ends = [each[-1] for each in lines]
    assert {end.code for end in ends} <= {None, "network_error"}
    assert sum(end.code is None for end in ends) >= 15
    assert len(provider.calls("m")) <= 20 + 35


@pytest.mark.parametrize(("status", "code"), [(413, "invalid_request"), (400, "invalid_request"), (401, "auth_failed")])
def test_a_refusal_before_the_upload_has_ended_is_read(spawn: Spawn, status: int, code: str) -> None:  # E29
    said = b'{"type":"error","error":{"message":"No."}}'
    refusal = b"HTTP/1.1 %d No\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (status, len(said), said)
    with listening(early(refusal)) as listener, spawn() as sidecar:
        sidecar.max_growth_bytes *= 3
        params = sidecar.params("m", base_url=f"http://127.0.0.1:{listener.port}")
        params["messages"] = [{"role": "user", "content": "x" * 20_000_000}]
        error = sidecar.reply(sidecar.send("stream_chat", params, provider="anthropic"), RETRIED_SECONDS)["error"]
    assert (error["code"], error["provider_status"], error["attempts"]) == (code, status, 1)


def test_a_document_that_is_cut_is_asked_for_again(sidecar: Sidecar, provider: Provider) -> None:  # E27
    cut: list[Step] = [head(content_type="application/json", content_length="500") + b'{"id": "x", "con', CLOSE]
    provider.play_in_turn("m", cut, stream([ANTHROPIC.opening, ANTHROPIC.text("fine"), ANTHROPIC.closing]))
    lines = sidecar.stream(sidecar.chat("m"))
    assert text(lines) == "fine"
    assert lines[-1].data["data"]["attempts"][0]["code"] == "network_error"
