"""Texts: how a long one is cut into pieces that a vocabulary can count, and a count without a vocabulary. [pure]"""

import math
import re
from collections.abc import Callable, Iterator

Count = Callable[[str], int]
"""Returns the tokens of a text."""

BYTES_PER_TOKEN = 3.5
"""Bytes of UTF-8, where there is no vocabulary."""

BYTES_BAND_PCT = 60
"""How far off a count by bytes may be."""

PIECE_CHARS = 64 * 1024
"""The longest text that is counted at once: the regex of a vocabulary fails on some texts of a million characters."""

_WINDOW_CHARS = 4096
"""How far back a piece may end to end at a seam."""

_SEAM = re.compile(r"[^\W_](?=[\s!-&(-/:-@\[-`{-~\u3001\u3002\uff0c])")
"""Where no token lies across: after a letter or digit, before a blank or a mark, but not the apostrophe of `don't`."""


def cut_pieces(text: str) -> Iterator[str]:
    """Yield *text* in pieces of at most PIECE_CHARS whose tokens add up to those of the whole.

    Only a text that is long without a blank or a mark is cut elsewhere, and each such cut may add a token.
    """
    start = 0
    for end, _ in list_cuts(text):
        yield text[start:end]
        start = end
    yield text[start:]


def list_cuts(text: str) -> Iterator[tuple[int, bool]]:
    """Yield where *text* is cut, and whether no token lies across the cut."""
    start = 0
    while len(text) - start > PIECE_CHARS:
        limit = start + PIECE_CHARS
        seam = _SEAM.search(text, limit - _WINDOW_CHARS, limit)
        start = seam.end() if seam else limit
        yield start, seam is not None


def count_by_bytes(text: str) -> int:
    """Return a guess at the tokens of *text*, for want of a vocabulary."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)
