"""The chunks of a Gemini stream, and the reasons for which an answer ends. [pure]

Source: google-genai 3.4.0 `types.py` (GenerateContentResponse, FinishReason, BlockedReason), read 2026-11.
"""

from typing import Any

import msgspec

from protocol.messages import FinishReason
from sidecar.wires.shared.errors import make_bad_event_error


class FunctionCall(msgspec.Struct, rename="camel"):
    """A function call, or a fragment of one."""

    id: str | None = None
    name: str | None = None
    args: msgspec.Raw = msgspec.Raw()
    partial_args: list[dict[str, Any]] | None = None
    will_continue: bool | None = None


class Part(msgspec.Struct, rename="camel"):
    """The most frequent kinds of parts; any other part is read again by `read_opaque_part`."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None


class Content(msgspec.Struct):
    """The parts of a candidate."""

    parts: list[msgspec.Raw] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    """One of the answers."""

    index: int | None = None
    content: Content | None = None
    finish_reason: str | int | None = None
    finish_message: str | None = None
    citation_metadata: Any = None
    grounding_metadata: Any = None


class PromptFeedback(msgspec.Struct, rename="camel"):
    """Why a prompt was blocked."""

    block_reason: str | int | None = None
    block_reason_message: str | None = None


class ResponseChunk(msgspec.Struct, rename="camel"):
    """One event of a stream, or a whole reply."""

    candidates: list[Candidate | None] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: dict[str, Any] | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None


chunk_reader = msgspec.json.Decoder(ResponseChunk)
document_reader = msgspec.json.Decoder(list[ResponseChunk] | ResponseChunk)
part_reader = msgspec.json.Decoder(Part | None)

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the readers raise."""

_ATTRIBUTES = frozenset({"text", "thought", "thoughtSignature", "partMetadata", "mediaResolution", "videoMetadata"})
"""The fields of a part that do not tell its kind."""


def read_opaque_part(raw: msgspec.Raw) -> tuple[str, dict[str, Any]] | None:
    """Return the kind and the fields of a part that the protocol has no part for; None for mere text.

    Raises: SidecarError `provider_error` for a part that cannot be read.
    """
    try:
        fields = msgspec.json.decode(raw, type=dict[str, Any])
    except UNREADABLE:
        raise make_bad_event_error() from None
    kind = next((key for key, value in fields.items() if key not in _ATTRIBUTES and value is not None), None)
    return None if kind is None else (kind, fields)


_REASONS: dict[FinishReason, tuple[str, ...]] = {
    "stop": ("STOP",),
    "length": ("MAX_TOKENS",),
    "content_filter": (
        *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "JAILBREAK"),
        *("ESCALATION", "PUP_LIMITED_DISABLED"),
        *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "IMAGE_OTHER"),
    ),
    "error": (
        *("MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
        "MISSING_THOUGHT_SIGNATURE",
    ),
}
FINISH_REASONS = {reason: finish_reason for finish_reason, reasons in _REASONS.items() for reason in reasons}
"""Reasons for the end of an answer or the block of a prompt; any other is `other`."""

NOT_FINAL = frozenset({"", "FINISH_REASON_UNSPECIFIED", "CONTINUATION"})
"""Values of the field of an answer that has not ended."""

NUMBERED_REASONS = {0: "", 1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER"}
"""Reasons as some of the hosts write them. The hosts' other numbers differ."""


def read_reason(reason: str | int | None) -> str:
    """Return *reason* as a word, "" for none."""
    return NUMBERED_REASONS.get(reason, str(reason)) if isinstance(reason, int) else reason or ""
