"""Any error reply, whatever its status and body, becomes one bounded error without a secret."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.replies import Failed
from sidecar.core.errors import MESSAGE_MAX_CHARS, SidecarError
from sidecar.server.framing import encode_line
from sidecar.wires import registry
from tests.support import fixtures

WIRES = sorted({case.wire for case in fixtures.cases()})
CANARY = "sk-CANARY-5f2e7c90d1"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.just(CANARY)
    | st.just(f"Incorrect API key provided: {CANARY}."),
    lambda each: (
        st.lists(each, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "type",
                    "code",
                    "param",
                    "detail",
                    "details",
                    "errors",
                    "status",
                    "request_id",
                    "innererror",
                    "metadata",
                    "raw",
                    CANARY,
                ]
            ),
            each,
            max_size=5,
        )
    ),
    max_leaves=12,
)
BODIES = (
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda value: json.dumps({"error": value}).encode())
    | st.text(max_size=60).map(lambda text: (text + CANARY).encode("utf-8", "replace"))
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "retry-after",
            "retry-after-ms",
            "date",
            "x-should-retry",
            "request-id",
            "x-request-id",
            "content-type",
        ]
    ),
    st.text(max_size=20) | st.just(CANARY),
    max_size=4,
)


@pytest.mark.long
@pytest.mark.parametrize("name", WIRES)
def test_no_error_reply_raises_or_shows_a_secret(name: str) -> None:
    wire = registry.load(name)

    @settings(max_examples=120)
    @given(st.integers(100, 599), HEADERS, BODIES)
    def classified(status: int, headers: dict[str, str], body: bytes) -> None:
        error = wire.classify(status, headers, body)
        assert isinstance(error, SidecarError)
        line = encode_line(Failed(1, False, error.body))
        assert CANARY.encode() not in line
        assert 0 < len(error.body.message) <= MESSAGE_MAX_CHARS
        assert error.body.provider_status == status
        assert error.body.partial is False

    classified()


@pytest.mark.long
@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_a_huge_error_reply_gives_a_bounded_error(name: str, status: int) -> None:
    for body in (b"x" * 65536, b'{"error":{"message":"' + b"y " * 30_000 + b'"}}', b'{"error":' * 7000, b"[" * 65536):
        error = registry.load(name).classify(status, {}, body)
        assert len(encode_line(Failed(1, False, error.body))) < 4096
