"""A task: a row that comes with the program, and over it the configuration and what was set. [pure]"""

from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.options import Options
from protocol.tasks import Source
from sidecar.config import task_rows
from sidecar.config.task_rows import MODEL_KEYS, TaskRow
from sidecar.config.values import Config
from sidecar.tasks.overrides import Override


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task, with everything that applies to it."""

    name: str
    row: TaskRow
    model: str | None
    """None: the request must name one."""
    options: Options
    """With the fallbacks."""
    sources: dict[str, Source]
    """As in `protocol.tasks.TaskInfo`."""


def make_task(config: Config, name: str, override: Override | None) -> Task:
    """Return the task *name*, of which there is a row."""
    own, built_in = config.tasks.get(name, {}), task_rows.read_built_in().get(name, {})
    row = msgspec.convert(task_rows.merge(built_in, own), TaskRow)
    model, options = _read_models(config, row)
    options |= row.options
    is_own_prompt = not built_in or any(key in own for key in ("system", "prompt", "input", "choices"))
    sources: dict[str, Source] = {"prompt": "configuration" if is_own_prompt else "built_in"}
    whose: Source = "configuration" if any(map(own.get, MODEL_KEYS)) else "built_in"
    sources |= {"model": whose} if model else {}
    sources |= {f"options.{key}": _find_source(own.get("options", {}), key) for key in row.options}
    if "fallbacks" in options:
        sources["fallbacks"] = sources.pop("options.fallbacks", whose)
    if override is not None:
        set_options = override.options | ({} if override.fallbacks is None else {"fallbacks": override.fallbacks})
        options |= set_options
        sources |= {key if key == "fallbacks" else f"options.{key}": "set_task" for key in set_options}
        model, sources = (override.model, sources | {"model": "set_task"}) if override.model else (model, sources)
    if model is None and config.task_model:
        model, sources = config.task_model, sources | {"model": "default"}
    return Task(name=name, row=row, model=model, options=msgspec.convert(options, Options), sources=sources)


def _find_source(own: Mapping[str, Any], key: str) -> Source:
    return "configuration" if key in own else "built_in"


def _read_models(config: Config, row: TaskRow) -> tuple[str | None, dict[str, Any]]:
    """Return the row's model, and the options that its other models make."""
    models = config.chains[row.chain] if row.chain else row.models
    if not models:
        return row.model, {}
    return models[0], {"fallbacks": models[1:]} if models[1:] else {}


_NO_OPTIONS = Options()


def overlay_options(below: Options, above: Options) -> Options:
    """Return the options *below* with those laid over them that *above* sets."""
    given = {
        name: value
        for name in Options.__struct_fields__
        if (value := getattr(above, name)) != getattr(_NO_OPTIONS, name)
    }
    return msgspec.structs.replace(below, **given)
