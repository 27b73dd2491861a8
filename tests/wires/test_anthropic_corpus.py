"""Recorded exchanges of the Messages API, of any provider, decode to what is in them."""

from typing import Any

import pytest

from protocol.messages import TextPart
from sidecar.wires.anthropic_messages.decoder import FINISH_REASONS
from sidecar.wires.shared.types import Outcome
from tests.support.recordings import (
    Recording,
    check_chunks,
    check_error,
    check_message,
    opaque_kinds,
    recordings,
    replay,
)


@pytest.mark.parametrize("piece_bytes", [311, 1 << 20])
@pytest.mark.parametrize("recording", recordings("anthropic.messages"))
def test_a_recording_decodes_to_what_is_in_it(recording: Recording, piece_bytes: int) -> None:
    expected = recording.expected
    played = replay(recording, "anthropic_messages", piece_bytes)
    check_chunks(played, expected)
    if expected["error"] is not None:
        check_error(played.result, expected["error"])
        return
    result = played.result
    assert isinstance(result, Outcome), result.body
    assert result.provider_finish_reason == expected["finish_reason_raw"]
    assert result.finish_reason == FINISH_REASONS[expected["finish_reason_raw"]]
    check_usage(expected["usage_raw"], result)
    check_message(result, expected)
    check_own_blocks(expected, result)
    assert len(played.of_type("citation")) == len(expected.get("citations_raw", []))
    texts = [part for part in result.message.content if isinstance(part, TextPart)]
    kept = [citation for text in texts for citation in text.citations or ()]
    assert len(kept) == len(expected.get("citations_raw", []))


def check_usage(raw: dict[str, Any], result: Outcome) -> None:
    usage = result.usage
    assert usage is not None
    read, write = raw.get("cache_read_input_tokens"), raw.get("cache_creation_input_tokens")
    assert usage.input_tokens == raw["input_tokens"] + (read or 0) + (write or 0)
    assert usage.output_tokens == raw["output_tokens"]
    assert usage.cache_read_tokens == read
    assert usage.cache_write_tokens == write
    assert usage.cache_write_1h_tokens == raw.get("cache_creation", {}).get("ephemeral_1h_input_tokens")
    assert usage.reasoning_tokens == raw.get("output_tokens_details", {}).get("thinking_tokens")


def check_own_blocks(expected: dict[str, Any], result: Outcome) -> None:
    """Check that opaque blocks are kept, the calls of server tools among them."""
    calls = [call["kind"] for call in expected.get("server_tool_calls", [])]
    others = [kind for kind in expected.get("other_blocks", []) if kind != "redacted_thinking"]
    assert sorted(opaque_kinds(result)) == sorted(calls + others)
