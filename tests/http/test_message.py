"""Heads of requests: which addresses are plain, what is sent, what cannot be."""

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.message import Target, UnsendableError, encode_head, is_ordinary, read_target

CANARY = "sk-CANARY-0123456789"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://api.example/v1/x?a=b", Target("https", "api.example", 443, "api.example", "/v1/x?a=b")),
        ("http://127.0.0.1:8080", Target("http", "127.0.0.1", 8080, "127.0.0.1:8080", "/")),
        ("https://API.Example:443/", Target("https", "api.example", 443, "api.example", "/")),
        ("http://[::1]:80/x", Target("http", "::1", 80, "[::1]", "/x")),
        ("http://a_b-c.example:81?x", Target("http", "a_b-c.example", 81, "a_b-c.example:81", "/?x")),
        ("https://h/m%3A0/a@b:c;d,e~f", Target("https", "h", 443, "h", "/m%3A0/a@b:c;d,e~f")),
    ],
)
def test_a_plain_address_has_its_parts(url: str, target: Target) -> None:
    assert read_target(url) == target


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://h/",
            "http://",
            "h/x",
            "http://h:0/",
            "http://h:65536/",
            "http://h:x/",
            "http://[::1",
            "http://[::g]/",
        ),
        *("http://u@h/", "http://h/a b", "http://h/%2", "http://h/é", "http://é/", "http://h/\x00", "http://h/#x"),
        *(
            "http://1.2.3/",
            "http://1.2.3.256/",
            "http://0x7f.1/",
            "http://h./",
            "http://[fe80::1%25eth0]/",
            'http://h/"',
        ),
    ],
)
def test_an_address_that_needs_a_reader_of_every_spelling_is_not_plain(url: str) -> None:
    assert read_target(url) is None


_PLAIN_CHARACTERS = "abzAZ09-._~!$&'()*+,;=:@/%[]|\\^?{}` \"<>#é"


@given(st.text(_PLAIN_CHARACTERS, max_size=20), st.sampled_from(["a.example", "127.0.0.1:81", "[::1]", "A.b:443", "9"]))
def test_a_plain_address_reads_as_httpx2_reads_it(rest: str, authority: str) -> None:
    url = f"https://{authority}/{rest}"
    target = read_target(url)
    if target is None:
        return
    theirs = httpx2.URL(url)
    assert target.path.encode() == theirs.raw_path or "/." in url
    assert (target.host, target.port) == (theirs.host, theirs.port or 443)
    assert target.authority.encode() == theirs.netloc


TARGET = Target("https", "api.example", 443, "api.example", "/v1/x")


@pytest.mark.parametrize(
    ("method", "headers", "body_bytes", "head"),
    [
        ("GET", {}, 0, "GET /v1/x HTTP/1.1|Host: api.example|Accept: */*|Connection: keep-alive"),
        (
            "POST",
            {"accept": "text/x", "X-Own": "a\tb"},
            7,
            "POST /v1/x HTTP/1.1|Host: api.example|Connection: keep-alive|accept: text/x|X-Own: a\tb|Content-Length: 7",
        ),
        ("PUT", {"Host": "h"}, 0, "PUT /v1/x HTTP/1.1|Host: h|Content-Length: 0|Accept: */*|Connection: keep-alive"),
    ],
)
def test_a_head_says_what_the_other_client_would(
    method: str, headers: dict[str, str], body_bytes: int, head: str
) -> None:
    assert encode_head(method, TARGET, headers, body_bytes).decode() == head.replace("|", "\r\n") + "\r\n\r\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("x", f"{CANARY}{bad}") for bad in ("\n", "\r\nx-evil: 1", "\x00", "é", "\u2028", " ", "\x7f", "\x01")),
        *(("x", f"{bad}{CANARY}") for bad in ("\r", " ", "\t")),
        *((name, CANARY) for name in ("", "x y", "x:", "é", "x\r\ny", "x\x00")),
    ],
)
def test_a_header_that_no_request_can_carry_is_not_sent_and_not_shown(name: str, value: str) -> None:
    with pytest.raises(UnsendableError) as caught:
        encode_head("GET", TARGET, {name: value}, 0)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("method", ["", "GET X", "GET\r\n", "GÉT"])
def test_a_method_that_is_none_is_not_sent(method: str) -> None:
    with pytest.raises(UnsendableError):
        encode_head(method, TARGET, {}, 0)


@pytest.mark.parametrize(
    ("headers", "ordinary"),
    [
        (["accept", "Host"], True),
        (["Content-Length"], False),
        (["transfer-encoding"], False),
        (["Connection"], False),
        (["host", "Host"], False),
    ],
)
def test_a_request_that_rules_its_connection_is_no_ordinary_one(headers: list[str], ordinary: bool) -> None:
    assert is_ordinary(headers) is ordinary
