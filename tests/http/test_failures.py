"""Failures of TLS: what is wrong with a certificate, and what to do about it."""

import ssl

import pytest

from sidecar.http import failures


@pytest.mark.parametrize(
    ("code", "said", "advice"),
    [
        (9, "is not valid yet", "clock"),
        (10, "has expired", "clock"),
        (18, "is not trusted", "SSL_CERT_FILE"),
        (20, "is not trusted", "SSL_CERT_FILE"),
        (62, "is for another host", "`base_url`"),
        (64, "is for another host", "`base_url`"),
        (66, "too weak", "replace"),
        (None, "is not trusted", "SSL_CERT_FILE"),
    ],
)
def test_the_advice_on_a_certificate_is_about_what_is_wrong_with_it(code: int | None, said: str, advice: str) -> None:
    failure = ssl.SSLCertVerificationError(1, "certificate verify failed")
    if code is not None:
        failure.verify_code = code
    body = failures.make_broken_error(failure).body
    assert (body.code, body.reason, body.retryable) == ("network_error", "tls", False)
    assert said in body.message
    assert advice in (body.hint or "")


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("WRONG_VERSION_NUMBER", "http://"),
        ("RECORD_LAYER_FAILURE", "http://"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "TLS 1.2"),
        ("UNSUPPORTED_PROTOCOL", "TLS 1.2"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "client certificate"),
        ("A_REASON_OF_TOMORROW", None),
    ],
)
def test_the_advice_on_a_handshake_is_about_what_the_server_speaks(reason: str, advice: str | None) -> None:
    failure = ssl.SSLError(1, "handshake failed")
    failure.reason = reason
    body = failures.make_broken_error(failure).body
    assert (body.code, body.reason, body.retryable) == ("network_error", "tls", False)
    assert body.hint is None if advice is None else advice in (body.hint or "")
