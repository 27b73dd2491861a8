"""Text in pieces → the lines that may be markers, and everything else as soon as it comes. [sans-IO]

Knows lines, their beginnings, and the tags that may stand within them. Must not know any format: a `Grammar` is a
generator that says by a `State` which lines it wants to see, and gets them one by one, each with its line end; an
empty one is the end of the text. Lines that it does not want go straight to the `Writer`, in pieces where they come
in pieces. Only the beginning of what may yet be a marker waits, and never more than MAX_MARKER_CHARS of it.
"""

from collections.abc import Callable, Generator

import msgspec

from sidecar.formats.events import Event, Writer

MAX_MARKER_CHARS = 4096
"""A longer line is no marker, whatever it begins with; so is a longer tag."""

BLANKS = " \t\r\n"
"""What may stand around a marker in its line. Other white space is content, as all that only some readers split at."""

MAX_LEAD_CHARS = 32
"""Longest beginning by which a marker is known."""

Decide = Callable[[str], bool | None]
"""Whether a line that begins so may be a marker; None: there is too little of it to say."""

FindTag = Callable[[str, int, bool], int]
"""Where the tag ends that begins at an index of a text; 0: there is none; -1: there is too little to say, which it
never is when the flag tells that no more comes."""


class State(msgspec.Struct, frozen=True):
    """What a grammar waits for."""

    line: Decide
    prefix: str = ""
    """What is taken off the beginning of each line that goes straight to the writer, as far as it stands there."""
    find_tag: FindTag | None = None
    """Finds tags in such lines, asked at each `<`."""


Grammar = Generator[State, str, str | None]
"""Gets lines, and at last an empty one; may return a line that is for its caller."""


class Format(msgspec.Struct, frozen=True):
    """A row of the table of formats: how a file, or whatever else the format has, begins in the prose."""

    leads: tuple[str, ...]
    """What the lines begin with, blanks and case aside, that `enter` is to look at."""
    enter: Callable[[Writer, str], Grammar | bool]
    """Returns what reads the text from this line on; True when it has read the line; False when it is none of its."""
    named_above: bool = False
    """Whether the line above an opener may name the file, so that such lines wait for the next one."""
    find_tag: FindTag | None = None


def leads(*starts: str) -> Decide:
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
    """One answer's text → events: the same however it is split, but for where adjacent pieces are cut."""

    def __init__(self, grammar: Callable[[Writer], Grammar]) -> None:
        self._out = Writer()
        self._grammar = grammar(self._out)
        self._state = next(self._grammar)
        self._waiting = ""
        """The beginning of a line, or of a tag, that may be a marker."""
        self._in_line = False
        """Whether what waits, or comes next, stands within a line that is no marker."""

    def feed(self, text: str) -> list[Event]:
        """Return what *text* adds."""
        if self._in_line and not self._waiting and "\n" not in text and (not self._state.find_tag or "<" not in text):
            # The beaten path: a few characters within a line.
            if text:
                self._out.text(text)
        else:
            self._read(self._waiting + text, ended=False)
        return self._out.take()

    def end(self, *, whole: bool = False) -> list[Event]:
        """Return what the end of the text adds: the last line counts without its line end, and open files end.

        *whole* says that the model itself ended the answer, which completes what has no end marker of its own.
        """
        self._out.whole = whole
        self._read(self._waiting, ended=True)
        self._send("")
        self._out.end()
        return self._out.take()

    def _read(self, text: str, *, ended: bool) -> None:
        """Pass *text* on: lines that may be markers to the grammar, all else to the writer."""
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
                    # It may be that only a part of the prefix is there.
                    self._pass_on(text, start, at)
                    self._waiting = text[at:]
                    return
                self._pass_on(text, start, at)
                start = at + _common(self._state.prefix, text, at)
            tag = self._tag(text, max(start, at), end, ended=ended) if self._state.find_tag else None
            if tag:
                begun, tag_end = tag
                # The blanks before a tag that begins its line go with it.
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
        """Return where the first tag of *text* from *at* to *end* begins, and where it ends as `FindTag` says it."""
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
            # It has read the end.
            return

    def _pass_on(self, text: str, start: int, end: int) -> None:
        if end > start:
            self._out.text(text[start:end])


def _common(prefix: str, text: str, at: int) -> int:
    """Return how many characters of *prefix* stand in *text* at *at*."""
    count = 0
    while count < len(prefix) and text.startswith(prefix[count], at + count):
        count += 1
    return count
