"""Data files are found wherever the program stands."""

import binascii
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from sidecar.core import resources
from tests.support.locks import ROOT


def test_a_data_file_is_found_in_the_package() -> None:
    assert resources.find("catalogue/models.json").is_file()


def test_recordings_are_found_beside_a_checkout_and_inside_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (resources.find_fixtures() / "anthropic_messages").is_dir()
    inside = tmp_path / "fixtures"
    inside.mkdir()
    monkeypatch.setattr(resources, "_ROOT", tmp_path)
    assert resources.find_fixtures() == inside


def test_a_parsed_table_is_taken_only_while_its_source_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "_ROOT", tmp_path)
    (tmp_path / "t.toml").write_text("a = 1\n")
    parsed = tmp_path / "t.parsed.json"
    crc = binascii.crc32(b"a = 1\n")
    for content, table in (
        (None, {"a": 1}),
        ("{", {"a": 1}),
        ('{"source_crc32":1,"table":{"a":2}}', {"a": 1}),
        (f'{{"source_crc32":{crc},"table":{{"a":2}}}}', {"a": 2}),
    ):
        if content is not None:
            parsed.write_text(content)
        assert msgspec.json.decode(resources.read_table("t.toml")) == table


@pytest.mark.spawns
def test_the_parsed_tables_say_what_their_sources_do() -> None:
    subprocess.run([sys.executable, ROOT / "packaging/wheel/tables.py"], check=True, timeout=60)
    for name in ("gateways", "providers"):
        source = resources.find(f"catalogue/{name}.toml")
        parsed = msgspec.json.decode(source.with_suffix(".parsed.json").read_bytes())
        assert parsed["source_crc32"] == binascii.crc32(source.read_bytes())
        assert parsed["table"] == tomllib.loads(source.read_text(encoding="utf-8"))
