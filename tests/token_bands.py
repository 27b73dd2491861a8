"""How near the estimates of `count_tokens` come to what providers have billed: `python -m tests.token_bands`.

Prints a table, one row a family of models: how many recorded requests there are, how far off the estimates are in
the median and at worst, and how many are within the error band that they name. `-v` prints each request.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from statistics import median
from typing import Any, NamedTuple

from sidecar import tokens, vocab
from sidecar.catalogue import tokenizers
from sidecar.tokens import Count, Estimate, Family
from tests import corpus
from tests.corpus import Exchange
from tests.recorded_requests import READERS, Unsayable, chat_of

INPUTS = {
    "openai": ("prompt_tokens", "input_tokens"),
    "anthropic": ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
    "gemini": ("promptTokenCount", "totalTokens"),
    "bedrock": ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
    "ollama": ("prompt_eval_count",),
}
"""By the first word of an API: the fields whose sum is the prompt's tokens."""


class Sample(NamedTuple):
    """One recorded request."""

    name: str
    model: str
    family: Family
    billed: int
    estimate: Estimate

    @property
    def off_pct(self) -> float:
        """How far the estimate is off what was billed, in percent of the estimate, which is what a band is of."""
        return 100 * (self.billed - self.estimate.tokens) / self.estimate.tokens

    @property
    def within(self) -> bool:
        return abs(self.off_pct) <= self.estimate.error_band_pct


def billed(exchange: Exchange) -> int | None:
    """Return the prompt's tokens as the provider counted them."""
    expected = exchange.expected
    raw: dict[str, Any] = expected.get("usage_raw") or expected.get("count_tokens_raw") or {}
    word = "anthropic" if exchange.api == "bedrock.invoke_stream" else exchange.api.partition(".")[0]
    return sum(raw.get(key) or 0 for key in INPUTS[word]) or None


def samples() -> Iterator[Sample]:
    """Yield every recorded request whose chat can be said and whose tokens were billed."""
    for path in sorted(corpus.ROOT.glob("*/*/request.json")):
        exchange = Exchange(path.parent)
        if exchange.api not in READERS or (count := billed(exchange)) is None:
            continue
        try:
            chat = chat_of(exchange)
        except Unsayable:
            continue
        family = tokenizers.family_of(chat.model)
        estimate = tokens.chat_tokens(chat.messages, chat.options, family, counter(family.vocabulary))
        yield Sample(exchange.name, chat.model, family, count, estimate)


@cache
def counter(vocabulary: str) -> Count:
    """Return what counts a text by *vocabulary*."""
    encoding = vocab.load(vocab.file_of(vocabulary))
    return lambda text: sum(len(encoding.encode_ordinary(piece)) for piece in tokens.pieces(text))


def table(found: list[Sample]) -> str:
    """Return the table in Markdown, in the order of the families."""
    by_family: dict[str, list[Sample]] = defaultdict(list)
    for sample in found:
        by_family[sample.family.name].append(sample)
    lines = ["| family | requests | off, median | off, worst | band, median | within |", "| --- " * 6 + "|"]
    for family in tokenizers.families():
        rows = by_family.get(family.name)
        if not rows:
            lines.append(f"| {family.name} | 0 | | | | |")
            continue
        off = [abs(row.off_pct) for row in rows]
        band = median(row.estimate.error_band_pct for row in rows)
        within = sum(row.within for row in rows)
        figures = f"{median(off):.0f} % | {max(off):.0f} % | {band:.0f} % | {within}"
        lines.append(f"| {family.name} | {len(rows)} | {figures} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    everything = list(samples())
    for each in everything if "-v" in sys.argv[1:] else ():
        mark, found = " " if each.within else "!", each.estimate
        figures = f"{each.billed:6} {found.tokens:6} {each.off_pct:+6.0f} % ±{found.error_band_pct}"
        sys.stdout.write(f"{mark} {each.family.name:26} {each.model[-34:]:34} {figures:30} {each.name}\n")
    sys.stdout.write(table(everything))
