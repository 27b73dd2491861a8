"""`count_tokens`, and a vocabulary: what a process loads, and that nothing waits for it."""

from pathlib import Path

import pytest

from tests.support.process import PING_SECONDS, Object, Sidecar, environment, in_time
from tests.support.token_counts import CHAT, count

pytestmark = pytest.mark.alone

MEGABYTE = "The quick brown fox; it's 12345 jumps over the lazy dog — naïvely.\n" * 15_000
"""A little more than that."""


def slowest_ping(sidecar: Sidecar, params: Object) -> float:
    """Return the seconds that the slowest ping takes while *params* are counted."""
    request_id, pings = sidecar.send("count_tokens", params, provider="openai"), list[float]()
    while not sidecar.lines_of(request_id):
        pings.append(sidecar.ping())
    assert sidecar.reply(request_id)["data"]["tokens"] > 0
    return max(pings)


@pytest.mark.parametrize("model", ["gpt-6", "gpt-4"])
def test_nothing_waits_while_a_vocabulary_is_loaded(tmp_path: Path, model: str) -> None:
    """The bar is close: tiktoken builds the larger one in a call that lets nothing else run for most of that time."""

    def measure() -> float:
        with Sidecar(tmp_path) as sidecar:
            sidecar.max_growth_bytes = 256 * 1024 * 1024
            sidecar.ping()
            return slowest_ping(sidecar, {"model": model, "text": "loads the vocabulary"})

    in_time(measure, PING_SECONDS)


LONG = {
    "prose": MEGABYTE,
    "one letter": "a" * 1_000_000,
    "a word without an end": "abcdefghij" * 100_000,
    "blanks": " " * 1_000_000,
    "ideographs": "\u4f60\u597d" * 200_000,
}


@pytest.mark.parametrize("name", LONG)
def test_nothing_waits_while_a_megabyte_is_counted(bare: Sidecar, name: str) -> None:
    count(bare, "openai", "gpt-6", text="loads the vocabulary")
    assert len(LONG[name].encode()) >= 1_000_000
    in_time(lambda: slowest_ping(bare, {"model": "gpt-6", "text": LONG[name]}), PING_SECONDS)


def test_a_plain_chat_loads_no_vocabulary(tmp_path: Path) -> None:
    """Nor does a cost: what is slow or large is loaded by whoever asks for it."""
    with Sidecar(tmp_path, env=environment(tmp_path, PYTHONPROFILEIMPORTTIME="1")) as sidecar:
        sidecar.ask("generate", {"model": "default", "messages": CHAT["messages"]}, provider="replay")
        usage = {"input_tokens": 1, "output_tokens": 1}
        sidecar.ask("calculate_cost", {"model": "gpt-6", "usage": usage}, provider="openai")
    said = sidecar.stderr.decode()
    assert "sidecar.usage.pricing" in said
    for name in (
        "tiktoken",
        "sidecar.tokens.vocabularies",
        "sidecar.server.handlers.count_tokens",
        "sidecar.tokens.families",
    ):
        assert f" {name}\n" not in said
