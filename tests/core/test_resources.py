"""Data files are found wherever the program stands."""

from pathlib import Path

import pytest

from sidecar.core import resources


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
