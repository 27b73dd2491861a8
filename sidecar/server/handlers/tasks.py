"""The actions about tasks, and the task of a request that names one."""

from typing import TYPE_CHECKING, TypeVar

from protocol.requests import Chat, ListTasks
from protocol.tasks import SetTask, TaskChange, TaskList
from sidecar.core.errors import invalid_request
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest

if TYPE_CHECKING:
    from sidecar.tasks.table import TaskTable

C = TypeVar("C", bound=Chat)


async def expand_task(app: App, request: OpenRequest, chat: C) -> C:
    """Return the chat for the task that *chat* names, or *chat* itself. The answer warns of inputs that were cut.

    Raises: SidecarError `invalid_request`.
    """
    if chat.task is None:
        if chat.input:
            raise invalid_request("`params.input` belongs to a task: send `params.task` too.", "params.input")
        return chat
    from sidecar.tasks.expand import expand  # Most chats need no task.

    expanded, warnings = await expand(_find_table(app), request.envelope.provider, chat)
    request.warnings = [*request.warnings, *warnings]
    request.state.task = chat.task
    return expanded


async def list_tasks(app: App, request: OpenRequest, params: ListTasks) -> TaskList:  # noqa: ARG001 - the signature of a handler
    """Return all tasks."""
    return await _find_table(app).list_all()


async def set_task(app: App, request: OpenRequest, params: SetTask) -> TaskChange:  # noqa: ARG001 - the signature of a handler
    """Change a task for the user."""
    return await _find_table(app).change(params)


def _find_table(app: App) -> "TaskTable":
    from sidecar.tasks.table import TaskTable

    if app.task_table is None:
        app.task_table = TaskTable(app.upstream.config)
    return app.task_table
