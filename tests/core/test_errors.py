"""The one exception: its text is bounded, shows no credential and nothing invisible."""

import unicodedata
from base64 import b32encode
from collections.abc import Callable
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ErrorBody
from sidecar.core.errors import MESSAGE_MAX_CHARS, SidecarError, clean_text, remove_secret
from sidecar.wires.shared.error_rules import ReportedError, classify_error

CANARIES = [
    "sk-CANARY-0123456789",
    "sk-ant-api03-CANARY_0123456789",
    "sk-proj-CANARY0123456789",
    "xai-CANARY0123456789abcdefghij",
    "gsk_CANARY0123456789",
    "ghu_CANARY0123456789",
    "github_pat_CANARY0123456789",
    "AIzaCANARY0123456789abcdefghijkl",
    "AKIACANARY0123456789",
    "eyJCANARYhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl",
    "Bearer CANARY0123456789",
    "ya29.CANARY0123456789",
]
INVISIBLE = ["\u200b", "\u2060", "\ufeff", "\x00", "\x7f", "\u202e", "\xad"]


@pytest.mark.parametrize("canary", CANARIES)
def test_a_credential_is_not_shown(canary: str) -> None:
    assert "CANARY" not in clean_text(f"Incorrect API key provided: {canary}. You can find your key in your account.")


@pytest.mark.parametrize("hidden", INVISIBLE)
def test_a_credential_cannot_hide_behind_what_is_invisible(hidden: str) -> None:
    assert "CANARY" not in clean_text(f"key: s{hidden}k-CAN{hidden}ARY-01{hidden}23456789")


def test_every_field_with_text_of_a_provider_is_clean() -> None:
    canary = "sk-CANARY-0123456789"
    reported = ReportedError(message=canary, codes=(canary,), param=f"\x1b[2J{canary}\n", request_id=canary)
    body = classify_error(reported, 400, {"x-request-id": canary}, {}).body
    assert b"CANARY" not in msgspec.json.encode(body)
    assert body.param == "[2J[redacted]"


@settings(max_examples=200)
@given(
    st.text(max_size=3 * MESSAGE_MAX_CHARS)
    | st.lists(st.sampled_from([*CANARIES, *INVISIBLE, " ", "\n", "x" * 200]), max_size=20).map("".join)
)
def test_clean_is_idempotent_and_bounded_and_one_line(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert len(once) <= MESSAGE_MAX_CHARS
    assert not [c for c in once if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert not set(once) & set(INVISIBLE)
    assert once.strip() == once


def test_clean_leaves_ordinary_text_alone() -> None:
    text = "Ungültige Anfrage: «model», 模型不存在 🙂 {0.__class__} %s ${jndi:}"
    assert clean_text(text) == text
    assert clean_text("two\nlines\tand   more") == "two lines and more"


def test_a_long_message_ends_in_an_ellipsis() -> None:
    assert clean_text("word " * 1000).endswith("…")
    assert len(clean_text("x" * 10_000_000)) == MESSAGE_MAX_CHARS


def test_an_error_of_any_origin_is_clean() -> None:
    body = SidecarError("internal_error", "a\x1b[31m\nb sk-CANARY-0123456789").body
    assert body == ErrorBody(code="internal_error", message="a[31m b [redacted]", retryable=True, partial=False)


@pytest.mark.parametrize(
    "spelled",
    [
        lambda key: key.encode().hex(),
        lambda key: key.encode().hex().upper(),
        lambda key: key.swapcase(),
        lambda key: quote(quote(f"{key}/x", safe="").replace("-", "%2D"), safe=""),
        lambda key: b32encode(key.encode()).decode(),
        lambda key: key[6:26],
    ],
    ids=["hex", "HEX", "another case", "percent-encoded twice", "base32", "its middle"],
)
def test_no_spelling_of_a_credential_is_shown(spelled: Callable[[str], str]) -> None:
    key = "Qz7Lk9XwBn4Rm2Pd8-Yc5Hs6Jt3Vf1Ga"
    told = remove_secret(f"The key {spelled(key)} is wrong.", key)
    assert "[redacted]" in told
    assert not [at for at in range(len(key) - 15) if key[at : at + 16].lower() in told.lower()]
    assert told.startswith("The key ")


def test_words_that_a_credential_shares_with_a_text_stay() -> None:
    assert remove_secret("The model gpt-4o-mini of proj is unknown.", "sk-proj-gpt-4o-1234567890") == (
        "The model gpt-4o-mini of proj is unknown."
    )


@pytest.mark.parametrize(
    ("reason", "retryable"),
    [(None, True), ("bad_event", True), ("event_too_large", False), ("content_encoding", False)],
)
def test_an_error_is_retryable_only_if_the_same_request_may_not_meet_it_again(
    reason: str | None, retryable: bool
) -> None:
    assert SidecarError("provider_error", "x", reason=reason).body.retryable is retryable
