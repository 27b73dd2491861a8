"""Make the vocabularies' files again: `python -m sidecar.tokens.build FILE...`, a maintainer's tool.

FILE is a published vocabulary (`o200k_base.tiktoken`), or an archive with some in it, such as the wheel that
`pip download --no-deps --dest DIR llama-index-core==0.14.25` fetches. Each is known by its SHA-256, whatever it is
called; what is not known is passed over. The same vocabulary always makes the same bytes.
"""

import base64
import hashlib
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from sidecar.tokens import vocabularies


def main(arguments: list[str], folder: Path = vocabularies.FOLDER) -> None:
    """Write a file for every vocabulary that is found in the files of *arguments*."""
    if not arguments:
        raise SystemExit("usage: python -m sidecar.tokens.build FILE...")
    found = {name for argument in arguments for name in _take(Path(argument), folder)}
    missing = sorted(vocabularies.table().keys() - found)
    if missing:
        raise SystemExit(f"not found: {', '.join(missing)}")


def _take(path: Path, folder: Path) -> Iterator[str]:
    for published in _contents(path):
        digest = hashlib.sha256(published).hexdigest()
        for name, vocabulary in vocabularies.table().items():
            if digest == vocabulary.published_sha256:
                (folder / f"{name}.zlib").write_bytes(zlib.compress(content(published), 9))
                yield name


def _contents(path: Path) -> Iterator[bytes]:
    """Yield what may be a vocabulary: the file itself, or the members of an archive that have the right size."""
    sizes = {vocabulary.published_bytes for vocabulary in vocabularies.table().values()}
    if not zipfile.is_zipfile(path):
        yield path.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        yield from (archive.read(member) for member in archive.infolist() if member.file_size in sizes)


def content(published: bytes) -> bytes:
    """Return the content of our file for a *published* vocabulary: lines of a token in base64 and its rank.

    Raises: ValueError for one that cannot be told from its content.
    """
    tokens = []
    for rank, line in enumerate(published.splitlines()):
        token, _, given = line.partition(b" ")
        if int(given) != rank:
            raise ValueError(f"line {rank + 1} has the rank {int(given)}")
        tokens.append(base64.b64decode(token))
    if [token for token in tokens if vocabularies.SEPARATOR in token or not token] != [vocabularies.SEPARATOR]:
        raise ValueError("a token holds the separator, or nothing")
    return vocabularies.SEPARATOR.join(token if token != vocabularies.SEPARATOR else b"" for token in tokens)


if __name__ == "__main__":
    main(sys.argv[1:])
