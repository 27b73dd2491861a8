"""The token counts and the cost in the usage of the Responses API. [pure]

Sources: openai 3.52.0 (`types/responses/response_usage.py`), xAI's OpenAPI, read 2026-11.
"""

from typing import Any

from protocol.messages import Usage
from sidecar.core.json_values import read_count, read_object
from sidecar.wires.shared.costs import TICK_USD, convert_to_usd


def read_usage(raw: dict[str, Any]) -> Usage:
    """Return the provider's counts in the protocol's meaning; they are totals already."""
    input_details, output_details = (read_object(raw.get(f"{side}_tokens_details")) for side in ("input", "output"))
    return Usage(
        input_tokens=read_count(raw.get("input_tokens")),
        output_tokens=read_count(raw.get("output_tokens")),
        cache_read_tokens=read_count(input_details.get("cached_tokens")),
        cache_write_tokens=read_count(input_details.get("cache_write_tokens")),
        reasoning_tokens=read_count(output_details.get("reasoning_tokens")),
    )


def read_cost_usd(raw: dict[str, Any]) -> str | None:
    """Return what the usage says that the request cost, in US dollars as a decimal string, or None."""
    ticks = read_count(raw.get("cost_in_usd_ticks"))
    return convert_to_usd(raw.get("cost")) if ticks is None else convert_to_usd(ticks, TICK_USD)
