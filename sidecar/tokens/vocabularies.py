"""The vocabularies that come with the program, as encodings of tiktoken: loaded from files, never fetched.

Each is a file `<name>.zlib`, which `build.py` makes of the published one: all tokens in the order of their ranks, with
a byte between them that no UTF-8 text contains. `vocabularies.json` holds the rest. Loading takes some tenths of a
second, so a worker thread does it, in slices wherever tiktoken allows that. The last step, building the encoding, is
one native call of 60 to 80 ms.
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
"""No UTF-8 text contains it, so no token does, except the token that is this byte; the file has that one as empty."""

BATCH_TOKENS = 4096
"""How many tokens are put into the table at once, so that other threads get their turn."""

LARGE_BYTES = 12 * 1024 * 1024
"""More than the largest table of an encoding takes."""

BLOCK_BYTES = 100 * 1024
"""The memory that is mapped at once: small enough for the allocator to take it from the heap, as it does tokens."""

BLOCKS_PER_BATCH = 10
"""The memory of an encoding for one batch of tokens, tables included, in blocks."""

GAP_TOKENS = 256
"""One of this many tokens has a rank that gives other threads their turn."""


class VocabularyError(Exception):
    """A vocabulary that is missing or damaged."""


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One vocabulary. It has no special tokens, because the texts to count have none."""

    sha256: str
    """The digest of the file's content, uncompressed."""
    published_bytes: int
    published_sha256: str
    """The digest of the published file that it was made of."""
    pattern: str
    """The regular expression by which a text is first split."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    vocabularies: dict[str, Vocabulary]
    same: dict[str, str]
    """Other names of a vocabulary, which differ only in their special tokens."""


@cache
def load_table() -> dict[str, Vocabulary]:
    """Return every vocabulary by name."""
    return _load_file().vocabularies


@cache
def _load_file() -> _Table:
    return msgspec.json.decode((FOLDER / "vocabularies.json").read_bytes(), type=_Table)


def resolve_name(name: str) -> str:
    """Return the name of the vocabulary that has the same tokens as *name*: one object serves both."""
    return _load_file().same.get(name, name)


def load(name: str, folder: Path = FOLDER) -> "Encoding":
    """Return the encoding called *name*. Blocks.

    Raises: VocabularyError when the file or tiktoken is missing or damaged.
    """
    vocabulary = load_table()[name]
    try:
        from tiktoken import Encoding

        content = zlib.decompress((folder / f"{name}.zlib").read_bytes())
    except (ImportError, OSError, zlib.error) as error:
        raise VocabularyError(f"{name} cannot be read: {type(error).__name__}") from error
    if hashlib.sha256(content).hexdigest() != vocabulary.sha256:
        raise VocabularyError(f"{name} is damaged")
    ranks = _build_ranks(content.split(SEPARATOR))
    fence = _map_memory(len(ranks))
    encoding = Encoding(name, pat_str=vocabulary.pattern, mergeable_ranks=ranks, special_tokens={})
    del fence
    # The encoding has a copy of its own; this one would hold some 25 MB for nothing.
    ranks.clear()
    return encoding


def _map_memory(count: int) -> bytes:
    """Map the memory for an encoding of *count* tokens, and return the block that stands behind it.

    The system maps and clears a page when it is first written to. An encoding is built in one native call, during
    which no other thread runs; a quarter of that call, or half of it on a virtual machine, would be spent waiting for
    ten thousand pages. Here other threads get their turn between two blocks. The blocks are freed at once, and the one
    behind them keeps the allocator from giving them back. Where memory is managed in another way, this does nothing.
    """
    # After a block of this size is freed, the allocator of glibc takes such blocks from its heap too.
    bytes(LARGE_BYTES)
    blocks = [SEPARATOR * BLOCK_BYTES for _ in range(-(-count // BATCH_TOKENS) * BLOCKS_PER_BATCH)]
    return blocks[-1]


class _Rank:
    """A rank that is not an `int`, so that the interpreter must ask it for its number.

    The constructor of an encoding holds on to the interpreter while it reads hundreds of thousands of ranks, and
    nothing else would be answered meanwhile. A call into Python gives another thread its turn.
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


def _build_ranks(tokens: list[bytes]) -> dict[bytes, int]:
    """Return token → rank."""
    tokens[tokens.index(b"")] = SEPARATOR
    ranks: dict[bytes, Any] = {}
    for start in range(0, len(tokens), BATCH_TOKENS):
        ranks.update(zip(tokens[start : start + BATCH_TOKENS], range(start, len(tokens)), strict=False))
    for rank in range(0, len(tokens), GAP_TOKENS):
        ranks[tokens[rank]] = _Rank(rank)
    return ranks
