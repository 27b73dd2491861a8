"""The token counts and the cost in the usage of Chat Completions. [pure]

Sources: openai 3.52.0 (`types/completion_usage.py`), xAI's OpenAPI, read 2026-11.
"""

from typing import Any

from protocol.messages import Usage
from sidecar.core.json_values import read_count, read_object
from sidecar.wires.shared.costs import TICK_USD, convert_to_usd


def read_usage(raw: dict[str, Any], *, reasoning_outside: bool = False) -> Usage:
    """Return the provider's counts in the protocol's meaning.

    *reasoning_outside* is `Quirks.reasoning_outside_output`: the completion leaves the reasoning out.
    """
    prompt_details = read_object(raw.get("prompt_tokens_details"))
    completion_details = read_object(raw.get("completion_tokens_details"))
    prompt, completion, total = (read_count(raw.get(f"{name}_tokens")) for name in ("prompt", "completion", "total"))
    reasoning = _pick_count(completion_details.get("reasoning_tokens"), raw.get("reasoning_tokens"))
    if completion is not None and reasoning:
        # The total, where there is one, tells whether the reasoning is part of the completion.
        is_apart = reasoning_outside if prompt is None or total is None else total == prompt + completion + reasoning
        completion += reasoning if is_apart else 0
    return Usage(
        input_tokens=prompt,
        output_tokens=completion,
        cache_read_tokens=_pick_count(
            prompt_details.get("cached_tokens"),
            raw.get("cached_tokens"),
            raw.get("prompt_cache_hit_tokens"),
            raw.get("cache_read_input_tokens"),
        ),
        cache_write_tokens=_pick_count(
            prompt_details.get("cache_write_tokens"), raw.get("cache_creation_input_tokens")
        ),
        reasoning_tokens=reasoning,
    )


def read_cost_usd(raw: dict[str, Any]) -> str | None:
    """Return what the usage says that the request cost, in US dollars as a decimal string, or None."""
    ticks = read_count(raw.get("cost_in_usd_ticks"))
    if ticks is not None:
        return convert_to_usd(ticks, TICK_USD)
    cost = raw.get("cost")
    return convert_to_usd(cost.get("total_cost") if isinstance(cost, dict) else cost)


def _pick_count(*values: object) -> int | None:
    """Return the first of *values* that is a count."""
    return next((count for value in values if (count := read_count(value)) is not None), None)
