"""The shape of `config.toml` and its mistakes, all of them at once with their lines.

Uses pydantic, because people write this file by hand; imported only when there is a file.
"""

import re
import tomllib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from sidecar.config import ConfigError

_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)


class ProviderTable(BaseModel):
    """`[providers.NAME]`: corrections to a built-in provider, or a whole compatible one."""

    model_config = _STRICT

    api_key: SecretStr | None = None
    api_key_env: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    base_url: str | None = Field(None, max_length=2048)
    name: str | None = None
    wire: str | None = None
    auth_header: str | None = Field(None, pattern=r"^[A-Za-z0-9-]{1,64}$")
    headers: dict[str, str] = {}
    listing: str | None = None
    quirks: dict[str, bool | str] = {}


class LogTable(BaseModel):
    """`[log]`."""

    model_config = _STRICT

    level: Literal["debug", "info", "warn", "error", "off"] = "warn"


class ReplayTable(BaseModel):
    """`[replay]`: where the exchanges are that the provider `replay` plays."""

    model_config = _STRICT

    dir: str


class File(BaseModel):
    """The whole file."""

    model_config = _STRICT

    providers: dict[str, ProviderTable] = {}
    log: LogTable | None = None
    replay: ReplayTable | None = None


def parse(content: bytes, path: str) -> dict[str, Any]:
    """Return the tables of a file, secrets as plain strings.

    Raises: ConfigError with one line for each mistake.
    """
    try:
        text = content.decode("utf-8-sig")
        raw = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    try:
        file = File.model_validate(raw)
    except ValidationError as error:
        lines = [_mistake(path, text, each["loc"], each["msg"]) for each in error.errors(include_input=False)]
        raise ConfigError("\n".join(lines)) from None
    tables = file.model_dump(exclude_unset=True)
    for table in tables.get("providers", {}).values():
        if table.get("api_key") is not None:
            table["api_key"] = table["api_key"].get_secret_value()
    return tables


def _mistake(path: str, text: str, loc: tuple[int | str, ...], problem: str) -> str:
    names = [str(part) for part in loc]
    line = _line_of(text, names)
    place = f"{path}:{line}" if line else path
    return f"{place}: {'.'.join(names)}: {problem[0].lower()}{problem[1:]}"


_HEADER = re.compile(r"^\s*\[([^\[\]]+)\]\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*([\w.\"'-]+)\s*=")


def _line_of(text: str, names: list[str]) -> int | None:
    """Return the line of the longest part of *names* that the file spells out."""
    best, best_length, table = None, 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if match := _HEADER.match(line):
            table = _split(match[1])
            path = table
        elif match := _KEY.match(line):
            path = table + _split(match[1])
        else:
            continue
        if path == names[: len(path)] and len(path) > best_length:
            best, best_length = number, len(path)
    return best


def _split(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
