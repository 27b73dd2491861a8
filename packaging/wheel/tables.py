"""Parses the large TOML files of the catalogue once for all starts, with Python's own library alone.

    python packaging/wheel/tables.py

`make` runs this for the checkout, and the build of a wheel for the wheel. `sidecar/core/resources.py` reads the result.
"""

import binascii
import json
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "sidecar/catalogue"
TABLES = ("gateways", "providers")


def write_tables(target: Path) -> list[Path]:
    """Write each table as JSON into *target*, unless it is there, and return the files."""
    return [_write_table(ROOT / FOLDER / f"{name}.toml", target / f"{name}.parsed.json") for name in TABLES]


def _write_table(source: Path, file: Path) -> Path:
    text = source.read_bytes()
    parsed = {"source_crc32": binascii.crc32(text), "table": tomllib.loads(text.decode())}
    data = json.dumps(parsed, ensure_ascii=False, separators=(",", ":")).encode()
    if not file.exists() or file.read_bytes() != data:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return file


if __name__ == "__main__":
    write_tables(ROOT / FOLDER)
