"""The content of `config.toml` → checked tables, or all its mistakes at once with their lines.

Imported only if there is a file.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args

import msgspec
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from sidecar.catalogue.provider_rows import read_aliases, read_providers
from sidecar.config import task_rows
from sidecar.config.mistakes import Mistake, describe_mistakes, describe_problem
from sidecar.config.tables import File
from sidecar.config.task_rows import TaskRow
from sidecar.config.values import ConfigError

_LONG_KEY = re.compile(r"""(?:(?>[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')[ \t]*+\.[ \t]*+){64}""")
"""A dotted key for which `tomllib` takes time and memory without end."""


def parse(content: bytes, path: str) -> dict[str, Any]:
    """Return the tables of a file with the keys that it sets, secrets as plain strings.

    Raises: ConfigError with one line for each mistake.
    """
    try:
        text = content.decode("utf-8-sig")
        if _LONG_KEY.search(text):
            raise ConfigError(f"{path}: has a key of more than 64 parts")
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
        found = [(each["loc"], _describe_problem(each)) for each in errors]
        raise ConfigError(describe_mistakes(path, text, found)) from None
    tables: dict[str, Any] = _reveal(file.model_dump(exclude_unset=True))
    if mistakes := [*_check_providers(file), *_check_tasks(tables), *_check_route(tables)]:
        raise ConfigError(describe_mistakes(path, text, mistakes))
    return tables


def _describe_problem(error: ErrorDetails) -> str:
    problem = describe_problem(error["type"], error["msg"])
    if error["type"] != "extra_forbidden":
        return problem
    *steps, name = error["loc"]
    near = get_close_matches(str(name), _list_keys(steps), n=1)
    return f"{problem}; did you mean {near[0]}?" if near else problem


def _list_keys(steps: Sequence[int | str]) -> list[str]:
    """Return the keys that a table may have to which *steps* lead."""
    model: type[BaseModel] = File
    for step in steps:
        # A step that is no field is the name of a table, or the index of an entry.
        field = model.model_fields.get(str(step))
        model = (_find_model(field.annotation) if field else None) or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _find_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _find_model(each)) is not None), None)


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


def _check_route(tables: dict[str, Any]) -> Iterator[Mistake]:
    """Yield a mistake for a route whose models are a list that is not there."""
    models = (tables.get("route") or {}).get("models")
    if isinstance(models, str) and models not in (tables.get("chains") or {}):
        yield ("route", "models"), "there is no such list in [chains]"


def _reveal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reveal(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_reveal(each) for each in value]
    return value.get_secret_value() if isinstance(value, SecretStr) else value
