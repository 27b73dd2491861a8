"""Tasks: prompts with a name, a model and options, which a host fills in and a user can change."""

from typing import Annotated, Any, Literal

import msgspec

from protocol.options import Options
from protocol.replies import Warn
from protocol.values import Model

TaskName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}(?!\n)$")]

FilePath = Annotated[str, msgspec.Meta(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*(?!\n)$")]
"""A path as the model reads it. The sidecar opens no file."""


class PhaseFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that a phase adds or changes."""

    path: FilePath
    purpose: str = ""


class DesignPhase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A step of a project: the answer of the task `design_phase`, and an input of `implement_phase`."""

    name: str
    description: str
    files: list[PhaseFile] = []
    is_last_phase: bool = False


class Issue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A defect in a file: part of the answer of the task `code_review`, and of an input of `fix_code`."""

    path: FilePath
    line: int | None = None
    severity: str = ""
    message: str


class SetTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Change a task for this user, from now on. Absent fields stay as they are."""

    task: TaskName
    model: Model | None = None
    options: Options | None = None
    """Replaces all options that were set before."""
    fallbacks: Annotated[list[Model], msgspec.Meta(max_length=8)] | None = None
    reset: bool = False
    """First forget everything that was set before."""


Source = Literal["set_task", "configuration", "built_in", "default"]
"""Where a value of a task comes from. `default`: `[tasks] default` of the configuration."""


class TaskInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A task as a request without options of its own would run it."""

    task: str
    summary: str
    """One sentence for people."""
    input: dict[str, Any]
    """The JSON Schema of `params.input`."""
    needs_messages: bool
    """The task has no prompt of its own: `params.messages` must follow."""
    model: str | None
    """Null: the request must name one."""
    fallbacks: list[str] | str
    """The models to ask next, or the name of a chain of the configuration."""
    options: dict[str, Any]
    """The options that are set."""
    output: dict[str, Any] | None
    """The shape of the answer, as in `options`; a value such as `$language` stands for that input. Null: text."""
    sources: dict[str, Source]
    """Where each value comes from: `model`, `fallbacks`, `prompt`, and `options.NAME` for each option."""


class TaskList(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `list_tasks`."""

    tasks: list[TaskInfo]
    next_offset: int | msgspec.UnsetType = msgspec.UNSET
    """More tasks follow: send the request again with this `offset`."""
    warnings: list[Warn] = []


class TaskChange(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `set_task`."""

    task: TaskInfo
    storage: Literal["file", "memory"]
    """Whether the change outlives this process."""
    warnings: list[Warn] = []
