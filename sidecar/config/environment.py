"""The environment variables that configure the sidecar, and the paths that catalogue templates make of variables."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from sidecar.config.values import LIMITS, ConfigError

T = TypeVar("T", bound=str)


def read_limits(env: Mapping[str, str]) -> dict[str, int]:
    """Return the limits that the environment sets, such as SIDECAR_MAX_ATTEMPTS.

    Raises: ConfigError with one line for each value that is out of range or not a number.
    """
    texts = {name: text for name in LIMITS if (text := env.get(f"SIDECAR_{name.upper()}"))}
    numbers = {name: int(text) for name, text in texts.items() if re.fullmatch("[0-9]{1,13}", text)}
    limits = {name: number for name, number in numbers.items() if 1 <= number <= LIMITS[name]}
    if wrong := sorted(texts.keys() - limits):
        lines = [f"SIDECAR_{name.upper()} must be a number from 1 to {LIMITS[name]}" for name in wrong]
        raise ConfigError("\n".join(lines))
    return limits


def read_folder(env: Mapping[str, str], variable: str, default: str) -> str | None:
    """Return the folder that *variable* names, or else *default*; None if that is not absolute.

    Raises: ConfigError for a relative path: the working directory is never used.
    """
    named = env.get(variable)
    if named and not Path(named).is_absolute():
        raise ConfigError(f"{variable} must be an absolute path")
    folder = named or default
    return folder if Path(folder).is_absolute() else None


def read_choice(env: Mapping[str, str], variable: str, names: tuple[T, ...]) -> T:
    """Return which of *names* the *variable* has, the first one where it is empty or not set.

    Raises: ConfigError for another name.
    """
    named = env.get(variable) or names[0]
    for name in names:
        if named == name:
            return name
    raise ConfigError(f"{variable} must be one of {', '.join(names)}")


def read_provider_variable(env: Mapping[str, str], provider: str, name: str) -> str | None:
    """Return the value of `SIDECAR_<PROVIDER>_<NAME>`, or None if it is empty or not set."""
    return env.get(f"SIDECAR_{provider.upper().replace('-', '_')}_{name.upper()}") or None


def find_existing(env: Mapping[str, str], templates: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Return the names of which at least one template leads to an existing file. Blocks."""
    return frozenset(name for name, each in templates.items() if any(_exists(env, template) for template in each))


def _exists(env: Mapping[str, str], template: str) -> bool:
    try:
        path = fill_path(env, template)
        return path is not None and path.is_file()
    except (OSError, ValueError):
        return False


def fill_path(env: Mapping[str, str], template: str) -> Path | None:
    """Return the path that *template* makes, where `{NAME}` stands for a variable; None if one is not set.

    A relative path is None too: the working directory is never used.
    """
    try:
        path = Path(template.format_map(env))
    except KeyError:
        return None
    return path if path.is_absolute() else None
