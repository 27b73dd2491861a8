"""Recorded exchanges of the Responses API, of any provider, decode to what is in them."""

from typing import Any

import pytest

from protocol.messages import ReasoningPart
from sidecar.wires.shared.types import Outcome
from tests.support.decoding import state_data
from tests.support.recordings import (
    Recording,
    check_chunks,
    check_error,
    check_message,
    opaque_kinds,
    recordings,
    replay,
)

FINISH = {"completed": "stop", "incomplete:max_output_tokens": "length"}


@pytest.mark.parametrize("piece_bytes", [311, 1 << 20])
@pytest.mark.parametrize("recording", recordings("openai.responses"))
def test_a_recording_decodes_to_what_is_in_it(recording: Recording, piece_bytes: int) -> None:
    expected = recording.expected
    played = replay(recording, "openai_responses", piece_bytes)
    check_chunks(played, expected)
    if expected["error"] is not None:
        check_error(played.result, expected["error"])
        return
    result = played.result
    assert isinstance(result, Outcome), result.body
    assert result.provider_finish_reason == expected["finish_reason_raw"]
    assert result.finish_reason == ("tool_calls" if expected["tool_calls"] else FINISH[expected["finish_reason_raw"]])
    check_usage(expected["usage_raw"], result)
    check_message(result, expected)
    assert opaque_kinds(result) == expected.get("other_items", [])
    check_states(result)


def check_usage(raw: dict[str, Any], result: Outcome) -> None:
    usage = result.usage
    assert usage is not None
    assert usage.input_tokens == raw["input_tokens"]
    assert usage.output_tokens == raw["output_tokens"]
    assert usage.cache_read_tokens == raw["input_tokens_details"]["cached_tokens"]
    assert usage.cache_write_tokens == raw["input_tokens_details"].get("cache_write_tokens")
    assert usage.reasoning_tokens == raw["output_tokens_details"]["reasoning_tokens"]
    if "cost_in_usd_ticks" in raw:
        assert float(result.provider_cost_usd or "nan") == raw["cost_in_usd_ticks"] / 1e10
    elif "cost" in raw:
        assert float(result.provider_cost_usd or "nan") == raw["cost"]
    else:
        assert result.provider_cost_usd is None


def check_states(result: Outcome) -> None:
    """Check that every reasoning item is kept as it was at its end, so that it can be sent back."""
    for part in result.message.content:
        if isinstance(part, ReasoningPart):
            assert state_data(part.state)["type"] == "reasoning"
