"""Refusals of a batch that smaller batches do not meet, told from all others by what providers say. [pure]

Gateways answer with one status to too many texts, too many tokens and one text that is too long: halves tell them
apart. Sources: errors recorded from Mistral and llama.cpp, text-embeddings-inference 0d124dc, documents of OpenAI,
Voyage, Cohere, Jina, Google and AWS, read 2026-11.
"""

import re

from sidecar.core.errors import SidecarError

TOO_MANY_INPUTS = "too_many_inputs"
"""The reason of a refusal of the whole batch."""

_TOO_MANY = re.compile(
    r"too many (?:inputs|texts|instances|items)|batch size|per (?:submitted )?batch|in one batch|tokens per request"
    r"|max_tokens_per_request|at most \d+ (?:inputs|texts|instances|items|elements|requests|documents)"
    r"|array (?:is )?too (?:long|large)|payload too large|request (?:body|entity|size)",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"too (?:long|large|many (?:input )?tokens)|context (?:length|window|size)|input length"
    r"|(?:maximum|max(?:imum)?|allowed|exceeds?|less than|at most|longer than|limit)\b.{0,60}\b(?:tokens?|characters)\b"
    r"|\btokens?\b.{0,40}\b(?:exceeds?|maximum|limit|longer)",
    re.IGNORECASE | re.DOTALL,
)

_STATUSES = frozenset({400, 413, 422, 500})


def sharpen(error: SidecarError) -> SidecarError:
    """Return *error*, a provider's answer to a batch, with a code or a reason that says whether halves may help."""
    body = error.body
    if body.code == "context_length_exceeded" or body.provider_status not in _STATUSES:
        return error
    if body.code not in ("invalid_request", "provider_error"):
        return error
    said = f"{body.provider_code or ''} {body.message}"
    if body.provider_status == 413 or _TOO_MANY.search(said):
        return error.with_fields(code="invalid_request", reason=TOO_MANY_INPUTS, retryable=False)
    if _TOO_LONG.search(said):
        return error.with_fields(code="context_length_exceeded", retryable=False)
    return error


def is_too_large(error: SidecarError) -> bool:
    """Return whether a part of the batch may be accepted."""
    return error.body.code == "context_length_exceeded" or error.body.reason == TOO_MANY_INPUTS
