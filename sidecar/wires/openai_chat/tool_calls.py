"""The tool calls of a Chat Completions stream: which call a fragment belongs to. [pure]

Must not know text, reasoning, or when a stream ends. Source: openai 3.52.0
(`types/chat/chat_completion_chunk.py`), read 2026-11.
"""

import re
from io import StringIO
from typing import Any

import msgspec

from protocol.replies import Chunk
from sidecar.core.json_values import read_text
from sidecar.wires.openai_chat.chunks import CallDelta, Function
from sidecar.wires.shared.draft import Draft
from sidecar.wires.shared.state import make_state
from sidecar.wires.shared.tool_calls import parse_arguments
from sidecar.wires.shared.types import Route


class _OpenCall:
    """A call under way. `server_call` is set for a call that the provider answers itself, and keeps it as it is."""

    __slots__ = ("given_id", "key", "name", "scan", "server_arguments", "server_call", "state", "unread")

    def __init__(self, key: int, given_id: str, name: str) -> None:
        self.key = key
        self.given_id = given_id
        self.name = name
        self.server_call: dict[str, Any] | None = None
        self.server_arguments = StringIO()
        self.unread = StringIO()
        """The arguments that `scan` has not seen."""
        self.scan = ObjectScan()
        self.state: dict[str, Any] = {}


_TOKEN = re.compile(r'\\(?:.|$)|["{}]|[^"{}\\\s]+', re.DOTALL)


class ObjectScan:
    """Whether a text that comes in pieces is one object in braces. Reads each character once.

    An object is not looked into: only its strings and its braces count.
    """

    __slots__ = ("_after_backslash", "_depth", "_in_string", "_is_over", "is_closed", "is_valid")

    def __init__(self) -> None:
        self._after_backslash = False
        self._depth = 0
        self._in_string = False
        self._is_over = False
        """Whether something has followed the object: then nothing can make the text one again."""
        self.is_closed = False
        self.is_valid = False

    def feed(self, text: str) -> None:
        """Read *text*, the next piece."""
        if self._after_backslash and text:
            text, self._after_backslash = text[1:], False
        for match in _TOKEN.finditer(text):
            word = match[0]
            if self.is_closed or self._is_over:
                self.is_closed, self._is_over = False, True
                return
            self._after_backslash = word == "\\"
            if self._in_string:
                self._in_string = word != '"'
            elif word == '"':
                self._in_string = True
            elif word in "{}":
                self._depth += 1 if word == "{" else -1
                self.is_closed = self._depth <= 0


class CallAssembler:
    """Assigns fragments to calls by index and id, where either may be missing, repeated or used again."""

    def __init__(self, draft: Draft, route: Route) -> None:
        self._draft = draft
        self._route = route
        self._count = 0
        self._server_calls: list[_OpenCall] = []
        self._by_place: dict[tuple[int, Any], _OpenCall] = {}
        """The newest call by choice and index; under index None, the newest call of the choice."""
        self._by_id: dict[str, _OpenCall] = {}

    def take(self, fragment: CallDelta, choice: int, out: list[Chunk]) -> None:
        """Append the chunks of *fragment* to *out*."""
        function = fragment.function or Function()
        given_id, name = _read_id(fragment.id), read_text(function.name)
        arguments = _read_arguments(function.arguments)
        place = (choice, fragment.index if isinstance(fragment.index, int | str) else None)
        call = self._find_call(place, given_id, name)
        if call is None:
            if not (given_id or name or arguments):
                return
            call = self._begin_call(place, given_id, name, read_text(fragment.type), out)
        if call.server_call is not None:
            call.server_arguments.write(arguments)
            return
        if name and not call.name:
            call.name = name
            self._draft.name_call(call.key, name, out)
        call.unread.write(arguments)
        self._draft.add_arguments(call.key, arguments, out)
        if fragment.extra_content or function.thought_signature:
            self._set_state(call, fragment.extra_content, function.thought_signature)

    def _find_call(self, place: tuple[int, Any], given_id: str, name: str) -> _OpenCall | None:
        """Return the call that a fragment continues, or None when it begins a new one."""
        call = self._by_place.get(place)
        if call is None:
            # The index may drift: a known id continues its call, and a fragment without a name continues the newest.
            if given_id:
                same_id = self._by_id.get(given_id)
                return same_id if same_id is not None and self._may_continue(same_id, name) else None
            return None if name else self._by_place.get((place[0], None))
        if not given_id or not call.given_id:
            return call if self._may_continue(call, name) else None
        if given_id == call.given_id:
            return call
        if (same_id := self._by_id.get(given_id)) is not None and self._may_continue(same_id, name):
            return same_id
        # A new id begins a new call, unless every fragment has a new id and no name.
        return None if name or self._is_whole(call) else call

    def _may_continue(self, call: _OpenCall, name: str) -> bool:
        return not name or not call.name or (name == call.name and not self._is_whole(call))

    def _is_whole(self, call: _OpenCall) -> bool:
        if call.server_call is not None:
            return True
        was_closed = call.scan.is_closed
        call.scan.feed(call.unread.getvalue())
        call.unread = StringIO()
        if call.scan.is_closed and not was_closed:
            call.scan.is_valid = parse_arguments(self._draft.get_arguments_text(call.key)) is not None
        return call.scan.is_closed and call.scan.is_valid

    def flush(self) -> None:
        """Put what has come of their arguments into the calls that the provider answers itself."""
        for call in self._server_calls:
            if call.server_call is not None:
                call.server_call["function"]["arguments"] = call.server_arguments.getvalue()

    def _begin_call(self, place: tuple[int, Any], given_id: str, name: str, kind: str, out: list[Chunk]) -> _OpenCall:
        call = _OpenCall(self._count, given_id, name)
        self._count += 1
        if kind in ("", "function"):
            before = self._by_place.get(place) if place[1] is not None else None
            if before is not None and before.server_call is None and self._is_whole(before):
                self._draft.end_call(before.key, out)
            # Results are matched by id, so no two calls may share one.
            unique_id = f"{given_id}_{call.key}" if given_id in self._by_id else given_id
            self._draft.begin_call(call.key, unique_id, name, out)
        else:
            call.server_call = {"id": given_id, "type": kind, "function": {"name": name, "arguments": ""}}
            self._server_calls.append(call)
            self._draft.add_opaque(kind, make_state(self._route, {"tool_call": call.server_call}))
        self._by_place[place] = self._by_place[place[0], None] = call
        if given_id:
            self._by_id[given_id] = call
        return call

    def _set_state(self, call: _OpenCall, extra_content: Any, signature: Any) -> None:
        """Keep what must come back with the call, under the fields in which it came."""
        if extra_content:
            call.state["extra_content"] = extra_content
        if signature:
            call.state["function"] = {"thought_signature": signature}
        self._draft.set_call_state(call.key, make_state(self._route, call.state))


def _read_id(value: object) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else read_text(value)


def _read_arguments(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return msgspec.json.encode(value).decode()
