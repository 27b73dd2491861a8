"""The assistant message while it arrives: deltas in, chunks out, parts kept for `done.message`. [pure]

Shared by all wires, so that tool calls, citations and state are treated alike everywhere.
Must not know any wire's field names.
"""

from collections.abc import Hashable, Iterable, Iterator
from io import StringIO
from typing import Any

import msgspec

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

MAX_PIECE_CHARS = 64 * 1024
"""Longest text of one chunk (at most 256 KiB of UTF-8); a longer delta becomes several."""


class _Text:
    """A text or reasoning part under way. `StringIO` keeps many small deltas in the size of their text."""

    __slots__ = ("buffer", "citations", "kind", "refusal", "state")

    def __init__(self, kind: str, *, refusal: bool = False) -> None:
        self.kind = kind
        self.refusal = refusal
        self.buffer = StringIO()
        self.citations: list[Citation] = []
        self.state: State | None = None


class _Tool:
    """A tool call under way."""

    __slots__ = ("buffer", "done", "id", "index", "name", "parsed", "state")

    def __init__(self, index: int, call_id: str, name: str) -> None:
        self.index = index
        self.id = call_id
        self.name = name
        self.buffer = StringIO()
        self.parsed: dict[str, Any] | None = None
        self.state: State | None = None
        self.done = False


class Draft:
    """One assistant message. Methods append the chunks to *out* and keep the parts in order of arrival."""

    def __init__(self, seed: str = "") -> None:
        self._seed = seed
        self._parts: list[_Text | _Tool | OpaquePart] = []
        self._tools: dict[Hashable, _Tool] = {}
        self._text: _Text | None = None
        self._reasoning: _Text | None = None
        self._tool_count = 0

    @property
    def has_tool_calls(self) -> bool:
        """Whether any tool call has begun."""
        return self._tool_count > 0

    def add_text(self, text: str, out: list[Chunk], *, refusal: bool = False) -> None:
        """Append *text* to the open text part, opening one when another kind of part stands between."""
        part = self._text
        if part is None or part.refusal is not refusal:
            part = self._open_text("text", refusal=refusal)
        part.buffer.write(text)
        if len(text) <= MAX_PIECE_CHARS:
            if text:
                out.append(Content(text))
        else:
            out.extend(Content(piece) for piece in pieces(text))

    def add_reasoning(self, text: str, out: list[Chunk]) -> None:
        """Append *text* to the open reasoning part, opening one when another kind stands between."""
        part = self._reasoning or self._open_text("reasoning")
        part.buffer.write(text)
        if text:
            out.extend(Reasoning(piece) for piece in pieces(text))

    def set_reasoning_state(self, state: State) -> None:
        """Attach *state* to the open reasoning part, opening one (without text) when there is none."""
        (self._reasoning or self._open_text("reasoning")).state = state

    def set_text_state(self, state: State) -> None:
        """Attach *state* to the open text part, opening one (without text) when there is none."""
        (self._text or self._open_text("text")).state = state

    def close_block(self) -> None:
        """End the open text or reasoning part: what comes next begins another."""
        self._text = self._reasoning = None

    def add_citation(self, citation: Citation, out: list[Chunk]) -> None:
        """Attach *citation* to the text so far."""
        (self._text or self._open_text("text")).citations.append(citation)
        out.append(CitationChunk(citation))

    def add_opaque(self, kind: str, state: State) -> None:
        """Keep a block of the provider's own where it stands."""
        self.close_block()
        self._parts.append(OpaquePart(kind=kind, state=state))

    def begin_call(self, key: Hashable, call_id: str, name: str, out: list[Chunk]) -> None:
        """Begin the tool call that later fragments name by *key*; an empty *call_id* is given one.

        Its seed tells the turns of a conversation apart: some wires refuse an id that comes twice.
        """
        self.close_block()
        call_id = call_id or f"call_{self._seed}{self._tool_count}"
        tool = _Tool(self._tool_count, call_id, name)
        self._tool_count += 1
        self._tools[key] = tool
        self._parts.append(tool)
        out.append(ToolCallDelta(tool.index, call_id, name, ""))

    def has_call(self, key: Hashable) -> bool:
        """Whether a call has begun under *key*."""
        return key in self._tools

    def get_call_id(self, key: Hashable) -> str:
        """Return the id of the call under *key*."""
        return self._tools[key].id

    def name_call(self, key: Hashable, name: str) -> None:
        """Give the call under *key* the name that came after its first fragment."""
        self._tools[key].name = self._tools[key].name or name

    def set_call_state(self, key: Hashable, state: State) -> None:
        """Attach *state* to the call under *key*."""
        self._tools[key].state = state

    def add_arguments(self, key: Hashable, fragment: str, out: list[Chunk]) -> None:
        """Append *fragment* to the arguments of the call under *key*."""
        tool = self._tools[key]
        if fragment:
            tool.buffer.write(fragment)
            out.extend(ToolCallDelta(tool.index, tool.id, tool.name, piece) for piece in pieces(fragment))

    def get_arguments(self, key: Hashable) -> str:
        """Return the arguments so far of the call under *key*."""
        return self._tools[key].buffer.getvalue()

    def end_call(self, key: Hashable, out: list[Chunk]) -> None:
        """Close the call under *key*: its arguments are whole. Closing twice does nothing."""
        tool = self._tools[key]
        if tool.done:
            return
        tool.done = True
        text = tool.buffer.getvalue()
        tool.parsed = parse_arguments(text)
        out.append(ToolCallChunk(ToolCall(id=tool.id, name=tool.name, arguments=tool.parsed, arguments_text=text)))

    def end(self, out: list[Chunk]) -> None:
        """Close every call that is still open."""
        for key in self._tools:
            self.end_call(key, out)
        self.close_block()

    def build_partial(self) -> Message:
        """Return the message as far as it has come, without calls that are not whole."""
        return Message(role="assistant", content=[*without_cut_calls(self._whole_parts())])

    def build_message(self) -> Message:
        """Return the message; parts without text and without state are left out."""
        return Message(role="assistant", content=self._whole_parts())

    def _whole_parts(self) -> list[Part]:
        return [part for each in self._parts if (part := _part(each)) is not None]

    def _open_text(self, kind: str, *, refusal: bool = False) -> _Text:
        part = _Text(kind, refusal=refusal)
        self._parts.append(part)
        self.close_block()
        if kind == "text":
            self._text = part
        else:
            self._reasoning = part
        return part


def _part(part: _Text | _Tool | OpaquePart) -> Part | None:
    if isinstance(part, OpaquePart):
        return part
    text = part.buffer.getvalue()
    if isinstance(part, _Tool):
        return ToolCallPart(id=part.id, name=part.name, arguments=part.parsed, arguments_text=text, state=part.state)
    if not text and part.state is None and not part.citations:
        return None
    if part.kind == "reasoning":
        return ReasoningPart(text, state=part.state)
    return TextPart(text, refusal=part.refusal, citations=part.citations or None, state=part.state)


def without_cut_calls(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield *parts* but the tool calls whose arguments are not, or not yet, a JSON object: nobody may run them."""
    return (part for part in parts if not isinstance(part, ToolCallPart) or part.arguments is not None)


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Return the JSON object that *text* is, {} for blank text, None for anything else."""
    if not text.strip():
        return {}
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def pieces(text: str) -> list[str]:
    """Return *text* cut into chunks of at most MAX_PIECE_CHARS code points."""
    if len(text) <= MAX_PIECE_CHARS:
        return [text]
    return [text[i : i + MAX_PIECE_CHARS] for i in range(0, len(text), MAX_PIECE_CHARS)]
