"""Compresses a file with zstd: `python compress.py FROM TO LEVEL`. Runs where the package `zstandard` is installed."""

import sys
from pathlib import Path

import zstandard


def main(source: str, target: str, level: str) -> None:
    """Write one frame with its size and a checksum, which the launcher checks."""
    data = Path(source).read_bytes()
    settings = zstandard.ZstdCompressionParameters.from_level(
        int(level), source_size=len(data), window_log=27, enable_ldm=True, write_checksum=True, write_content_size=True
    )
    Path(target).write_bytes(zstandard.ZstdCompressor(compression_params=settings).compress(data))


if __name__ == "__main__":
    main(*sys.argv[1:])
