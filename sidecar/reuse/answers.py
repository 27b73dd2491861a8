"""A stored answer: its chunks as they were delivered, and its end. [pure]"""

from typing import Any

import msgspec

from protocol.messages import FinishReason, Message, Usage
from protocol.replies import Chunk, Done, Structured
from protocol.reuse import Original

UNENCODABLE = (msgspec.EncodeError, OverflowError, RecursionError, TypeError, ValueError)
"""Failures to encode what a model wrote: a number of more than 64 bits, nesting without end, half a surrogate pair."""


class StoredAnswer(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A complete answer."""

    chunks: list[Chunk]
    """Without `start`, which a replay makes anew, and without `done`."""
    finish_reason: FinishReason
    provider_finish_reason: str | None
    usage: Usage | None
    cost: dict[str, Any]
    message: Message
    model: str
    request_id: str | None
    structured: Structured | None


def make_answer(chunks: list[Chunk], done: Done) -> StoredAnswer:
    """Return the answer to store."""
    return StoredAnswer(
        chunks=chunks,
        finish_reason=done.finish_reason,
        provider_finish_reason=done.provider_finish_reason,
        usage=done.usage,
        cost=done.cost,
        message=done.message,
        model=done.model,
        request_id=done.request_id,
        structured=done.structured or None,
    )


def make_original(answer: StoredAnswer) -> Original:
    """Return what *answer* used and cost when the provider gave it."""
    return Original(usage=answer.usage, cost=answer.cost, request_id=answer.request_id)


def encode(answer: StoredAnswer) -> bytes | None:
    """Return *answer* as bytes, or None if it holds something that cannot be written."""
    try:
        return msgspec.msgpack.encode(answer)
    except UNENCODABLE:
        return None


_decode = msgspec.msgpack.Decoder(StoredAnswer).decode


def decode(data: bytes) -> StoredAnswer | None:
    """Return the answer in *data*, or None if *data* holds none."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
