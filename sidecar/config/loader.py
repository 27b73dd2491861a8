"""The user's configuration: the environment and one TOML file, read once into a frozen `Config`.

The only module that reads the environment of the process and the configuration file. It never looks at the working
directory: a project must not be able to configure the process that holds the keys.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from sidecar.catalogue.corrections import Correction
from sidecar.config.environment import read_choice, read_folder, read_limits
from sidecar.config.values import REFRESH_URL, REUSE_MAX_BYTES, Config, ConfigError, LoopName
from sidecar.core import platforms
from sidecar.core.http import ClientName
from sidecar.core.log import Level

MAX_FILE_BYTES = 1024 * 1024


def read_environment() -> dict[str, str]:
    """Return the variables of the process."""
    return dict(os.environ)


def load(
    *,
    path: str | None = None,
    record_dir: str | None = None,
    trace_path: str | None = None,
    log_level: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Config:
    """Return the configuration in *path*, or in the user's own file, with the flags of the command line applied.

    Raises: ConfigError with every mistake in the file and its line.
    """
    env = read_environment() if env is None else env
    named = path or env.get("SIDECAR_CONFIG")
    folders = _find_folders(env)
    file = Path(named) if named else Path(folders.config) / "config.toml"
    # Without a home, or with a relative one, the user's own folder would be the working directory.
    tables = _read(file, must_exist=named is not None) if named or file.is_absolute() else {}
    corrections = tables.get("catalogue") or {}
    # It stands among the providers, and is none.
    refresh_url = corrections.pop("refresh_url", REFRESH_URL)
    tasks = tables.get("tasks") or {}
    # It stands among the tasks, and is none.
    default_model = tasks.pop("default", None)
    return Config(
        path=str(file),
        providers=tables.get("providers") or {},
        models=tables.get("models") or {},
        route=tables.get("route") or {},
        chains=tables.get("chains") or {},
        tasks=tasks,
        task_model=default_model,
        gateway=_add_token(tables.get("gateway") or {}, env),
        limits=(tables.get("limits") or {}) | read_limits(env),
        env=env,
        store_dir=read_folder(env, "SIDECAR_STORE_DIR", folders.data),
        uses_keychain=not folders.is_home,
        ledger_path=_find_ledger(env, tables.get("ledger") or {}, folders.data),
        reuse_path=_find_answers(tables.get("reuse") or {}, folders.data),
        reuse_max_bytes=(tables.get("reuse") or {}).get("max_bytes", REUSE_MAX_BYTES),
        budgets=tables.get("budgets") or {},
        refresh_url=refresh_url,
        corrections=_make_corrections(corrections),
        cache_dir=read_folder(env, "SIDECAR_CACHE_DIR", folders.cache),
        event_loop=read_choice(env, "SIDECAR_LOOP", get_args(LoopName)),
        http_client=read_choice(env, "SIDECAR_HTTP", get_args(ClientName)),
        log_level=_choose_level(log_level, env.get("SIDECAR_LOG"), tables.get("log", {}).get("level", "warn")),
        record_dir=record_dir,
        trace_path=trace_path or read_folder(env, "SIDECAR_TRACE", ""),
        replay_dir=env.get("SIDECAR_REPLAY_DIR") or tables.get("replay", {}).get("dir"),
    )


def _choose_level(of_option: str | None, of_variable: str | None, of_file: str) -> str:
    for where, name in (("--log-level", of_option), ("SIDECAR_LOG", of_variable)):
        if name and name not in get_args(Level):
            raise ConfigError(f"{where} must be one of {', '.join(get_args(Level))}")
        if name:
            return name
    return of_file


def _add_token(gateway: dict[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    variable = gateway.get("token_env")
    token = gateway.get("token") or (env.get(variable) if variable else None)
    return gateway | {"token": token} if gateway else {}


def _make_corrections(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Correction]]:
    if not tables:
        return {}
    from sidecar.catalogue.overlay import make_correction  # Only a user who has a file pays for the catalogue.

    return {name: {model: make_correction(table) for model, table in models.items()} for name, models in tables.items()}


def _find_ledger(env: Mapping[str, str], table: Mapping[str, Any], folder: str) -> str | None:
    """Return the path of the ledger, by default in *folder*; None if it is switched off, or there is no folder."""
    named = env.get("SIDECAR_LEDGER")
    if named == "off" or (not named and not table.get("enabled", True)):
        return None
    path = Path(named) if named else Path(folder) / "ledger.sqlite3"
    if named and not path.is_absolute():
        raise ConfigError("SIDECAR_LEDGER must be `off` or an absolute path")
    return str(path) if path.is_absolute() else None


def _find_answers(table: Mapping[str, Any], folder: str) -> str | None:
    """Return the path of the file of stored answers in *folder*; None unless the user wants one."""
    path = Path(folder) / "answers.sqlite3"
    return str(path) if table.get("persist") and path.is_absolute() else None


class _Folders(NamedTuple):
    """Where the program's files are, unless a variable says otherwise. Empty: nowhere."""

    config: str
    data: str
    cache: str
    is_home: bool
    """Whether SIDECAR_HOME names one place for all."""


def _find_folders(env: Mapping[str, str]) -> _Folders:
    if home := read_folder(env, "SIDECAR_HOME", ""):
        return _Folders(home, str(Path(home, "data")), str(Path(home, "cache")), is_home=True)
    return _Folders(
        _find_folder("config"),
        _find_folder("data"),
        _find_folder("cache"),
        is_home=False,
    )


_XDG_FOLDERS = {"cache": ".cache", "config": ".config", "data": ".local/share"}
"""Below the user's home, where `XDG_CACHE_HOME` and so on name no other."""


def _find_folder(kind: Literal["cache", "config", "data"]) -> str:
    """Return the user's folder; empty for a user whom the system does not know and who has no HOME."""
    if platforms.FOLLOWS_XDG:
        named, home = Path(os.environ.get(f"XDG_{kind.upper()}_HOME", "")), Path(os.environ.get("HOME", ""))
        if named.is_absolute() or home.is_absolute():
            return str((named if named.is_absolute() else home / _XDG_FOLDERS[kind]) / "sidecar")
    import platformdirs  # A tenth of the time of a start.

    find: Callable[..., str] = getattr(platformdirs, f"user_{kind}_dir")
    try:
        return find("sidecar", appauthor=False)
    except RuntimeError:
        return ""


def _read(file: Path, *, must_exist: bool) -> dict[str, Any]:
    """Return the checked tables of *file*; empty if there is none and there need not be one.

    Raises: ConfigError.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        if must_exist:
            raise ConfigError(f"{file}: there is no such file") from None
        return {}
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{file}: is larger than {MAX_FILE_BYTES} bytes")
    if not content.strip():
        return {}
    from sidecar.config.file import parse  # Only a user who has a file pays for pydantic.

    return parse(content, str(file))
