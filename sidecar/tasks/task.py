"""A task: a built-in row, overlaid by the configuration and by the settings of `set_task`. [pure]"""

from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.options import Options
from protocol.tasks import Source
from sidecar.config import task_rows
from sidecar.config.task_rows import TaskRow
from sidecar.config.values import Config
from sidecar.tasks.overrides import Override

PROMPT_KEYS = ("system", "prompt", "input", "choices")
"""The columns that make up the prompt."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task with all its layers applied."""

    name: str
    row: TaskRow
    model: str | None
    """None: the request must name one."""
    options: Options
    """The fallbacks are among them."""
    sources: dict[str, Source]
    """As in `protocol.tasks.TaskInfo`."""


def make_task(config: Config, name: str, override: Override | None) -> Task:
    """Return the task *name*, which is built in or in the configuration."""
    own, built_in = config.tasks.get(name, {}), task_rows.read_built_in().get(name, {})
    layers: list[tuple[Source, dict[str, Any]]] = [
        ("default", {"model": config.task_model} if config.task_model else {}),
        ("built_in", _list_values(config, built_in)),
        ("configuration", _list_values(config, own)),
        ("set_task", _list_values(config, msgspec.to_builtins(override)) if override else {}),
    ]
    values = {key: value for _, layer in layers for key, value in layer.items()}
    sources: dict[str, Source] = {key: source for source, layer in layers for key in layer}
    is_own_prompt = not built_in or any(key in own for key in PROMPT_KEYS)
    sources["prompt"] = "configuration" if is_own_prompt else "built_in"
    options = {key.removeprefix("options."): value for key, value in values.items() if key != "model"}
    return Task(
        name=name,
        row=msgspec.convert(task_rows.merge(built_in, own), TaskRow),
        model=values.get("model"),
        options=msgspec.convert(options, Options),
        sources=sources,
    )


def _list_values(config: Config, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model, the fallbacks and the options that *table* sets, by their names in `sources`."""
    options = {f"options.{key}": value for key, value in table.get("options", {}).items()}
    models = config.chains[table["chain"]] if table.get("chain") else table.get("models") or [table.get("model")]
    fallbacks = table.get("fallbacks", models[1:] or options.pop("options.fallbacks", None))
    named = {"model": models[0], "fallbacks": fallbacks}
    return {key: value for key, value in named.items() if value is not None} | options


_NO_OPTIONS = Options()


def overlay_options(below: Options, above: Options) -> Options:
    """Return *below*, overlaid by the options that *above* sets."""
    given = {
        name: value
        for name in Options.__struct_fields__
        if (value := getattr(above, name)) != getattr(_NO_OPTIONS, name)
    }
    return msgspec.structs.replace(below, **given)
