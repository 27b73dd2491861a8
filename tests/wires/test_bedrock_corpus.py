"""Recorded exchanges of Bedrock decode to what an independent reader found in them."""

from typing import Any

import pytest

from protocol.messages import OpaquePart, TextPart
from sidecar.core.errors import SidecarError
from sidecar.wires.shared.types import Outcome
from tests.support.decoding import state_data
from tests.support.recordings import Recording, check_chunks, check_message, recordings, replay

RECORDINGS = [*recordings("bedrock.converse_stream"), *recordings("bedrock.converse")]

CODES = {
    "The security token included in the request is expired": ("auth_required", "ExpiredTokenException"),
    "The provided model identifier is invalid.": ("model_not_found", "ValidationException"),
}
"""The code that a host must see, and the exception behind it, by what a provider says of an error."""


@pytest.mark.parametrize("piece_bytes", [1, 7, 701, 1 << 20])
@pytest.mark.parametrize("recording", RECORDINGS)
def test_a_recording_decodes_to_what_is_in_it(recording: Recording, piece_bytes: int) -> None:
    played, expected = replay(recording, "bedrock_converse", piece_bytes), recording.expected
    check_chunks(played, expected)
    if expected["error"]:
        assert isinstance(played.result, SidecarError)
        check_failure(played.result, expected["error"])
        return
    assert isinstance(played.result, Outcome)
    check_message(played.result, expected)
    assert played.result.provider_finish_reason == expected["finish_reason_raw"]
    check_usage(played.result, expected["usage_raw"])
    check_own_blocks(played.result, expected)


def check_failure(error: SidecarError, expected: dict[str, Any]) -> None:
    code, exception = CODES.get(expected["message"], ("invalid_request", None))
    assert (error.body.code, error.body.provider_code) == (code, exception)
    assert (error.body.message, error.body.provider_status) == (expected["message"], expected["status"])


def check_usage(outcome: Outcome, raw: dict[str, Any]) -> None:
    usage = outcome.usage
    assert usage is not None
    # The total has all tokens of the prompt, also those that touched the cache.
    assert usage.input_tokens == raw["totalTokens"] - raw["outputTokens"]
    assert usage.output_tokens == raw["outputTokens"]
    assert usage.cache_read_tokens == raw.get("cacheReadInputTokens")
    assert usage.cache_write_tokens == raw.get("cacheWriteInputTokens")


def check_own_blocks(outcome: Outcome, expected: dict[str, Any]) -> None:
    parts = outcome.message.content
    assert not isinstance(parts, str)
    own = [state_data(part.state) for part in parts if isinstance(part, OpaquePart) and part.kind == "toolUse"]
    wanted = [call["arguments"] for call in expected.get("server_tool_calls", [])]
    assert [block["toolUse"]["input"] for block in own] == wanted
    cited = [citation for part in parts if isinstance(part, TextPart) for citation in part.citations or ()]
    assert [citation.title for citation in cited] == [each["title"] for each in expected.get("citations_raw", [])]
