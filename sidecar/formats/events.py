"""What lexers report, in order: prose, files, commands. An opened file ends exactly once. [sans-IO]

Knows files and the sides of their edits. Must not know any format's markers.
"""

import msgspec

from protocol.files import Body, CommandChunk, FileChunk, FileStart, Operation, Side
from protocol.replies import Content
from sidecar.formats import edits, paths
from sidecar.formats.code import Fence, is_markdown, may_open_fence, read_opening_fence, unwrap
from sidecar.formats.edits import Edit


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a file as a lexer sees it. `file_end` adds the results of its edits."""

    start: FileStart
    complete: bool
    """Whether all of it has arrived."""
    text: str
    """The content of all its chunks; with `full_content`, the file itself."""
    searches: tuple[Edit, ...] = ()
    """The edits of `search_replace`."""
    unfenced: bool = False

    @property
    def is_diff(self) -> bool:
        """Whether its edits are hunks, which are read only when they are applied: a diff may be long."""
        return self.start.format == "unified_diff" and self.start.op != "delete" and bool(self.text)

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All its edits; the last hunk of a diff that was cut is incomplete. Takes time in proportion to a diff."""
        if not self.is_diff:
            return self.searches
        hunks = edits.read_diff(self.text)
        if hunks and not self.complete:
            hunks[-1] = msgspec.structs.replace(hunks[-1], complete=False)
        return tuple(hunks)


Event = Content | FileStart | FileChunk | Closed | CommandChunk


