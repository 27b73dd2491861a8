"""The user's folders: where the system's rules have them, and nowhere where there are none."""

import os

import platformdirs
import pytest

from sidecar.config import loader


@pytest.mark.parametrize("home", ["/home/me", "/home/me/", "/", "", "me", None])
@pytest.mark.parametrize("named", ["/elsewhere", "/elsewhere/", "", "elsewhere", None])
def test_folders_are_where_platformdirs_has_them(
    monkeypatch: pytest.MonkeyPatch, home: str | None, named: str | None
) -> None:
    variables = {"HOME": home} | dict.fromkeys(("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), named)
    for variable, value in variables.items():
        monkeypatch.delenv(variable, raising=False)
        if value is not None:
            monkeypatch.setenv(variable, value)
    config = loader.load(env={"SIDECAR_CONFIG": os.devnull})
    expected = (
        platformdirs.user_data_dir("sidecar", appauthor=False),
        platformdirs.user_cache_dir("sidecar", appauthor=False),
    )
    assert (config.store_dir, config.cache_dir) == expected


def test_a_user_whom_the_system_does_not_know_has_no_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may run as any number, without a HOME."""

    def fail(*_: object, **__: object) -> str:
        raise RuntimeError("no home")

    for name in ("user_data_dir", "user_config_dir", "user_cache_dir"):
        monkeypatch.setattr(f"platformdirs.{name}", fail)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    config = loader.load(env={})
    assert (config.store_dir, config.cache_dir, config.ledger_path) == (None, None, None)
    assert loader.load(env={"SIDECAR_STORE_DIR": "/made/up"}).store_dir == "/made/up"
