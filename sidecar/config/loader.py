"""The user's configuration: environment and one TOML file, read once into a frozen `Config`.

The only module that reads the environment and files of configuration. The working directory
is never looked at: a project must not be able to configure the process that holds the keys.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import platformdirs

from sidecar.catalogue.corrections import Correction
from sidecar.config.values import LIMITS, REFRESH_URL, Config, ConfigError
from sidecar.core.log import Level

MAX_FILE_BYTES = 1024 * 1024


def load(
    *,
    path: str | None = None,
    record_dir: str | None = None,
    log_level: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Config:
    """Return the configuration of *path*, or of the user's directory, under what the command line says.

    Raises: ConfigError with every mistake of the file and its place.
    """
    env = dict(os.environ) if env is None else env
    named = path or env.get("SIDECAR_CONFIG")
    file = Path(named) if named else _default_path()
    # Without a home, or with a relative one, the user's directory would be the working directory.
    tables = _read(file, must_exist=named is not None) if named or file.is_absolute() else {}
    log = tables.get("log") or {}
    replay = tables.get("replay") or {}
    corrections = tables.get("catalogue") or {}
    # It stands among the providers, and is none.
    refresh_url = corrections.pop("refresh_url", REFRESH_URL)
    return Config(
        path=str(file),
        providers=tables.get("providers") or {},
        models=tables.get("models") or {},
        chains=tables.get("chains") or {},
        gateway=_with_token(tables.get("gateway") or {}, env),
        limits=(tables.get("limits") or {}) | _limits(env),
        env=env,
        store_dir=_folder(env, "SIDECAR_STORE_DIR", platformdirs.user_data_dir("sidecar", appauthor=False)),
        ledger_path=_ledger_path(env, tables.get("ledger") or {}),
        budgets=tables.get("budgets") or {},
        refresh_url=refresh_url,
        corrections=_corrections(corrections),
        cache_dir=_folder(env, "SIDECAR_CACHE_DIR", platformdirs.user_cache_dir("sidecar", appauthor=False)),
        log_level=_level(log_level or env.get("SIDECAR_LOG") or log.get("level") or "warn"),
        record_dir=record_dir,
        replay_dir=env.get("SIDECAR_REPLAY_DIR") or replay.get("dir"),
    )


def _limits(env: Mapping[str, str]) -> dict[str, int]:
    """Return the limits that the environment sets, such as SIDECAR_MAX_ATTEMPTS.

    Raises: ConfigError with one line for each that is no number of those it may be.
    """
    named = {name: value for name in LIMITS if (value := env.get(f"SIDECAR_{name.upper()}"))}
    fit = {name: int(value) for name, value in named.items() if re.fullmatch("[0-9]{1,13}", value)}
    fit = {name: value for name, value in fit.items() if 1 <= value <= LIMITS[name]}
    if wrong := [f"SIDECAR_{name.upper()} must be a number from 1 to {LIMITS[name]}" for name in named.keys() - fit]:
        raise ConfigError("\n".join(sorted(wrong)))
    return fit


def _level(name: str) -> str:
    if name not in get_args(Level):
        raise ConfigError(f"the log level must be one of {', '.join(get_args(Level))}")
    return name


def _with_token(gateway: dict[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    variable = gateway.get("token_env")
    token = gateway.get("token") or (env.get(variable) if variable else None)
    return gateway | {"token": token} if gateway else {}


def _folder(env: Mapping[str, str], variable: str, usual: str) -> str | None:
    """Return the folder that *variable* names, or the *usual* one; None where the user has no place for that.

    Raises: ConfigError for a relative name: the working directory is no place.
    """
    named = env.get(variable)
    if named and not Path(named).is_absolute():
        raise ConfigError(f"{variable} must be an absolute path")
    folder = named or usual
    return folder if Path(folder).is_absolute() else None


def _corrections(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Correction]]:
    if not tables:
        return {}
    from sidecar.catalogue import overlay  # Only a user who has a file pays for the catalogue.

    return {
        name: {model: overlay.correction(table) for model, table in models.items()} for name, models in tables.items()
    }


def _ledger_path(env: Mapping[str, str], table: Mapping[str, Any]) -> str | None:
    """Return where the ledger is, None where it is switched off or the user has no place for it."""
    named = env.get("SIDECAR_LEDGER")
    if named == "off" or (not named and not table.get("enabled", True)):
        return None
    path = Path(named) if named else Path(platformdirs.user_data_dir("sidecar", appauthor=False)) / "ledger.sqlite3"
    if named and not path.is_absolute():
        raise ConfigError("SIDECAR_LEDGER must be `off` or an absolute path")
    return str(path) if path.is_absolute() else None


def _default_path() -> Path:
    return Path(platformdirs.user_config_dir("sidecar", appauthor=False)) / "config.toml"


def _read(file: Path, *, must_exist: bool) -> dict[str, Any]:
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
    from sidecar.config import file as tables  # Only a user who has a file pays for pydantic.

    return tables.parse(content, str(file))


def with_files(env: Mapping[str, str], files: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Return the names in *files* of which one file is there; `{NAME}` stands for a variable. Blocks."""
    return frozenset(name for name, templates in files.items() if any(_is_there(env, each) for each in templates))


def _is_there(env: Mapping[str, str], template: str) -> bool:
    try:
        path = path_in(env, template)
        return path is not None and path.is_file()
    except (OSError, ValueError):
        return False


def path_in(env: Mapping[str, str], template: str) -> Path | None:
    """Return the file that a *template* of the catalogue stands for, `{NAME}` for a variable; None: there is none."""
    try:
        path = Path(template.format_map(env))
    except KeyError:
        return None
    return path if path.is_absolute() else None


def provider_env(env: Mapping[str, str], provider: str, name: str) -> str | None:
    """Return the environment's `SIDECAR_<PROVIDER>_<NAME>`, or None."""
    return env.get(f"SIDECAR_{provider.upper().replace('-', '_')}_{name.upper()}") or None
