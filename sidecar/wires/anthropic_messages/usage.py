"""The token counts of the Messages API. [pure]

Source: anthropic 2.11.0 (`types/usage.py`), read 2026-11.
"""

from typing import Any

from protocol.messages import Usage
from sidecar.core.json_values import read_count, read_object


def read_usage(raw: dict[str, Any]) -> Usage:
    """Return the provider's counts in the protocol's meaning: its `input_tokens` leaves out what touched the cache."""
    uncached, cache_read, cache_write = (
        read_count(raw.get(key)) for key in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    return Usage(
        input_tokens=None if uncached is None else uncached + (cache_read or 0) + (cache_write or 0),
        output_tokens=read_count(raw.get("output_tokens")),
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        cache_write_1h_tokens=read_count(read_object(raw.get("cache_creation")).get("ephemeral_1h_input_tokens")),
        reasoning_tokens=read_count(read_object(raw.get("output_tokens_details")).get("thinking_tokens")),
    )
