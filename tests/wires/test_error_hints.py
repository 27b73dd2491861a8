"""What a user can do about an error that a web server or a redirect reports."""

import pytest

from protocol.errors import ErrorCode
from sidecar.wires import registry
from sidecar.wires.shared.error_rules import ReportedError, classify_error


@pytest.mark.parametrize(
    ("body", "code", "hint"),
    [
        (
            b"<html><head><title>400 The plain HTTP request was sent to HTTPS port</title>",
            "invalid_request",
            "https://",
        ),
        (b"Client sent an HTTP request to an HTTPS server.\n", "invalid_request", "https://"),
        (b"<title>400 No required SSL certificate was sent</title>", "permission_denied", "client certificate"),
        (b"<title>400 The SSL certificate error</title>", "permission_denied", "client certificate"),
    ],
)
def test_what_a_web_server_says_of_tls_comes_with_what_to_do(body: bytes, code: ErrorCode, hint: str) -> None:
    for name in registry.list_names():
        found = registry.load(name).classify(400, {"content-type": "text/html"}, body).body
        assert (found.code, hint in (found.hint or "")) == (code, True), name


@pytest.mark.parametrize(
    ("location", "origin"),
    [
        ("https://api.example.com/v1/chat?key=x#y", " to https://api.example.com:"),
        ("HTTP://Api.Example.com:8080", " to http://api.example.com:8080:"),
        ("/v1/chat/", ":"),
        ("//elsewhere.example/v1", ":"),
        ("https://user:password@elsewhere.example/", ":"),
        ("https://else\u202ewhere.example/", ":"),
        ("https://" + "x" * 300, ":"),
        ("javascript:alert(1)", ":"),
        ("", ":"),
    ],
)
def test_a_redirect_names_the_origin_of_its_target_and_no_more(location: str, origin: str) -> None:
    body = classify_error(ReportedError(), 301, {"location": location}, {}).body
    assert (body.code, body.reason, body.retryable) == ("provider_error", "redirect", False)
    assert body.hint is not None
    assert body.hint.startswith(f"The server says that it has moved{origin} check `base_url`")
