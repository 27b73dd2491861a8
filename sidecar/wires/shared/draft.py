"""The assistant message while it arrives: deltas in, chunks out, parts kept for `done.message`. [pure]

All wires share it, so that text, tool calls, citations and state are treated alike everywhere.
Must not know any wire's field names.
"""

import zlib
from collections.abc import Hashable, Iterable, Iterator
from io import StringIO
from typing import Any

from protocol.messages import (
    Citation,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    State,
    TextPart,
    ToolCall,
    ToolCallPart,
)
from protocol.replies import (
    Chunk,
    CitationChunk,
    Content,
    Reasoning,
    ToolCallChunk,
    ToolCallDelta,
)
from sidecar.core.json_values import has_big_integer
from sidecar.wires.shared.answer_size import AnswerSize
from sidecar.wires.shared.tool_calls import parse_arguments
from sidecar.wires.shared.types import Route
from sidecar.wires.shared.undeclared_calls import get_call, hide_call

MAX_PIECE_CHARS = 64 * 1024
"""Longest text of one chunk (at most 256 KiB of UTF-8); a longer delta becomes several chunks."""

MAX_CALL_ID_CHARS = 512
"""The longest id that `ToolCallPart` takes back from a host."""

MAX_CALL_NAME_CHARS = 256
"""The longest name that it takes back."""


class _OpenText:
    """A text or reasoning part under way. `StringIO` keeps many small deltas in the size of their text."""

    __slots__ = ("buffer", "citations", "kind", "refusal", "state")

    def __init__(self, kind: str, *, refusal: bool = False) -> None:
        self.kind = kind
        self.refusal = refusal
        self.buffer = StringIO()
        self.citations: list[Citation] = []
        self.state: State | None = None


class _OpenCall:
    """A tool call under way. It has an index once the host knows of it."""

    __slots__ = ("arguments", "buffer", "ended", "id", "index", "name", "state")

    def __init__(self, call_id: str, name: str) -> None:
        self.index: int | None = None
        self.id = call_id
        self.name = name
        self.buffer = StringIO()
        self.arguments: dict[str, Any] | None = None
        self.state: State | None = None
        self.ended = False


