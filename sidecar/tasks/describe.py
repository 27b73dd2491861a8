"""A task as `list_tasks` and `set_task` report it. [pure]"""

import msgspec

from protocol.tasks import TaskInfo
from sidecar.tasks.inputs import make_schema
from sidecar.tasks.task import Task


def describe(task: Task) -> TaskInfo:
    """Return the description of *task* that a host gets."""
    options = msgspec.to_builtins(task.options)
    fallbacks = options.pop("fallbacks", [])
    return TaskInfo(
        task=task.name,
        summary=task.row.summary,
        input=make_schema(task.row),
        needs_messages=not task.row.prompt,
        model=task.model,
        fallbacks=fallbacks,
        options=options,
        output=task.row.output or None,
        sources=task.sources,
    )
