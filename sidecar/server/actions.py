"""The table of actions.

An action is a struct of parameters in `protocol/requests.py`, a function in `sidecar.server.handlers`, and a row here.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from sidecar.core.request_state import TOTAL_MS
from sidecar.server.app import App
from sidecar.server.handlers import control
from sidecar.server.handlers.initialize import initialize
from sidecar.server.open_requests import OpenRequest

Handler = Callable[[App, OpenRequest, Any], Awaitable[object]]
"""Does what a request asks, given its parameters. Returns the data of its terminal line, or None if it has written
that line itself, with `App.finish`. Raises SidecarError for a request that fails."""


COMPLETION_MS = 60_000
"""How long a completion may take: nobody waits longer at a cursor."""


class ImmediateAction(NamedTuple):
    """An action that is answered before the next line is read. It never waits."""

    handler: Callable[[App, Any], object]
    """Returns the data of the reply, given the parameters."""


class TaskAction(NamedTuple):
    """An action that runs in a task of its own, which `cancel` and the request's timeout cancel."""

    load_handler: Callable[[], Handler]
    """Imports the handler: a process pays only for the actions that are used."""
    total_ms: int = TOTAL_MS
    """How long it may take if the request sets no limit. A chat may be granted more by its model."""
    streams: bool = False
    """Whether its chunks are those of a chat, among which `status` tells what it is waiting for."""


def _load_apply_edit() -> Handler:
    from sidecar.server.handlers.apply_edit import apply_edit

    return apply_edit


def _load_authenticate() -> Handler:
    from sidecar.server.handlers.authenticate import authenticate

    return authenticate


def _load_calculate_cost() -> Handler:
    from sidecar.server.handlers.records import calculate_cost

    return calculate_cost


def _load_compare() -> Handler:
    from sidecar.server.handlers.compare import compare

    return compare


def _load_complete() -> Handler:
    from sidecar.server.handlers.complete import complete

    return complete


def _load_count_tokens() -> Handler:
    from sidecar.server.handlers.count_tokens import count_tokens

    return count_tokens


def _load_embed() -> Handler:
    from sidecar.server.handlers.embed import embed

    return embed


def _load_fit() -> Handler:
    from sidecar.server.handlers.fit import fit

    return fit


def _load_forget() -> Handler:
    from sidecar.server.handlers.records import forget

    return forget


def _load_generate() -> Handler:
    from sidecar.server.handlers.chat import generate

    return generate


def _load_list_models() -> Handler:
    from sidecar.server.handlers.models import list_models

    return list_models


def _load_list_providers() -> Handler:
    from sidecar.server.handlers.models import list_providers

    return list_providers


def _load_list_tasks() -> Handler:
    from sidecar.server.handlers.tasks import list_tasks

    return list_tasks


def _load_rerank() -> Handler:
    from sidecar.server.handlers.rerank import rerank

    return rerank


def _load_resume() -> Handler:
    from sidecar.server.handlers.chat import resume

    return resume


def _load_set_task() -> Handler:
    from sidecar.server.handlers.tasks import set_task

    return set_task


def _load_stream_chat() -> Handler:
    from sidecar.server.handlers.chat import stream_chat

    return stream_chat


def _load_stream_complete() -> Handler:
    from sidecar.server.handlers.complete import stream_complete

    return stream_complete


def _load_usage_report() -> Handler:
    from sidecar.server.handlers.records import usage_report

    return usage_report


ACTIONS: dict[str, ImmediateAction | TaskAction] = {
    "initialize": ImmediateAction(initialize),
    "ping": ImmediateAction(control.ping),
    "list_providers": TaskAction(_load_list_providers),
    "list_models": TaskAction(_load_list_models),
    "stream_chat": TaskAction(_load_stream_chat, streams=True),
    "generate": TaskAction(_load_generate),
    "resume": TaskAction(_load_resume, streams=True),
    "compare": TaskAction(_load_compare, streams=True),
    "complete": TaskAction(_load_complete, total_ms=COMPLETION_MS),
    "stream_complete": TaskAction(_load_stream_complete, total_ms=COMPLETION_MS, streams=True),
    "count_tokens": TaskAction(_load_count_tokens),
    "fit": TaskAction(_load_fit),
    # A large project has many texts.
    "embed": TaskAction(_load_embed, total_ms=3_600_000, streams=True),
    "rerank": TaskAction(_load_rerank),
    "calculate_cost": TaskAction(_load_calculate_cost),
    "apply_edit": TaskAction(_load_apply_edit),
    "list_tasks": TaskAction(_load_list_tasks),
    "set_task": TaskAction(_load_set_task),
    # The user may take as long as the code of a login is valid, which is an hour at most.
    "authenticate": TaskAction(_load_authenticate, total_ms=3_900_000),
    "usage_report": TaskAction(_load_usage_report),
    "tool_result": ImmediateAction(control.tool_result),
    "forget": TaskAction(_load_forget),
    "cancel": ImmediateAction(control.cancel),
    "shutdown": ImmediateAction(control.shutdown),
}
"""By the name in a request's `action`; the parameters of each are in `protocol.requests.PARAMS`."""
