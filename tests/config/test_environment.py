"""Environment variables: those that configure the sidecar, and those in the templates of the catalogue."""

from pathlib import Path

import pytest

from sidecar.config.environment import (
    fill_path,
    find_existing,
    read_folder,
    read_limits,
    read_provider_variable,
)
from sidecar.config.values import ConfigError


@pytest.mark.parametrize(
    ("provider", "name", "variable"),
    [("anthropic", "base_url", "SIDECAR_ANTHROPIC_BASE_URL"), ("my-lab", "region", "SIDECAR_MY_LAB_REGION")],
)
def test_a_variable_of_a_provider_is_named_after_it(provider: str, name: str, variable: str) -> None:
    assert read_provider_variable({variable: "x"}, provider, name) == "x"
    assert read_provider_variable({variable: ""}, provider, name) is None
    assert read_provider_variable({}, provider, name) is None


def test_limits_are_numbers_in_their_range() -> None:
    assert read_limits({"SIDECAR_MAX_ATTEMPTS": "5", "SIDECAR_CONCURRENCY": "", "OTHER": "x"}) == {"max_attempts": 5}
    with pytest.raises(ConfigError) as caught:
        read_limits({"SIDECAR_MAX_ATTEMPTS": "six", "SIDECAR_CONCURRENCY": "0"})
    assert str(caught.value).splitlines() == [
        "SIDECAR_CONCURRENCY must be a number from 1 to 65536",
        "SIDECAR_MAX_ATTEMPTS must be a number from 1 to 5",
    ]


def test_a_folder_is_absolute_or_none() -> None:
    assert read_folder({"FOLDER": "/named"}, "FOLDER", "/usual") == "/named"
    assert read_folder({}, "FOLDER", "/usual") == "/usual"
    assert read_folder({}, "FOLDER", "usual") is None
    with pytest.raises(ConfigError, match="FOLDER must be an absolute path"):
        read_folder({"FOLDER": "named"}, "FOLDER", "/usual")


def test_a_template_is_a_path_if_its_variables_make_it_absolute() -> None:
    assert fill_path({"HOME": "/home/me"}, "{HOME}/file") == Path("/home/me/file")
    assert fill_path({"HOME": "here"}, "{HOME}/file") is None
    assert fill_path({}, "{HOME}/file") is None


def test_a_name_exists_if_one_of_its_files_does(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    templates = {
        "first": ["{HOME}/there"],
        "second": ["{HOME}/absent", "{HOME}/there"],
        "absent": ["{HOME}/absent", "{NOWHERE}/there"],
        "folder": ["{HOME}"],
        "strange": ["{HOME}/\0"],
    }
    assert find_existing({"HOME": str(tmp_path)}, templates) == {"first", "second"}
