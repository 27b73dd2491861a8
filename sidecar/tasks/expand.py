"""A request that names a task → the chat that it stands for.

The request takes precedence over `set_task`, that over the configuration, and that over the built-in row.
Must not know how a chat is answered.
"""

from collections.abc import Mapping
from string import Template
from typing import Any, TypeVar

import msgspec

from protocol.messages import ImagePart, Message, Part, TextPart
from protocol.options import Options, ResponseFormat
from protocol.outputs import Output
from protocol.replies import Warn
from protocol.requests import Chat
from sidecar.core.errors import invalid_request
from sidecar.tasks import inputs
from sidecar.tasks.table import TaskTable
from sidecar.tasks.task import Task, overlay_options

C = TypeVar("C", bound=Chat)


async def expand(table: TaskTable, provider: str | None, chat: C) -> tuple[C, list[Warn]]:
    """Return the chat for *chat*, which names a task, and a warning for each input that was cut.

    Call it once per request. *provider* is that of the request. The result keeps the name of the task, and has no
    inputs.

    Raises: SidecarError `invalid_request` for an unknown task or input, for a missing input, and if nothing names a
    model.
    """
    task = await table.find(chat.task or "")
    values = inputs.check_values(task.name, task.row, chat.input)
    model = _choose_model(task, provider, chat)
    messages, warnings = _make_messages(task, values)
    if not messages or (not task.row.prompt and not chat.messages):
        text = f"`params.messages` is required: the task `{task.name}` has no prompt of its own."
        raise invalid_request(text, "params.messages")
    options = overlay_options(_add_output(task, values, chat.options), chat.options)
    expanded = msgspec.structs.replace(
        chat, model=model, messages=[*messages, *chat.messages], options=options, input={}
    )
    return expanded, [*table.warnings, *warnings]


def _choose_model(task: Task, provider: str | None, chat: Chat) -> str:
    if chat.model:
        return chat.model
    if task.model is None:
        hint = "Send `params.model`, call `set_task`, or set `[tasks] default` in the configuration."
        text = f"`params.model` is required, as the task `{task.name}` has no model."
        raise invalid_request(text, "params.model").with_fields(hint=hint)
    # These are meant for the model of one provider. The task's model may belong to another.
    for param, value in (
        ("provider", provider),
        *((f"params.{name}", getattr(chat, name)) for name in _FIELDS_OF_MODEL),
    ):
        if value is not None:
            text = f"`{param}` requires `params.model`: without it, the task's own model would be asked."
            raise invalid_request(text, param)
    return task.model


_FIELDS_OF_MODEL = ("api_key", "base_url", "settings")


def _make_messages(task: Task, values: Mapping[str, Any]) -> tuple[list[Message], list[Warn]]:
    """Return the task's own messages, and a warning for each input that was cut."""
    row = task.row
    rendered = {name: inputs.render(row, name, values) for name in row.input}
    texts = {name: rendering.text for name, rendering in rendered.items()}
    warnings = [
        Warn(
            code="input_cut",
            message=f"The task `{task.name}` takes fewer characters: {rendering.cut_chars} were cut.",
            param=f"params.input.{name}",
        )
        for name, rendering in rendered.items()
        if rendering.cut_chars
    ]
    messages = [Message(role="system", content=_fill(row.system, texts))] if row.system else []
    images: list[Part] = [value for value in values.values() if isinstance(value, ImagePart)]
    if row.prompt:
        prompt = _fill(row.prompt, texts)
        messages.append(Message(role="user", content=[TextPart(prompt), *images] if images else prompt))
    return messages, warnings


def _fill(template: str, texts: Mapping[str, str]) -> str:
    """Return *template* with *texts* in place of its names. A `$` in a text stays a dollar sign."""
    return Template(template.strip("\n")).substitute(texts)


def _add_output(task: Task, values: Mapping[str, Any], asked: Options) -> Options:
    """Return the options of *task* with its output, unless the request sets the form of the answer itself.

    Raises: SidecarError `invalid_request` for an input that does not fit into the output.
    """
    output = task.row.output
    if not output or asked.response_format is not None or asked.output is not None:
        return task.options
    if output["type"] == "json":
        response_format = ResponseFormat(type="json_schema", schema=output.get("schema"), name=task.name)
        return msgspec.structs.replace(task.options, response_format=response_format)
    names = {key: each[1:] for key, each in output.items() if isinstance(each, str) and each.startswith("$")}
    given = {key: values[name] for key, name in names.items() if name in values}
    plain = {key: each for key, each in output.items() if key not in names}
    try:
        shape: Output = msgspec.convert(plain | given, Output)
    except msgspec.ValidationError as error:
        key = next((key for key in names if f".{key}" in str(error)), next(iter(names)))
        text = f"`params.input.{names[key]}` does not fit into the `{key}` of `params.options.output`."
        raise invalid_request(text, f"params.input.{names[key]}") from None
    return msgspec.structs.replace(task.options, output=shape)