class Draft:
    """One assistant message. Its methods append chunks to *out* and keep the parts in order of arrival."""

    def __init__(self, route: Route | None = None, size: AnswerSize | None = None) -> None:
        """Begin a message; drafts of one answer share its *size*, and those without a *route* have no tool calls."""
        self._route = route
        self._declared = route.tools if route else None
        self._size = size or AnswerSize()
        self._parts: list[_OpenText | _OpenCall | OpaquePart] = []
        self._calls: dict[Hashable, _OpenCall] = {}
        self._call_ids = set[str]()
        self._text: _OpenText | None = None
        self._reasoning: _OpenText | None = None
        self._call_count = 0

    @property
    def answer_chars(self) -> int:
        """How many characters of text, reasoning and arguments have come."""
        return self._size.chars

    @property
    def has_tool_calls(self) -> bool:
        """Whether any call of a tool that the host knows has begun."""
        return self._call_count > 0

    # --- text and reasoning

    def add_text(self, text: str, out: list[Chunk], *, refusal: bool = False) -> None:
        """Append *text* to the open text part, or begin one."""
        self._size.add_chars(len(text))
        part = self._text
        if part is None or part.refusal is not refusal:
            part = self._open_part("text", refusal=refusal)
        part.buffer.write(text)
        if len(text) <= MAX_PIECE_CHARS:
            if text:
                out.append(Content(text))
        else:
            out.extend(Content(piece) for piece in cut_pieces(text))

    def add_reasoning(self, text: str, out: list[Chunk]) -> None:
        """Append *text* to the open reasoning part, or begin one."""
        self._size.add_chars(len(text))
        part = self._reasoning or self._open_part("reasoning")
        part.buffer.write(text)
        if text:
            out.extend(Reasoning(piece) for piece in cut_pieces(text))

    def set_reasoning_state(self, state: State) -> None:
        """Set the *state* of the open reasoning part, or begin one without text."""
        (self._reasoning or self._open_part("reasoning")).state = state

    def set_text_state(self, state: State) -> None:
        """Set the *state* of the open text part, or begin one without text."""
        (self._text or self._open_part("text")).state = state

    def close_block(self) -> None:
        """Close the open text or reasoning part: the next delta begins another."""
        self._text = self._reasoning = None

    def add_citation(self, citation: Citation, out: list[Chunk]) -> None:
        """Attach *citation* to the open text part, or begin one."""
        self._size.add_citation()
        (self._text or self._open_part("text")).citations.append(citation)
        out.append(CitationChunk(citation))

    def add_opaque(self, kind: str, state: State) -> None:
        """Keep a block of the provider's own in its place."""
        self._size.add_part()
        self.close_block()
        self._parts.append(OpaquePart(kind=kind, state=state))

    # --- tool calls

    def begin_call(self, key: Hashable, call_id: str, name: str, out: list[Chunk]) -> None:
        """Begin the tool call that later fragments name by *key*; one without a *call_id* of its own is given one.

        The seed makes that id differ between the turns of a conversation: some wires refuse an id that comes twice.
        A call of a tool that the request does not declare makes no chunks: nobody may run it.
        """
        self._size.add_part()
        self.close_block()
        call_id, name = _shorten(call_id, MAX_CALL_ID_CHARS), _shorten(name, MAX_CALL_NAME_CHARS)
        if not call_id or call_id in self._call_ids:
            # With the id of another call, nobody could tell their results apart.
            call_id = f"call_{self._route.seed if self._route else ''}{len(self._calls)}"
        self._call_ids.add(call_id)
        call = self._calls[key] = _OpenCall(call_id, name)
        self._parts.append(call)
        self._announce_call(call, out)

    def _announce_call(self, call: _OpenCall, out: list[Chunk]) -> None:
        """Append the first chunks of a call that the host may run."""
        if call.index is None and (self._declared is None or call.name in self._declared):
            call.index = self._call_count
            self._call_count += 1
            out.append(ToolCallDelta(call.index, call.id, call.name, ""))
            if so_far := call.buffer.getvalue():
                out.extend(ToolCallDelta(call.index, call.id, call.name, piece) for piece in cut_pieces(so_far))

    def has_call(self, key: Hashable) -> bool:
        """Return whether a call has begun under *key*."""
        return key in self._calls

    def name_call(self, key: Hashable, name: str, out: list[Chunk]) -> None:
        """Give the call under *key* a name that came after its first fragment; a name that it has stays."""
        call = self._calls[key]
        call.name = call.name or _shorten(name, MAX_CALL_NAME_CHARS)
        self._announce_call(call, out)

    def set_call_state(self, key: Hashable, state: State) -> None:
        """Set the *state* of the call under *key*."""
        self._calls[key].state = state

    def add_arguments(self, key: Hashable, fragment: str, out: list[Chunk]) -> None:
        """Append *fragment* to the arguments of the call under *key*."""
        call = self._calls[key]
        if fragment:
            self._size.add_chars(len(fragment))
            call.buffer.write(fragment)
            if call.index is None:
                return
            out.extend(ToolCallDelta(call.index, call.id, call.name, piece) for piece in cut_pieces(fragment))

    def get_arguments_text(self, key: Hashable) -> str:
        """Return the text of the arguments so far of the call under *key*."""
        return self._calls[key].buffer.getvalue()

    def end_call(self, key: Hashable, out: list[Chunk]) -> None:
        """End the call under *key*: its arguments are whole. Ending it twice does nothing."""
        call = self._calls[key]
        if call.ended:
            return
        call.ended = True
        text = call.buffer.getvalue()
        call.arguments = parse_arguments(text)
        if call.index is None:
            return
        arguments = None if has_big_integer(call.arguments, text) else call.arguments
        out.append(ToolCallChunk(ToolCall(id=call.id, name=call.name, arguments=arguments, arguments_text=text)))

    # --- the message

    def end(self, out: list[Chunk]) -> None:
        """End every call that is still open."""
        for key in self._calls:
            self.end_call(key, out)
        self.close_block()

    def build_partial(self) -> Message:
        """Return the message so far, without calls that are not whole."""
        return Message(role="assistant", content=[*drop_cut_calls(self._build_parts())])

    def build_message(self) -> Message:
        """Return the message; a part without text, citations and state is left out."""
        return Message(role="assistant", content=self._build_parts())

    def _build_parts(self) -> list[Part]:
        return [built for part in self._parts if (built := self._build_part(part)) is not None]

    def _build_part(self, part: _OpenText | _OpenCall | OpaquePart) -> Part | None:
        if isinstance(part, _OpenCall):
            call = _build_call(part)
            # Without an index it is none that the host may run.
            return hide_call(call, self._route) if part.index is None and self._route else call
        return part if isinstance(part, OpaquePart) else _build_text(part)

    def _open_part(self, kind: str, *, refusal: bool = False) -> _OpenText:
        self._size.add_part()
        part = _OpenText(kind, refusal=refusal)
        self._parts.append(part)
        self.close_block()
        if kind == "text":
            self._text = part
        else:
            self._reasoning = part
        return part


def _build_call(call: _OpenCall) -> ToolCallPart:
    text = call.buffer.getvalue()
    return ToolCallPart(id=call.id, name=call.name, arguments=call.arguments, arguments_text=text, state=call.state)


def _build_text(part: _OpenText) -> Part | None:
    text = part.buffer.getvalue()
    if not text and part.state is None and not part.citations:
        return None
    if part.kind == "reasoning":
        return ReasoningPart(text, state=part.state)
    return TextPart(text, refusal=part.refusal, citations=part.citations or None, state=part.state)


def drop_cut_calls(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield *parts* without the tool calls whose arguments are not, or not yet, a JSON object: nobody may run them."""
    return (part for part in parts if (call := get_call(part)) is None or call.arguments is not None)


def _shorten(text: str, limit: int) -> str:
    """Return *text*, or what fits of it with a checksum, which keeps texts apart that differ only in what is lost."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - 9]}-{zlib.crc32(text.encode('utf-8', 'replace')):08x}"


def cut_pieces(text: str) -> list[str]:
    """Return *text* in pieces of at most MAX_PIECE_CHARS code points."""
    if len(text) <= MAX_PIECE_CHARS:
        return [text]
    return [text[start : start + MAX_PIECE_CHARS] for start in range(0, len(text), MAX_PIECE_CHARS)]
