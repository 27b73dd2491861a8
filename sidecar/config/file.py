"""The content of `config.toml` → checked tables, or all its mistakes at once with their lines.

Imported only if there is a file.
"""

import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from pydantic import SecretStr, ValidationError

from sidecar.catalogue.provider_rows import read_aliases, read_providers
from sidecar.config import task_rows
from sidecar.config.mistakes import describe_mistake, describe_problem
from sidecar.config.tables import File
from sidecar.config.task_rows import TaskRow
from sidecar.config.values import ConfigError

Mistake = tuple[tuple[int | str, ...], str]
"""The keys that lead to it, and the problem."""


def parse(content: bytes, path: str) -> dict[str, Any]:
    """Return the tables of a file with the keys that it sets, secrets as plain strings.

    Raises: ConfigError with one line for each mistake.
    """
    try:
        text = content.decode("utf-8-sig")
        raw = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply") from None
    except ValueError as error:
        # No UTF-8, no TOML, or a number of thousands of digits.
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    try:
        file = File.model_validate(raw)
    except ValidationError as error:
        errors = error.errors(include_input=False)
        found = [(each["loc"], describe_problem(each["type"], each["msg"])) for each in errors]
        raise _refuse(path, text, found) from None
    tables: dict[str, Any] = _reveal(file.model_dump(exclude_unset=True))
    if mistakes := [*_check_providers(file), *_check_tasks(tables)]:
        raise _refuse(path, text, mistakes)
    return tables


def _refuse(path: str, text: str, mistakes: Sequence[Mistake]) -> ConfigError:
    return ConfigError("\n".join(describe_mistake(path, text, keys, problem) for keys, problem in mistakes))


def _check_providers(file: File) -> Iterator[Mistake]:
    """Yield a mistake for each provider that does not exist, or lacks what only a built-in one may leave out."""
    for name, table in file.providers.items():
        for key in ("wire", "base_url"):
            if name not in read_providers() and getattr(table, key) is None:
                yield ("providers", name), f"needs `{key}`, as it is not a built-in provider"
    for name, models in ((file.catalogue and file.catalogue.model_extra) or {}).items():
        if name not in read_providers() and name not in file.providers:
            alias = read_aliases().get(name)
            problem = f"use the provider's id, which is {alias}" if alias else "there is no such provider"
            yield ("catalogue", name, *[*models][:1]), problem


def _check_tasks(tables: dict[str, Any]) -> Iterator[Mistake]:
    """Yield a mistake for each thing that would keep a task from being run."""
    chains, built_in = tables.get("chains") or {}, task_rows.read_built_in() if tables.get("tasks") else {}
    for name, table in (tables.get("tasks") or {}).items():
        if name == "default":
            continue
        row = msgspec.convert(task_rows.merge(built_in.get(name, {}), table), TaskRow)
        yield from ((("tasks", name, *keys), problem) for keys, problem in task_rows.find_problems(row))
        if row.chain and row.chain not in chains:
            yield ("tasks", name, "chain"), "there is no such list in [chains]"


def _reveal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reveal(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_reveal(each) for each in value]
    return value.get_secret_value() if isinstance(value, SecretStr) else value
