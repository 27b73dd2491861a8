"""The tool calls of a conversation, made fit for the next provider: unique ids, and a result for each call. [pure]

Conversations move between providers. Ids arrive in another provider's alphabet, or twice when a provider
counts the calls of every turn from 0; a call that the user interrupted has no result. Must not know any
wire's fields.
"""

import re
import zlib
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from protocol.messages import Message, Part, Tool, ToolCallPart, ToolResultPart
from sidecar.core.json_values import parse_json
from sidecar.core.message_content import list_parts
from sidecar.wires.shared.undeclared_calls import restore_calls

MAX_ID_CHARS = 64
"""The longest id that every provider with a limit accepts."""

NO_RESULT = "There is no result of this call."

Fit = Callable[[str], str]
"""Turns an id or a name into one that the wire accepts; one that it accepts already stays as it is."""


def pair_calls(messages: list[Message], fit_id: Fit = str, fit_name: Fit = str) -> list[Message]:
    """Return *messages* with unique call ids, the same ids on their results, and a result for every call.

    Messages and parts keep their places, so that an error names the right one. A missing result is
    added at the end of the last message before the model's next turn.
    """
    ledger, fitted, answer_at = _CallLedger(fit_id, fit_name), list[Message](), -1
    for message in map(restore_calls, messages):
        if message.role == "assistant":
            _add_missing_results(fitted, answer_at, ledger)
            answer_at = -1
        elif message.role != "system":
            answer_at = len(fitted)
        fitted.append(ledger.fit_message(message))
    _add_missing_results(fitted, answer_at, ledger)
    return fitted


def sanitize_id(call_id: str, forbidden: re.Pattern[str]) -> str:
    """Return *call_id*, or a substitute when it is empty, too long or has characters that *forbidden* matches."""
    allowed = forbidden.sub("_", call_id)
    if allowed == call_id and 0 < len(call_id) <= MAX_ID_CHARS:
        return call_id
    # The checksum keeps ids apart that differ only in what is lost.
    return f"{allowed[: MAX_ID_CHARS - 9] or 'call'}-{zlib.crc32(call_id.encode('utf-8', 'replace')):08x}"


_FORBIDDEN_IN_NAMES = re.compile("[^a-zA-Z0-9_-]")

MAX_NAME_CHARS = 64


def make_name_fit(tools: list[Tool]) -> Fit:
    """Return the function that fits the names of called functions; the names of *tools* stay as the caller wrote them.

    Models call tools that do not exist, by names that a request may not carry.
    """
    known = {tool.name for tool in tools}
    return lambda name: name if name in known else _FORBIDDEN_IN_NAMES.sub("_", name)[:MAX_NAME_CHARS] or "_"


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Return the JSON object in *text*, {} for blank text, None for anything else and for what is nested too deeply."""
    if not text.strip():
        return {}
    try:
        value = parse_json(text.encode())
    except UnicodeEncodeError:
        return None
    return value if isinstance(value, dict) else None


def encode_arguments(value: object) -> str:
    """Return the arguments that a provider sent, as text or as a JSON value, as text."""
    return value if isinstance(value, str) else msgspec.json.encode(value or {}).decode()


def get_arguments(part: ToolCallPart) -> dict[str, Any]:
    """Return the arguments of a call as an object, {} when the model wrote something else. Its text wins."""
    text = part.arguments_text or ""
    parsed = parse_arguments(text) if text.strip() else None
    return part.arguments or {} if parsed is None else parsed


def _add_missing_results(messages: list[Message], at: int, ledger: "_CallLedger") -> None:
    """Add the results that are still missing to the message at *at*, if there is one."""
    if at >= 0 and (missing := ledger.settle_calls()):
        messages[at] = msgspec.structs.replace(messages[at], content=[*list_parts(messages[at]), *missing])


class _CallLedger:
    """The ids given so far, and the calls that wait for a result."""

    def __init__(self, fit_id: Fit, fit_name: Fit) -> None:
        self._fit_id = fit_id
        self._fit_name = fit_name
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}
        """The last number that made an id unique, by that id."""
        self._waiting: dict[str, None] = {}
        """The new ids of the calls without a result, in order."""
        self._waiting_by_old_id: dict[str, deque[str]] = {}

    def fit_message(self, message: Message) -> Message:
        """Return *message* with fitted ids and names on its calls and results."""
        parts = list_parts(message)
        if not any(isinstance(part, ToolCallPart | ToolResultPart) for part in parts):
            return message
        return msgspec.structs.replace(message, content=[self._fit_part(part) for part in parts])

    def settle_calls(self) -> list[Part]:
        """Return a result for each call that waits for one, and stop waiting."""
        missing: list[Part] = [ToolResultPart(new_id, NO_RESULT, is_error=True) for new_id in self._waiting]
        self._waiting.clear()
        self._waiting_by_old_id.clear()
        return missing

    def _fit_part(self, part: Part) -> Part:
        match part:
            case ToolCallPart():
                new_id = self._make_unique(part.id)
                self._waiting[new_id] = None
                self._waiting_by_old_id.setdefault(part.id, deque()).append(new_id)
                return msgspec.structs.replace(part, id=new_id, name=self._fit_name(part.name))
            case ToolResultPart():
                return msgspec.structs.replace(part, id=self._match_result(part.id))
            case _:
                return part

    def _make_unique(self, call_id: str) -> str:
        fitted = new_id = self._fit_id(call_id)
        while new_id in self._taken:
            number = self._numbers[fitted] = self._numbers.get(fitted, 1) + 1
            new_id = self._fit_id(f"{call_id}-{number}")
        self._taken.add(new_id)
        return new_id

    def _match_result(self, call_id: str) -> str:
        """Return the new id of the first waiting call with that old id; for an orphan, its own id, fitted."""
        same_id = self._waiting_by_old_id.get(call_id)
        if not same_id:
            return self._fit_id(call_id)
        new_id = same_id.popleft()
        del self._waiting[new_id]
        return new_id
