"""Texts cut into batches, and refusals that smaller batches do not meet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import SidecarError
from sidecar.retrieval.batches import BatchLimits, cut_batches, halve, make_limits
from sidecar.retrieval.refusals import is_too_large, sharpen


def test_a_batch_has_no_more_texts_than_allowed() -> None:
    batches = list(cut_batches(["a"] * 7, 0, BatchLimits(inputs=3)))
    assert [(each.first, len(each.texts)) for each in batches] == [(0, 3), (3, 3), (6, 1)]


def test_a_batch_has_no_more_tokens_than_allowed() -> None:
    # 35 bytes are guessed to be 10 tokens, and may be 16.
    batches = list(cut_batches(["x" * 35] * 5, 0, BatchLimits(inputs=100, tokens=32)))
    assert [(each.first, len(each.texts), each.tokens) for each in batches] == [(0, 2, 20), (2, 2, 20), (4, 1, 10)]


def test_a_text_that_may_be_too_long_is_alone() -> None:
    batches = list(cut_batches(["a", "b", "x" * 400, "c"], 0, BatchLimits(inputs=100, text_tokens=100)))
    assert [(each.first, len(each.texts), each.is_long) for each in batches] == [
        (0, 2, False),
        (2, 1, True),
        (3, 1, False),
    ]


def test_texts_before_the_offset_are_left_out() -> None:
    (batch,) = cut_batches(["a", "b", "c"], 1, BatchLimits(inputs=100))
    assert (batch.first, batch.texts) == (1, ["b", "c"])
    assert list(cut_batches(["a"], 1, BatchLimits(inputs=100))) == []


@given(
    st.lists(st.text(max_size=60), max_size=40), st.integers(1, 9), st.integers(1, 50), st.none() | st.integers(1, 20)
)
def test_every_text_is_in_one_batch_in_order(texts: list[str], inputs: int, tokens: int, longest: int | None) -> None:
    limits = BatchLimits(inputs=inputs, tokens=tokens, text_tokens=longest)
    batches = list(cut_batches(texts, 0, limits))
    assert [text for each in batches for text in each.texts] == texts
    assert [each.first for each in batches] == [sum(len(b.texts) for b in batches[:n]) for n in range(len(batches))]
    assert all(1 <= len(each.texts) <= inputs for each in batches)


def test_halves_keep_their_places() -> None:
    (batch,) = cut_batches(["a", "b", "c"], 0, BatchLimits(inputs=9))
    first, second = halve(batch)
    assert [(each.first, each.texts) for each in (first, second)] == [(0, ["a"]), (1, ["b", "c"])]


def test_the_size_of_the_reply_limits_a_batch() -> None:
    assert make_limits(2048, None, None, 1536, "float").inputs == 113
    assert make_limits(2048, None, None, 1536, "f32_base64").inputs == 256
    assert make_limits(2048, None, None, 100_000, "float").inputs == 1
    assert make_limits(96, 1000, 512, 8, "float") == BatchLimits(inputs=96, tokens=1000, text_tokens=512)


def test_fewer_large_batches_than_small_ones_are_asked_at_once() -> None:
    assert make_limits(2048, None, None, 1536, "float").parallel == 4
    assert make_limits(1, None, None, 1536, "float").parallel == 8
    assert make_limits(2048, None, None, 100_000_000, "float").parallel == 2


REFUSALS = [
    (400, "Too many inputs in request, split into more batches.", "too_many_inputs"),
    (413, "batch size 64 > maximum allowed batch size 32", "too_many_inputs"),
    (413, "Request Entity Too Large", "too_many_inputs"),
    (400, "Requested 300150 tokens, max 300000 tokens per request", "too_many_inputs"),
    (400, "The max allowed tokens per submitted batch is 120000.", "too_many_inputs"),
    (400, "at most 100 requests can be in one batch", "too_many_inputs"),
    (
        500,
        "input (4002 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
        None,
    ),
    (400, "the input length exceeds the context length", None),
    (422, "`inputs` must have less than 512 tokens. Given: 600", None),
    (400, "Too many input tokens. Max input tokens: 8192, request input token count: 20001", None),
    (400, "Single text cannot exceed 8192 tokens", None),
]


@pytest.mark.parametrize(("status", "message", "reason"), REFUSALS)
def test_a_batch_that_is_too_large_is_told_from_other_refusals(status: int, message: str, reason: str | None) -> None:
    code = "provider_error" if status == 500 else "invalid_request"
    error = sharpen(SidecarError(code, message, provider_status=status))  # type: ignore[arg-type]  # one of the codes
    assert is_too_large(error)
    assert not error.body.retryable
    assert error.body.reason == reason or error.body.code == "context_length_exceeded" or status == 500


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("invalid_request", 400, "Unknown field."),
        ("auth_failed", 401, "The key is too long."),
        ("rate_limited", 429, "Too many tokens this minute."),
        ("provider_error", 502, "Request too large for the proxy."),
        ("model_not_found", 404, "No such model."),
    ],
)
def test_other_refusals_stay_as_they_are(code: str, status: int, message: str) -> None:
    error = SidecarError(code, message, provider_status=status)  # type: ignore[arg-type]  # one of the codes
    assert sharpen(error) is error
    assert not is_too_large(error)
