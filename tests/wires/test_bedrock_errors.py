"""Bedrock's errors: every exception of the service model, and the messages that say more."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ErrorBody, ErrorCode
from sidecar.core.errors import SidecarError
from sidecar.wires.bedrock_converse import Decoder, classify
from sidecar.wires.shared.types import Route

ROUTE = Route(provider="bedrock", wire="bedrock_converse", model="a.b", base_url="https://provider.test")

CODES: dict[str, ErrorCode] = {
    "accessDeniedException": "permission_denied",
    "internalServerException": "provider_error",
    "modelErrorException": "provider_error",
    "modelNotReadyException": "provider_overloaded",
    "modelStreamErrorException": "provider_error",
    "modelTimeoutException": "provider_error",
    "resourceNotFoundException": "model_not_found",
    "serviceQuotaExceededException": "quota_exceeded",
    "serviceUnavailableException": "provider_overloaded",
    "throttlingException": "rate_limited",
    "validationException": "invalid_request",
}


@pytest.fixture(scope="module")
def shapes() -> Any:
    from botocore.session import Session

    return Session().get_service_model("bedrock-runtime")


def test_every_exception_of_the_operation_has_a_code(shapes: Any) -> None:
    names = {shape.name for shape in shapes.operation_model("ConverseStream").error_shapes}
    assert names - {"ConflictException"} <= {name[:1].upper() + name[1:] for name in CODES}


@pytest.mark.parametrize("name", CODES)
def test_an_exception_reads_the_same_in_a_stream_and_before_it(name: str, shapes: Any) -> None:
    shape = shapes.shape_for(name[:1].upper() + name[1:])
    before = classify(
        shape.metadata["error"]["httpStatusCode"],
        {"x-amzn-errortype": f"{shape.name}:http://x/"},
        b'{"message":"It failed."}',
    )
    with pytest.raises(SidecarError) as caught:
        Decoder(ROUTE).feed((f"exception:{name}", b'{"message":"It failed."}'), [])
    within = caught.value
    assert before.body.code == within.body.code == CODES[name]
    assert before.body.provider_code == within.body.provider_code == shape.name
    assert before.body.retryable == within.body.retryable
    assert within.body.provider_status is None


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ({"x-amzn-errortype": "ThrottlingException"}, b"", "ThrottlingException"),
        ({}, b'{"__type":"com.amazon.coral.service#ThrottlingException","Message":"m"}', "ThrottlingException"),
        ({}, b'{"code":"ThrottlingException"}', "ThrottlingException"),
        ({"x-amzn-errortype": "ns#ThrottlingException:http://x/"}, b"<html>", "ThrottlingException"),
        ({}, b'{"Output":{"__type":"a#UnknownOperationException"}}', "UnknownOperationException"),
        ({}, b"", None),
    ],
)
def test_the_exceptions_name_is_found_wherever_it_stands(
    headers: dict[str, str], body: bytes, code: str | None
) -> None:
    assert classify(400, headers, body).body.provider_code == code


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1500", 1500), ("0", None), ("-5", None), ("soon", None), ("1.5", None), ("", None), ("٣", None)],
)
def test_awss_own_header_says_in_milliseconds_how_long_to_wait(value: str, expected: int | None) -> None:
    error = classify(429, {"x-amzn-errortype": "ThrottlingException", "x-amz-retry-after": value}, b"{}")
    assert error.body.retry_after_ms == expected


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        (
            "Signature expired: 20261120T120000Z is now earlier than 20261120T120500Z (20261120T121000Z - 5 min.)",
            "The system clock is off by 10 min: set it.",
        ),
        (
            "Signature not yet current: 20261120T130000Z is later than 20261120T120500Z (20261120T120000Z + 5 min.)",
            "The system clock is off by 60 min: set it.",
        ),
        (
            "Signature expired: 99999999T999999Z is now earlier than x (20261120T120000Z - 5 min.)",
            "The system clock is wrong: set it.",
        ),
        ("Signature expired.", "The system clock is wrong: set it."),
    ],
)
def test_a_wrong_clock_is_reported_with_how_far_it_is_off(message: str, hint: str) -> None:
    body = json.dumps({"message": message}).encode()
    error = classify(403, {"x-amzn-errortype": "InvalidSignatureException"}, body)
    assert (error.body.code, error.body.reason, error.body.hint) == ("auth_failed", "clock_skew", hint)


def test_a_wrong_secret_is_not_a_wrong_clock() -> None:
    body = b'{"message":"The request signature we calculated does not match the signature you provided."}'
    error = classify(403, {"x-amzn-errortype": "InvalidSignatureException"}, body)
    assert (error.body.code, error.body.reason) == ("auth_failed", None)


KEYS = st.sampled_from(["message", "Message", "originalMessage", "__type", "code", "Code", "Output"])
VALUES = st.none() | st.integers() | st.text(max_size=20) | st.lists(st.none(), max_size=1) | st.just({"__type": None})
BODIES = st.dictionaries(KEYS, VALUES).map(lambda value: json.dumps(value).encode())


@given(
    st.integers(100, 599),
    st.binary(max_size=200) | BODIES,
    st.text(max_size=30),
)
def test_any_error_reply_is_classified(status: int, body: bytes, kind: str) -> None:
    error = classify(status, {"x-amzn-errortype": kind}, body)
    assert msgspec.convert(msgspec.to_builtins(error.body), ErrorBody) == error.body