class Writer:
    """Collects the events of one answer: a grammar writes them, and whoever feeds the lexer takes them."""

    def __init__(self, first: int = 0) -> None:
        """Count the files from *first* on."""
        self.held: list[str] = []
        """Lines that may belong to what follows. If they do not, they are text."""
        self.fence: Fence | None = None
        """The open fence in the prose. Within it no other Markdown counts."""
        self.first = self.count = first
        """The number of the first file, and of the next one."""
        self.last_path = ""
        """The path of the last file, as the model wrote it."""
        self.only = False
        """Whether only one format is left, so that `auto` has nothing to decide."""
        self.whole = False
        """Whether the model itself ended the answer. Known only at the end."""
        self._events: list[Event] = []
        self._pending: FileStart | None = None
        self._lead = ""
        """How the prepared file begins, if it is not cancelled."""
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
        """The first line so far of a file that may be fenced as a whole."""
        self._wrapped: list[str] | None = None
        """The text so far of a file that begins with a fence."""

    def take(self) -> list[Event]:
        """Return the events since the last call."""
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
        """Begin a command: the text that follows."""
        self.settle()
        self._command = []

    def end_command(self, *, complete: bool = True) -> None:
        """Report the open command, if there is one. An incomplete one is reported as prose."""
        command, self._command = "".join(self._command or ()), None
        if complete:
            self.command(command.strip())
        elif command:
            self._add(command)

    # --- lines on hold --------------------------------------------------------------------------

    def hold(self, line: str) -> None:
        """Hold *line* until it is clear what it belongs to."""
        self.held.append(line)

    def take_held(self) -> list[str]:
        """Return the held lines, and hold them no longer."""
        held, self.held = self.held, []
        return held

    def settle(self) -> None:
        """Open the prepared file, of which the held lines are the opener. Without such a file they are text."""
        held = self.take_held()
        if self._pending:
            self._start(self._pending)
            if self._lead:
                lead, self._lead = self._lead, ""
                self._add(lead)
        elif held:
            self._add("".join(held))

    @property
    def waits(self) -> bool:
        """Whether a file is prepared but not open yet."""
        return self._pending is not None

    def cancel(self) -> None:
        """Drop the prepared file. The held lines stay, and its first one joins them."""
        self._pending = None
        if self._lead:
            self.held.append(self._lead)
            self._lead = ""
        self.count -= 1

    # --- files -------------------------------------------------------------------------------

    def open(self, path: str, op: Operation, body: Body, *, to: str | None = None, purpose: str | None = None) -> None:
        """Open a file. If another is still open, that one ends incomplete."""
        self.prepare(path, op, body, to=to, purpose=purpose)
        self.settle()

    def prepare(
        self, path: str, op: Operation, body: Body, *, to: str | None = None, purpose: str | None = None
    ) -> None:
        """Prepare a file, which opens with its first line or its end. Until then it can be changed or cancelled."""
        cleaned, refused = paths.clean_path(path)
        target = paths.clean_path(to) if to is not None else (None, None)
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

    def lead(self, line: str) -> None:
        """Begin the prepared file with *line*."""
        self._lead = line

    def become(self, op: Operation, body: Body, *, to: str | None = None) -> None:
        """Change the operation and format of the prepared file."""
        if self._pending is None:
            return
        target, refused = paths.clean_path(to) if to is not None else (self._pending.to, None)
        self._pending = msgspec.structs.replace(
            self._pending, op=op, format=body, to=target, refused=self._pending.refused or refused
        )

    def close(self, *, complete: bool = True) -> None:
        """End the open file, if there is one. An open edit is incomplete."""
        if self._pending:
            self.settle()
        opened = self._open
        if opened is None:
            return
        self.end_edit(complete=False)
        unfenced = self._unwrap()
        text = "".join(self._pieces)
        self._open = None
        self._events.append(
            Closed(start=opened, complete=complete, text=text, searches=tuple(self._edits), unfenced=unfenced)
        )

    def end(self) -> None:
        """End the answer."""
        self.settle()
        self.end_command(complete=False)
        self.close(complete=False)

    # --- edits of `search_replace` -----------------------------------------------------------

    def begin_edit(self) -> None:
        """Begin the search side of an edit. An edit that is still open is incomplete."""
        self.settle()
        self.end_edit(complete=False)
        self._side = "search"
        self._edit = len(self._edits)
        self._pieces = []

    def begin_replacement(self) -> None:
        """Begin the replace side of the edit."""
        self._search = "".join(self._pieces)
        self._side = "replace"
        self._pieces = []

    def end_edit(self, *, complete: bool = True) -> None:
        """End the open edit, if there is one. Without both sides it is incomplete."""
        if self._side is None:
            return
        texts = (self._search, "".join(self._pieces)) if self._side == "replace" else ("".join(self._pieces), "")
        self._edits.append(edits.make_edit(*texts, complete=complete and self._side == "replace"))
        self._side = self._edit = None
        self._pieces = []

    @property
    def is_whole(self) -> bool:
        """Whether the open file is sent as a whole."""
        return self._open is not None and self._open.format == "full_content"

    @property
    def is_changed(self) -> bool:
        """Whether the open file is edited by search and replace."""
        return self._open is not None and self._open.format == "search_replace"

    @property
    def side(self) -> Side | None:
        """The side of the open edit."""
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
        """Whether the last line of the open file is blank so far."""
        last = next((piece for piece in reversed(self._pieces) if piece.strip(" \t")), "\n")
        return last.rstrip(" \t").endswith("\n")

    def fresh(self) -> str:
        """Return what was added to the open file since the last call."""
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
        """Return the part of *text* that can be passed on: nothing while the file may be fenced as a whole."""
        if self._wrapped is not None:
            self._wrapped.append(text)
            return ""
        text = f"{self._first}{text}"
        line, line_end, _ = text.partition("\n")
        if not line_end and may_open_fence(line):
            self._first = text
            return ""
        self._first = None
        if line_end and read_opening_fence(line):
            self._wrapped = [text]
            return ""
        return text

    def _unwrap(self) -> bool:
        """Add the text that was held until the end of its file, and return whether it was fenced."""
        text = "".join(self._wrapped or ()) or self._first or ""
        self._first = self._wrapped = None
        inner = unwrap(text)
        self._add(text if inner is None else inner)
        return inner is not None
