"""Text in pieces → lines that may be markers, and everything else at once. [sans-IO]

Knows lines, their beginnings, and tags within them. Must not know any format: a `Grammar` is a generator that yields
a `State`, which says which lines it wants to see. It gets them one by one, each with its line ending, and an empty one
at the end of the text. All other text goes straight to the `Writer`, as it arrives. Only a possible beginning of a
marker is held back, and never more than MAX_MARKER_CHARS of it.
"""

from collections.abc import Callable, Generator

import msgspec

from sidecar.formats.events import Event, Writer

MAX_MARKER_CHARS = 4096
"""A longer line or tag is never a marker, whatever it begins with."""

BLANKS = " \t\r\n"
"""What may surround a marker in its line. Other white space is content."""

MAX_LEAD_CHARS = 32
"""The longest beginning that identifies a marker."""

Decide = Callable[[str], bool | None]
"""Whether a line with this beginning may be a marker; None: too short to tell."""

FindTag = Callable[[str, int, bool], int]
"""(text, index, is_last) → the end of the tag that begins at the index; 0: no tag; -1: too short to tell, but never if
this is the last of the text."""


class State(msgspec.Struct, frozen=True):
    """What a grammar waits for."""

    line: Decide
    prefix: str = ""
    """Removed from the beginning of each line that goes straight to the writer, as much of it as is there."""
    find_tag: FindTag | None = None
    """Finds tags in such lines. Called at each `<`."""


Grammar = Generator[State, str, str | None]
"""Is sent lines, and finally an empty one; may return a line for its caller to read."""


class Format(msgspec.Struct, frozen=True):
    """A row of the table of formats: how a file or another item begins in the prose."""

    openers: tuple[str, ...]
    """The beginnings of the lines that `enter` wants to see; blanks and case do not count."""
    enter: Callable[[Writer, str], Grammar | bool]
    """Returns the grammar that reads on from this line; True if it consumed the line; False if it is not its line."""
    named_above: bool = False
    """Whether the line above an opening one may name the file; such lines are held until the next one."""
    find_tag: FindTag | None = None


def begins_with_any(*starts: str) -> Decide:
    """Return a `Decide` for markers that begin with one of *starts*, in lower case; blanks and case do not count."""
    by_first: dict[str, tuple[str, ...]] = {}
    for start in starts:
        for first in {start[0], start[0].upper()}:
            by_first[first] = (*by_first.get(first, ()), start)

    def decide(line: str) -> bool | None:
        if line[0] in " \t":
            line = line.lstrip(" \t")
            if not line:
                return None
        candidates = by_first.get(line[0])
        if candidates is None:
            return False
        line = line[:MAX_LEAD_CHARS].lower()
        if line.startswith(candidates):
            return True
        return None if any(start.startswith(line) for start in candidates) else False

    return decide


class Lexer:
    """The text of one answer → events. They do not depend on how the text is split, except where content is cut."""

    def __init__(self, grammar: Callable[[Writer], Grammar], first: int = 0) -> None:
        """Count the files from *first* on."""
        self._out = Writer(first)
        self._grammar = grammar(self._out)
        self._state = next(self._grammar)
        self._waiting = ""
        """The beginning of a possible marker."""
        self._in_line = False
        """Whether the held text, or the next, is in the middle of a line."""

    def feed(self, text: str) -> list[Event]:
        """Return the events that *text* completes."""
        if self._in_line and not self._waiting and "\n" not in text and (not self._state.find_tag or "<" not in text):
            # The common case: a few characters within a line.
            if text:
                self._out.text(text)
        else:
            self._read(self._waiting + text, ended=False)
        return self._out.take()

    def end(self, *, whole: bool = False) -> list[Event]:
        """Return the events that the end of the text completes. The last line needs no line ending; open files end.

        *whole*: the model itself ended the answer, which completes a file whose format has no end marker.
        """
        self._out.whole = whole
        self._read(self._waiting, ended=True)
        self._send("")
        self._out.end()
        return self._out.take()

    @property
    def count(self) -> int:
        """The number of the next file."""
        return self._out.count

    def _read(self, text: str, *, ended: bool) -> None:
        """Pass possible markers to the grammar, and all else to the writer."""
        self._waiting = ""
        start = at = 0
        while at < len(text):
            end = text.find("\n", at) + 1 or len(text)
            begins_line = not self._in_line
            if begins_line and self._may_be_marker(text[at:end], ended=ended):
                self._pass_on(text, start, at)
                if text[end - 1] != "\n" and not ended:
                    self._waiting = text[at:]
                    return
                self._send(text[at:end])
                start = at = end
                continue
            if begins_line and self._state.prefix:
                if end == len(text) < at + len(self._state.prefix) and not ended and text[end - 1] != "\n":
                    # Perhaps only a part of the prefix has arrived.
                    self._pass_on(text, start, at)
                    self._waiting = text[at:]
                    return
                self._pass_on(text, start, at)
                start = at + _count_common_chars(self._state.prefix, text, at)
            tag = self._tag(text, max(start, at), end, ended=ended) if self._state.find_tag else None
            if tag:
                begun, tag_end = tag
                # Blanks before a tag at the beginning of a line belong to the tag.
                begins_line = begins_line and not text[at:begun].strip(" \t")
                begun = at if begins_line else begun
                self._pass_on(text, start, begun)
                if tag_end < 0:
                    self._waiting = text[begun:]
                    self._in_line = not begins_line
                    return
                self._send(text[begun:tag_end])
                start = end = tag_end
            at = end
            self._in_line = text[end - 1] != "\n"
        self._pass_on(text, start, at)

    def _may_be_marker(self, line: str, *, ended: bool) -> bool:
        if len(line) > MAX_MARKER_CHARS:
            return False
        return self._state.line(f"{line}\n" if ended and line[-1] != "\n" else line) is not False

    def _tag(self, text: str, at: int, end: int, *, ended: bool) -> tuple[int, int] | None:
        """Return where the first tag between *at* and *end* begins, and its end as `FindTag` returns it."""
        find_tag = self._state.find_tag
        while find_tag and (at := text.find("<", at, end)) >= 0:
            tag_end = find_tag(text, at, ended)
            if tag_end > 0 or (tag_end < 0 and len(text) - at <= MAX_MARKER_CHARS):
                return at, tag_end
            at += 1
        return None

    def _send(self, line: str) -> None:
        try:
            self._state = self._grammar.send(line)
        except StopIteration:
            # The grammar has finished.
            return

    def _pass_on(self, text: str, start: int, end: int) -> None:
        if end > start:
            self._out.text(text[start:end])


def _count_common_chars(prefix: str, text: str, at: int) -> int:
    """Return how many characters of *prefix* are in *text* at *at*."""
    count = 0
    while count < len(prefix) and text.startswith(prefix[count], at + count):
        count += 1
    return count
