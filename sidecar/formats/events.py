"""What lexers report: prose, files, commands, in their order; a file that was opened ends exactly once. [sans-IO]

Knows files and the sides of their edits. Must not know any format's markers.
"""

import msgspec

from protocol.files import Body, CommandChunk, FileChunk, FileStart, Operation, Side
from protocol.replies import Content
from sidecar.formats import edits, paths
from sidecar.formats.code import Fence, is_markdown, may_open, opening, unwrapped
from sidecar.formats.edits import Edit


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a file as a lexer knows it; `file_end` says besides what became of its edits."""

    start: FileStart
    complete: bool
    """Whether all of it came."""
    text: str
    """All its chunks: of `full_content` the file itself."""
    edits: tuple[Edit, ...] = ()
    unfenced: bool = False


Event = Content | FileStart | FileChunk | Closed | CommandChunk


class Writer:
    """The events of one answer, on their way from a grammar to whoever feeds the lexer."""

    def __init__(self) -> None:
        self.held: list[str] = []
        """Lines that may belong to what follows; they are text when it turns out that they do not."""
        self.fence: Fence | None = None
        """The fence in the prose that is open: nothing of Markdown means anything within it."""
        self.count = 0
        """Files that were opened."""
        self.last_path = ""
        """The path of the last one, as it was written."""
        self.only = False
        """Whether one format alone is left, so that a line of it decides nothing."""
        self.whole = False
        """Whether the model itself has ended the answer; known at its end alone."""
        self._events: list[Event] = []
        self._pending: FileStart | None = None
        self._open: FileStart | None = None
        self._pieces: list[str] = []
        self._seen = 0
        """Pieces that `fresh` has returned."""
        self._edits: list[Edit] = []
        self._edit: int | None = None
        self._side: Side | None = None
        self._search = ""
        self._command: list[str] | None = None
        self._first: str | None = None
        """The first line so far of a file that may have a fence around all of it."""
        self._wrapped: list[str] | None = None
        """The text so far of a file whose first line is a fence."""

    def take(self) -> list[Event]:
        """Return the events since the last time."""
        events, self._events = self._events, []
        return events

    def text(self, text: str) -> None:
        """Add *text* to the open file, or else to the prose."""
        if self.held or self._pending:
            self.settle()
        self._add(text)

    def command(self, command: str) -> None:
        """Report a command."""
        self.settle()
        self._events.append(CommandChunk(command))

    def begin_command(self) -> None:
        """Say that what follows is a command."""
        self.settle()
        self._command = []

    def end_command(self, *, complete: bool = True) -> None:
        """Report the command that is under way, if there is one; of what was cut, only its text."""
        command, self._command = "".join(self._command or ()), None
        if complete:
            self.command(command.strip())
        elif command:
            self._add(command)

    # --- what waits --------------------------------------------------------------------------

    def hold(self, line: str) -> None:
        """Keep *line* back until it is known what it belongs to."""
        self.held.append(line)

    def take_held(self) -> list[str]:
        """Return the lines that are held, which are then held no more."""
        held, self.held = self.held, []
        return held

    def settle(self) -> None:
        """Open the file that waits, whose opener the lines that are held are; without one they are text."""
        held = self.take_held()
        if self._pending:
            self._start(self._pending)
        elif held:
            self._add("".join(held))

    @property
    def waits(self) -> bool:
        """Whether a file waits for its first line."""
        return self._pending is not None

    def cancel(self) -> None:
        """Open no file after all; the lines that are held stay."""
        self._pending = None
        self.count -= 1

    # --- files -------------------------------------------------------------------------------

    def open(self, path: str, op: Operation, body: Body, *, to: str | None = None, purpose: str | None = None) -> None:
        """Begin a file; one that is open yet ends incomplete."""
        self.prepare(path, op, body, to=to, purpose=purpose)
        self.settle()

    def prepare(
        self, path: str, op: Operation, body: Body, *, to: str | None = None, purpose: str | None = None
    ) -> None:
        """Begin a file with its first line, or end; until then it can be changed or cancelled."""
        cleaned, refused = paths.clean(path)
        target = paths.clean(to) if to is not None else (None, None)
        self.close(complete=False)
        self._pending = FileStart(
            file=self.count,
            path=cleaned,
            op=op,
            format=body,
            to=target[0],
            purpose=purpose or None,
            refused=refused or target[1],
        )
        self.last_path = path
        self.count += 1

    def become(self, op: Operation, body: Body, *, to: str | None = None) -> None:
        """Change what the file that waits is."""
        if self._pending is None:
            return
        target, refused = paths.clean(to) if to is not None else (self._pending.to, None)
        self._pending = msgspec.structs.replace(
            self._pending, op=op, format=body, to=target, refused=self._pending.refused or refused
        )

    def close(self, *, complete: bool = True) -> None:
        """End the open file, if there is one; an edit that is under way, or the last hunk of a diff, is incomplete."""
        if self._pending:
            self.settle()
        opened = self._open
        if opened is None:
            return
        self.end_edit(complete=False)
        unfenced = self._unwrap()
        text = "".join(self._pieces)
        if opened.format == "unified_diff" and opened.op != "delete":
            self._edits = edits.of_diff(text)
            if self._edits and not complete:
                self._edits[-1] = msgspec.structs.replace(self._edits[-1], complete=False)
        self._open = None
        self._events.append(
            Closed(start=opened, complete=complete, text=text, edits=tuple(self._edits), unfenced=unfenced)
        )

    def end(self) -> None:
        """End the answer."""
        self.settle()
        self.end_command(complete=False)
        self.close(complete=False)

    # --- edits of `search_replace` -----------------------------------------------------------

    def begin_edit(self) -> None:
        """Say that what follows is to be found; an edit that is under way is incomplete."""
        self.settle()
        self.end_edit(complete=False)
        self._side = "search"
        self._edit = len(self._edits)
        self._pieces = []

    def begin_replacement(self) -> None:
        """Say that what follows is to be put there."""
        self._search = "".join(self._pieces)
        self._side = "replace"
        self._pieces = []

    def end_edit(self, *, complete: bool = True) -> None:
        """End the edit that is under way, if there is one; it needs both its sides to be complete."""
        if self._side is None:
            return
        texts = (self._search, "".join(self._pieces)) if self._side == "replace" else ("".join(self._pieces), "")
        self._edits.append(edits.of_texts(*texts, complete=complete and self._side == "replace"))
        self._side = self._edit = None
        self._pieces = []

    @property
    def is_whole(self) -> bool:
        """Whether the open file comes as a whole."""
        return self._open is not None and self._open.format == "full_content"

    @property
    def is_changed(self) -> bool:
        """Whether the open file is changed by searches."""
        return self._open is not None and self._open.format == "search_replace"

    @property
    def side(self) -> Side | None:
        """The side of an edit that is under way."""
        return self._side

    @property
    def written(self) -> str:
        """The text of the open file so far, or of the side of its edit."""
        return "".join(self._pieces)

    def begins_with(self, text: str) -> bool:
        """Return whether the open file begins with the short *text*."""
        return "".join(self._pieces[: len(text)]).startswith(text)

    @property
    def at_line_start(self) -> bool:
        """Whether there is nothing but blanks in the last line of the open file so far."""
        last = next((piece for piece in reversed(self._pieces) if piece.strip(" \t")), "\n")
        return last.rstrip(" \t").endswith("\n")

    def fresh(self) -> str:
        """Return what was added to the open file since the last time."""
        text = "".join(self._pieces[self._seen :])
        self._seen = len(self._pieces)
        return text

    # --- inside ------------------------------------------------------------------------------

    def _start(self, start: FileStart) -> None:
        self._pending, self._open = None, start
        self._pieces, self._edits, self._seen = [], [], 0
        self._first = "" if start.format == "full_content" and not is_markdown(start.path) else None
        self._events.append(start)

    def _add(self, text: str) -> None:
        if self._command is not None:
            self._command.append(text)
            return
        if self._open is None:
            self._events.append(Content(text))
            return
        if self._first is not None or self._wrapped is not None:
            text = self._past_fence(text)
        if text:
            self._pieces.append(text)
            self._events.append(FileChunk(self._open.file, text, self._edit, self._side))

    def _past_fence(self, text: str) -> str:
        """Return what can be passed on of a file that begins so: nothing as long as a fence may stand around it."""
        if self._wrapped is not None:
            self._wrapped.append(text)
            return ""
        text = f"{self._first}{text}"
        line, line_end, _ = text.partition("\n")
        if not line_end and may_open(line):
            self._first = text
            return ""
        self._first = None
        if line_end and opening(line):
            self._wrapped = [text]
            return ""
        return text

    def _unwrap(self) -> bool:
        """Add the text that has waited for the end of its file; return whether it had a fence around it."""
        text = "".join(self._wrapped or ()) or self._first or ""
        self._first = self._wrapped = None
        inner = unwrapped(text)
        self._add(text if inner is None else inner)
        return inner is not None
