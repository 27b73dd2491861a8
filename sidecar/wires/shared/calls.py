"""The tool calls of a conversation: an id of its own and a result for each, as the next provider takes them. [pure]

Conversations move between providers: ids come in another's alphabet, or twice where a provider counts
the calls of every turn from 0, and a call that the user has cut short has no result. Must not know
any wire's fields.
"""

import re
import zlib
from collections.abc import Callable

import msgspec

from protocol.messages import Message, Part, Tool, ToolCallPart, ToolResultPart
from sidecar.core.message_content import list_parts

MAX_ID_CHARS = 64
"""The longest id that all of those take who have a limit."""

NO_RESULT = "There is no result of this call."

Fit = Callable[[str], str]
"""An id or a name → as the wire takes it: itself, when that is so already."""


def paired(messages: list[Message], fit_id: Fit = str, fit_name: Fit = str) -> list[Message]:
    """Return *messages* with unique ids of calls, the same on their results, and a result for every call.

    Messages and parts keep their places, so that an error names the right one: a result that was
    missing stands at the end of the last message before the model's next turn.
    """
    calls, made, answering = _Calls(fit_id, fit_name), list[Message](), -1
    for message in messages:
        if message.role == "assistant":
            _complete(made, answering, calls)
            answering = -1
        elif message.role != "system":
            answering = len(made)
        made.append(calls.fitted(message))
    _complete(made, answering, calls)
    return made


def within(call_id: str, outside: re.Pattern[str]) -> str:
    """Return *call_id*, or another for it when it is too long or has characters that *outside* finds."""
    kept = outside.sub("_", call_id)
    if kept == call_id and 0 < len(call_id) <= MAX_ID_CHARS:
        return call_id
    # The checksum keeps ids apart that differ only in what is lost.
    return f"{kept[: MAX_ID_CHARS - 9] or 'call'}-{zlib.crc32(call_id.encode('utf-8', 'replace')):08x}"


_OUTSIDE_NAMES = re.compile("[^a-zA-Z0-9_-]")

MAX_NAME_CHARS = 64


def function_name(tools: list[Tool]) -> Fit:
    """Return what puts a name into the alphabet of functions; the names of *tools* are the caller's own affair.

    Models call tools that there are not, by names that no request may have.
    """
    known = {tool.name for tool in tools}
    return lambda name: name if name in known else _OUTSIDE_NAMES.sub("_", name)[:MAX_NAME_CHARS] or "_"


def _complete(made: list[Message], at: int, calls: "_Calls") -> None:
    """Add to the message at *at*, where there is one, the results that its calls still lack."""
    if at >= 0 and (missing := calls.unanswered()):
        made[at] = msgspec.structs.replace(made[at], content=[*list_parts(made[at]), *missing])


class _Calls:
    """The ids that were given, and the calls that wait for their results: their ids before and after."""

    def __init__(self, fit_id: Fit, fit_name: Fit) -> None:
        self._fit_id = fit_id
        self._fit_name = fit_name
        self._taken: set[str] = set()
        self._waiting: list[tuple[str, str]] = []

    def fitted(self, message: Message) -> Message:
        """Return *message* with the ids and names of its calls and results made to fit."""
        parts = list_parts(message)
        if not any(isinstance(part, ToolCallPart | ToolResultPart) for part in parts):
            return message
        return msgspec.structs.replace(message, content=[self._fitted(part) for part in parts])

    def unanswered(self) -> list[Part]:
        """Return a result for each call that has none, and wait for none of them any longer."""
        missing: list[Part] = [ToolResultPart(new, NO_RESULT, is_error=True) for _, new in self._waiting]
        self._waiting.clear()
        return missing

    def _fitted(self, part: Part) -> Part:
        match part:
            case ToolCallPart():
                new = self._unique(part.id)
                self._waiting.append((part.id, new))
                return msgspec.structs.replace(part, id=new, name=self._fit_name(part.name))
            case ToolResultPart():
                return msgspec.structs.replace(part, id=self._answered(part.id))
            case _:
                return part

    def _unique(self, call_id: str) -> str:
        new, number = self._fit_id(call_id), 1
        while new in self._taken:
            number += 1
            new = self._fit_id(f"{call_id}-{number}")
        self._taken.add(new)
        return new

    def _answered(self, call_id: str) -> str:
        """Return the new id of the first call of that id that waits; of an orphan, what its id would have become."""
        for pair in self._waiting:
            if pair[0] == call_id:
                self._waiting.remove(pair)
                return pair[1]
        return self._fit_id(call_id)
