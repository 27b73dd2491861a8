"""The token counts of the Converse API. [pure]

Source: botocore 1.44.5 (`bedrock-runtime/2023-09-30/service-2.json`), read 2026-11.
"""

from typing import Any

from protocol.messages import Usage
from sidecar.core.json_values import read_count, read_objects


def read_usage(raw: dict[str, Any]) -> Usage:
    """Return the provider's counts in the protocol's meaning: its `inputTokens` leaves out what touched the cache."""
    uncached, cache_read, cache_write = (
        read_count(raw.get(key)) for key in ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    )
    details = raw.get("cacheDetails")
    hourly = [read_count(each.get("inputTokens")) or 0 for each in read_objects(details) if each.get("ttl") == "1h"]
    return Usage(
        input_tokens=None if uncached is None else uncached + (cache_read or 0) + (cache_write or 0),
        output_tokens=read_count(raw.get("outputTokens")),
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        cache_write_1h_tokens=read_count(sum(hourly)) if isinstance(details, list) else None,
    )
