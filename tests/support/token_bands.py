"""How near the estimates of `count_tokens` come to what providers have billed: `python -m tests.support.token_bands`.

Prints a table, one row a family of models: how far off the estimates are, for the recorded requests that the family's
figures were fitted to and for those that were held out, and how many of the latter are within the error band that
their estimates name. `-v` prints each request.
"""

import hashlib
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from statistics import median
from typing import Any, NamedTuple

import msgspec

from protocol.requests import Chat
from sidecar.tokens import estimates, families, texts, vocabularies
from sidecar.tokens.estimates import Estimate
from sidecar.tokens.families import Family
from sidecar.tokens.texts import Count
from tests.support import corpus
from tests.support.corpus import Exchange
from tests.support.recorded_requests import READERS, Unsayable, chat_of

INPUTS = {
    "openai": ("prompt_tokens", "input_tokens"),
    "anthropic": ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
    "gemini": ("promptTokenCount", "totalTokens"),
    "bedrock": ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
    "ollama": ("prompt_eval_count",),
}
"""By the first word of an API: the fields whose sum is the prompt's tokens."""


MIN_HELD_OUT = 4
"""Of a family with fewer recorded requests all are fitted to, and none is held out."""


class Sample(NamedTuple):
    """One recorded request."""

    name: str
    chat: Chat
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

    @property
    def kind(self) -> tuple[bool, bool]:
        """Whether it has tools, and whether its answer must fit a schema: providers add to the prompt for both."""
        return bool(self.chat.options.tools), self.chat.options.response_format is not None

    @property
    def asked(self) -> str:
        """A digest of what was asked, whoever was."""
        said = msgspec.json.encode([self.chat.messages, self.chat.options.tools, self.chat.options.response_format])
        return hashlib.sha256(said).hexdigest()


def by_family(found: list[Sample]) -> dict[str, list[Sample]]:
    """Return the samples of each family."""
    families: dict[str, list[Sample]] = defaultdict(list)
    for sample in found:
        families[sample.family.name].append(sample)
    return families


def split(rows: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Return the requests of one family that `token_fit` may see, and those that are held out, which it may not.

    Of each kind every second is held out, in the order of a digest of what was asked; of two that ask the same, both
    are or none.
    """
    if len(rows) < MIN_HELD_OUT:
        return rows, []
    halves: tuple[list[Sample], list[Sample]] = [], []
    for kind in {row.kind for row in rows}:
        digests = sorted({row.asked for row in rows if row.kind == kind})
        for index, digest in enumerate(digests):
            halves[index % 2].extend(row for row in rows if row.asked == digest)
    return halves


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
        family = families.find_family(chat.model)
        estimate = estimates.estimate_chat(chat.messages, chat.options, family, counter(family.vocabulary))
        yield Sample(exchange.name, chat, family, count, estimate)


@cache
def counter(vocabulary: str) -> Count:
    """Return what counts a text by *vocabulary*."""
    encoding = vocabularies.load(vocabularies.resolve_name(vocabulary))
    return lambda text: sum(len(encoding.encode_ordinary(piece)) for piece in texts.cut_pieces(text))


def table(found: list[Sample]) -> str:
    """Return the table in Markdown, in the order of the families, the last row for all of them."""
    lines = [f"| family | {' | '.join(COLUMNS)} |", "| --- " * (1 + len(COLUMNS)) + "|"]
    found_by_family, everything = by_family(found), (list[Sample](), list[Sample]())
    for family in families.load_families():
        halves = split(found_by_family.get(family.name, []))
        for half, rows in zip(everything, halves, strict=True):
            half.extend(rows)
        lines.append(_line(family.name, halves))
    return "\n".join([*lines, _line("All", everything)]) + "\n"


COLUMNS = ("fitted to", "off, median", "off, p95", "held out", "off, median", "off, p95", "band, median", "within")


def _line(name: str, halves: tuple[list[Sample], list[Sample]]) -> str:
    to_fit, held_out = halves
    band = _pct(median(row.estimate.error_band_pct for row in held_out)) if held_out else ""
    columns = [name, *_off(to_fit), *_off(held_out), band, _pct(share_within(held_out)) if held_out else ""]
    return f"| {' | '.join(columns)} |".replace("|  ", "| ")


def _off(rows: list[Sample]) -> list[str]:
    """Return how many there are, and how far off half of them and 95 of a hundred are at most."""
    off = sorted(abs(row.off_pct) for row in rows)
    return [str(len(off)), _pct(median(off)), _pct(off[math.ceil(0.95 * len(off)) - 1])] if off else ["0", "", ""]


def share_within(rows: list[Sample]) -> float:
    """Return how many of *rows*, in percent, were within the band of their estimate."""
    return 100 * sum(row.within for row in rows) / len(rows)


def _pct(value: float) -> str:
    return f"{value:.0f} %"


if __name__ == "__main__":
    everything = list(samples())
    for each in everything if "-v" in sys.argv[1:] else ():
        mark, found = " " if each.within else "!", each.estimate
        figures = f"{each.billed:6} {found.tokens:6} {each.off_pct:+6.0f} % ±{found.error_band_pct}"
        sys.stdout.write(f"{mark} {each.family.name:26} {each.chat.model[-34:]:34} {figures:30} {each.name}\n")
    sys.stdout.write(table(everything))
