"""Make the files of the vocabularies again: `python -m sidecar.tokens.build FILE...`, a maintainer's tool.

FILE is a published vocabulary (`o200k_base.tiktoken`), or an archive that contains some, such as the wheel that
`pip download --no-deps --dest DIR llama-index-core==0.14.25` fetches. A vocabulary is recognized by its SHA-256,
whatever its name; unknown files are skipped. The same vocabulary always makes the same bytes.
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
    """Write a file for every vocabulary in the files that *arguments* name."""
    if not arguments:
        raise SystemExit("usage: python -m sidecar.tokens.build FILE...")
    found = {name for argument in arguments for name in _convert_file(Path(argument), folder)}
    missing = sorted(vocabularies.load_table().keys() - found)
    if missing:
        raise SystemExit(f"not found: {', '.join(missing)}")


def _convert_file(path: Path, folder: Path) -> Iterator[str]:
    for published in _read_candidates(path):
        digest = hashlib.sha256(published).hexdigest()
        for name, vocabulary in vocabularies.load_table().items():
            if digest == vocabulary.published_sha256:
                (folder / f"{name}.zlib").write_bytes(zlib.compress(convert(published), 9))
                yield name


def _read_candidates(path: Path) -> Iterator[bytes]:
    """Yield what may be a vocabulary: the file itself, or the members of an archive with the size of one."""
    sizes = {vocabulary.published_bytes for vocabulary in vocabularies.load_table().values()}
    if not zipfile.is_zipfile(path):
        yield path.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        yield from (archive.read(member) for member in archive.infolist() if member.file_size in sizes)


def convert(published: bytes) -> bytes:
    """Return the content of our file for a *published* vocabulary, which has a token in base64 and its rank per line.

    Raises: ValueError for a vocabulary that our format cannot hold.
    """
    tokens = []
    for rank, line in enumerate(published.splitlines()):
        token, _, written_rank = line.partition(b" ")
        if int(written_rank) != rank:
            raise ValueError(f"line {rank + 1} has the rank {int(written_rank)}")
        tokens.append(base64.b64decode(token))
    if [token for token in tokens if vocabularies.SEPARATOR in token or not token] != [vocabularies.SEPARATOR]:
        raise ValueError("a token is empty or contains the separator")
    return vocabularies.SEPARATOR.join(token if token != vocabularies.SEPARATOR else b"" for token in tokens)


if __name__ == "__main__":
    main(sys.argv[1:])
