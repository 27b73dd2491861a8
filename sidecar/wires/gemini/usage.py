"""The token counts of Gemini. [pure]

Source: google-genai 3.4.0 `types.py` (GenerateContentResponseUsageMetadata), read 2026-11.
"""

from typing import Any

from protocol.messages import Usage
from sidecar.core.json_values import read_count


def select_counts(raw: dict[str, Any] | None) -> dict[str, int]:
    """Return the fields of the provider's *raw* usage that are counts."""
    return {
        key: count
        for key, value in (raw or {}).items()
        if key.endswith("TokenCount") and (count := read_count(value)) is not None
    }


def read_usage(counts: dict[str, int]) -> Usage:
    """Return *counts* in the protocol's meaning: the prompt includes what was cached, the answer leaves out thinking.

    The text that server tools have read is counted as a prompt of its own, beside the first.
    """
    prompt, answer, thinking = (counts.get(f"{name}TokenCount") for name in ("prompt", "candidates", "thoughts"))
    return Usage(
        input_tokens=None if prompt is None else prompt + counts.get("toolUsePromptTokenCount", 0),
        output_tokens=None if answer is None and thinking is None else (answer or 0) + (thinking or 0),
        cache_read_tokens=counts.get("cachedContentTokenCount"),
        reasoning_tokens=thinking,
    )
