"""Calls of tools that a request does not declare: the provider's own, or made up by the model. [pure]

No host may run them, so they travel as opaque parts. The next request has them as calls again, for a provider wants
back what its model has said.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from protocol.messages import Message, OpaquePart, Part, State, ToolCallPart
from protocol.options import Options
from protocol.replies import Warn
from sidecar.core.json_values import make_state_error, open_state, read_object, read_objects
from sidecar.core.message_content import list_parts
from sidecar.wires.shared.state import make_state
from sidecar.wires.shared.types import Route

KIND = "undeclared_tool_call"
"""The kind of the opaque part that holds such a call."""

_TOOL_LISTS = ("tools", "functions", "toolConfig")
"""Where the bodies of requests declare tools."""

_TOOL_FIELDS = ("function", "custom", "functionDeclarations", "function_declarations", "tools", "toolSpec")
"""What stands between a list of tools and their names."""


_SETS_OF_TOOLS = frozenset({"computerUse", "computer_use"})
"""Declare functions of the host's without naming them."""


def list_tool_names(options: Options) -> frozenset[str] | None:
    """Return the names of the tools that *options* declare, also those in the provider's own words.

    None: they declare tools that they do not name.
    """
    names = read_tool_names({"provider_options": options.provider_options})
    return names if names is None else names | {tool.name for tool in options.tools}


def read_tool_names(options: dict[str, Any]) -> frozenset[str] | None:
    """Return the same of *options* as JSON."""
    raw = read_object(options.get("provider_options"))
    if any(not _SETS_OF_TOOLS.isdisjoint(tool) for tool in read_objects(raw.get("tools"))):
        return None
    return frozenset(_list_names([options.get("tools"), *(raw.get(key) for key in _TOOL_LISTS)]))


def _list_names(value: object) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _list_names(each)
    elif isinstance(value, dict):
        if isinstance(name := value.get("name"), str):
            yield name
        for key in _TOOL_FIELDS:
            yield from _list_names(value.get(key))


def hide_call(call: ToolCallPart, route: Route) -> OpaquePart:
    """Return *call* as an opaque part."""
    return OpaquePart(kind=KIND, state=make_state(route, {"call": call}))


def get_call(part: Part) -> ToolCallPart | None:
    """Return the call that *part* is, or that `hide_call` has put into it."""
    if isinstance(part, OpaquePart) and part.kind == KIND and isinstance(part.state, State):
        part = part.state.data["call"]
    return part if isinstance(part, ToolCallPart) else None


def hides_all_calls(message: Message) -> bool:
    """Return whether *message* has calls, and none that a host may run."""
    parts = [part for part in list_parts(message) if get_call(part) is not None]
    return bool(parts) and all(map(_is_hidden, parts))


def make_warnings(message: Message) -> list[Warn]:
    """Return a warning if *message* hides calls: who has mistyped a tool's name would wonder where they are."""
    if not any(map(_is_hidden, list_parts(message))):
        return []
    text = "The model called a tool that the request does not declare. The call is an opaque part, and nobody runs it."
    return [Warn(code="undeclared_tool_call", message=text)]


def restore_calls(message: Message) -> Message:
    """Return *message* with its undeclared calls as calls.

    Raises: SidecarError `invalid_request` for a part that holds no call.
    """
    if isinstance(message.content, str) or not any(map(_is_hidden, message.content)):
        return message
    content = [_restore_call(part) if _is_hidden(part) else part for part in message.content]
    return msgspec.structs.replace(message, content=content)


def _is_hidden(part: Part) -> bool:
    return isinstance(part, OpaquePart) and part.kind == KIND


def _restore_call(part: Part) -> Part:
    state = open_state(part.state) if isinstance(part, OpaquePart) else None
    try:
        call: Part = msgspec.convert(state.data["call"] if state else None, Part)
    except (msgspec.ValidationError, TypeError, KeyError):
        raise make_state_error() from None
    return call
