"""The vocabularies that come with the program, as encodings of tiktoken: loaded from here, never fetched.

Each is a file `<name>.zlib`, which `build.py` makes of the published one: all tokens in the order of their ranks,
between any two a byte that no text in UTF-8 has. `vocabularies.json` has what goes with it. Loading takes some tenths
of a second: a worker thread does it, and in slices, as far as tiktoken lets it. What it does not, the last step of
building an encoding, is 60 to 80 ms of one processor.
"""

import hashlib
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sidecar.core import resources

if TYPE_CHECKING:
    from tiktoken import Encoding

FOLDER = resources.find("tokens/vocab")

SEPARATOR = b"\xff"
"""No part of UTF-8, so of no token but the one that it is itself, which stands between two of them as nothing."""

BATCH_TOKENS = 4096
"""As many are put into the table at once, so that other threads get their turn."""

LARGE_BYTES = 12 * 1024 * 1024
"""More than the largest table of an encoding."""

BLOCK_BYTES = 100 * 1024
"""Of memory that is mapped at once: small enough to be taken from the heap, as the tokens are."""

BLOCKS_A_BATCH = 10
"""So many blocks are what an encoding takes for a batch of tokens, with its tables."""

GAP_TOKENS = 256
"""Of so many tokens, one has a rank that gives other threads their turn."""


class VocabularyError(Exception):
    """A vocabulary that is not there, or is not what it should be."""


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of one vocabulary. It has no special tokens: in a text that is counted there are none."""

    sha256: str
    """Of the file's content, uncompressed."""
    published_bytes: int
    published_sha256: str
    """Of the published file that it was made of."""
    pattern: str
    """The regular expression by which a text is first split."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    vocabularies: dict[str, Vocabulary]
    same: dict[str, str]
    """Other names of one, which differ in their special tokens alone."""


@cache
def table() -> dict[str, Vocabulary]:
    """Return every vocabulary by name."""
    return _table().vocabularies


@cache
def _table() -> _Table:
    return msgspec.json.decode((FOLDER / "vocabularies.json").read_bytes(), type=_Table)


def file_of(name: str) -> str:
    """Return the name of the vocabulary whose tokens *name* has: one object is enough for both."""
    return _table().same.get(name, name)


def load(name: str, folder: Path = FOLDER) -> "Encoding":
    """Return the encoding called *name*. Blocks.

    Raises: VocabularyError when the file or tiktoken is missing or damaged.
    """
    vocabulary = table()[name]
    try:
        from tiktoken import Encoding

        content = zlib.decompress((folder / f"{name}.zlib").read_bytes())
    except (ImportError, OSError, zlib.error) as error:
        raise VocabularyError(f"{name} cannot be read: {type(error).__name__}") from error
    if hashlib.sha256(content).hexdigest() != vocabulary.sha256:
        raise VocabularyError(f"{name} is damaged")
    ranks = _ranks(content.split(SEPARATOR))
    fence = _mapped(len(ranks))
    encoding = Encoding(name, pat_str=vocabulary.pattern, mergeable_ranks=ranks, special_tokens={})
    del fence
    # What encodes has a copy of its own: this one would be some 25 MB for nothing.
    ranks.clear()
    return encoding


def _mapped(count: int) -> bytes:
    """Have the memory for an encoding of *count* tokens mapped, and return what stands behind it.

    The system maps a page when it is first written to, and clears it. An encoding is built in one native call that
    lets nobody else run, and a quarter of that call, or on a virtual machine half of it, would be waiting for ten
    thousand pages. Here others have their turn between two blocks. They are freed at once, and what stands behind
    them keeps the allocator from giving them back. Where memory is managed in another way, this does nothing.
    """
    # Once a block of that size was freed, the allocator of glibc takes such from its heap too.
    bytes(LARGE_BYTES)
    blocks = [SEPARATOR * BLOCK_BYTES for _ in range(-(-count // BATCH_TOKENS) * BLOCKS_A_BATCH)]
    return blocks[-1]


class _Rank:
    """A rank that is no `int`, so that the interpreter has to ask for its number.

    The constructor of an encoding does not let go of the interpreter while it reads hundreds of thousands of
    ranks, and nothing would be answered meanwhile. A call into Python is where another thread may have its turn.
    """

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number

    def __lt__(self, other: Any) -> bool:
        return self.number < int(other.__index__())

    def __gt__(self, other: Any) -> bool:
        return self.number > int(other.__index__())


def _ranks(tokens: list[bytes]) -> dict[bytes, int]:
    """Return token → rank."""
    tokens[tokens.index(b"")] = SEPARATOR
    ranks: dict[bytes, Any] = {}
    for start in range(0, len(tokens), BATCH_TOKENS):
        ranks.update(zip(tokens[start : start + BATCH_TOKENS], range(start, len(tokens)), strict=False))
    for rank in range(0, len(tokens), GAP_TOKENS):
        ranks[tokens[rank]] = _Rank(rank)
    return ranks
