"""Messages as every language can hold them: no number in them is beyond what a double can hold exactly. [pure]"""

import msgspec

from protocol.messages import Message, OpaquePart, Part, ReasoningPart, State, TextPart, ToolCallPart
from sidecar.core.json_values import has_big_integer


def make_portable(message: Message) -> Message:
    """Return *message* for the host: each `state` as one string, arguments with a big integer as their text alone.

    Raises: one of `write_queue.UNWRITABLE`.
    """
    if isinstance(message.content, str):
        return message
    return Message(role=message.role, content=[_make_part_portable(part) for part in message.content])


def _make_part_portable(part: Part) -> Part:
    if isinstance(part, ToolCallPart) and has_big_integer(part.arguments, part.arguments_text):
        part = msgspec.structs.replace(part, arguments=None)
    if isinstance(part, TextPart | ReasoningPart | ToolCallPart | OpaquePart) and isinstance(part.state, State):
        return msgspec.structs.replace(part, state=msgspec.json.encode(part.state).decode())
    return part
