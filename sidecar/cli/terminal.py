"""Where a command reads and writes: the standard streams, and what a terminal among them can do.

The only module of the command line that touches the streams. Must not know what is written.
"""

import getpass
import io
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Literal, TextIO

from sidecar.core import platforms

PROGRESS_AFTER_SECONDS = 0.4
"""How long something must take before the terminal says what it is waiting for."""

TICK_SECONDS = 0.1
"""How often the line of progress is drawn."""

PIPE_COLUMNS = 10_000
"""The width of a table in a file or a pipe, which no program wants to see cut."""

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_CLEAR_LINE = "\r\x1b[K"
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that terminals obey, but tab and line feed, and those that show text in another order than it has."""


def escape_controls(text: str) -> str:
    """Return *text* with a visible sign for every character that a terminal would obey."""
    return _UNSAFE.sub(_make_visible, text.replace("\r\n", "\n"))


def _make_visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    # Unicode has a picture of each of the older controls.
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


class ReaderGoneError(Exception):
    """Nobody reads stdout any more."""


class Terminal:
    """The three streams of a command. Any of them may be a file or a pipe."""

    def __init__(
        self, stdin: TextIO, out: TextIO, err: TextIO, env: Mapping[str, str], *, is_process: bool = False
    ) -> None:
        """Use these streams; *is_process*: they are those of the process."""
        self._stdin = stdin
        self._is_process = is_process
        self._out = out
        self._err = err
        self.is_input = stdin.isatty()
        """Whether a person types."""
        self.is_output = out.isatty()
        """Whether a person reads stdout."""
        self._shows_progress = err.isatty() and env.get("TERM") != "dumb"
        self.has_colour = self.is_output and not env.get("NO_COLOR") and env.get("TERM") != "dumb"
        """Whether tables may have colours (https://no-color.org, read 2026-11)."""
        self._waiting_since: float | None = None
        self._is_drawn = False

    @property
    def columns(self) -> int:
        """How many characters a line of stdout has."""
        return max(20, shutil.get_terminal_size().columns) if self.is_output else PIPE_COLUMNS

    # --- output -----------------------------------------------------------------------------

    def write(self, text: str) -> None:
        """Write *text* to stdout at once. A terminal gets no control characters, whoever wrote them.

        Raises: ReaderGoneError.
        """
        self.write_drawn(escape_controls(text) if self.is_output else text)

    def write_drawn(self, text: str) -> None:
        """Write a drawing of our own to stdout, colours included.

        Raises: ReaderGoneError.
        """
        self.clear_progress()
        try:
            with _interruptible() if self._is_process else nullcontext():
                self._out.write(text)
                self._out.flush()
        except BrokenPipeError:
            raise ReaderGoneError from None

    def say(self, text: str) -> None:
        """Write a line to stderr."""
        self.clear_progress()
        self._err.write(escape_controls(text) + "\n")
        self._err.flush()

    # --- progress ---------------------------------------------------------------------------

    @property
    def shows_progress(self) -> bool:
        """Whether somebody sees what `draw_progress` draws."""
        return self._shows_progress

    def draw_progress(self, text: str) -> None:
        """Draw *text* into the last line of the terminal, if this wait has lasted for a while."""
        now = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now
        waited = now - self._waiting_since
        if not self._shows_progress or waited < PROGRESS_AFTER_SECONDS:
            return
        frame = _FRAMES[int(waited / TICK_SECONDS) % len(_FRAMES)]
        seconds = f" ({waited:.0f} s)" if waited >= 1 else ""
        line = f"{frame} {escape_controls(text)}{seconds}"
        self._err.write(_CLEAR_LINE + line[: shutil.get_terminal_size().columns - 1])
        self._err.flush()
        self._is_drawn = True

    def clear_progress(self) -> None:
        """Remove the line of progress, and begin a new wait."""
        self._waiting_since = None
        if self._is_drawn:
            self._is_drawn = False
            self._err.write(_CLEAR_LINE)
            self._err.flush()

    # --- input ------------------------------------------------------------------------------

    def read_all(self) -> str:
        """Return everything that is piped into the command."""
        return self._stdin.read()

    def ask(self, prompt: str) -> str:
        """Return the line that a person types after *prompt*.

        Raises: EOFError at the end of input.
        """
        self.clear_progress()
        if not self._is_process or not self.is_input:
            line = self._stdin.readline()
            if not line:
                raise EOFError
            return line.rstrip("\n")
        if not self.is_output:
            # What is written to a file is the answer alone.
            self._err.write(prompt)
            self._err.flush()
            prompt = ""
        return _read_typed(prompt, self._stdin.fileno())

    def ask_hidden(self, prompt: str) -> str:
        """Return what a person types after *prompt* without showing it; the first line of a pipe.

        Raises: EOFError at the end of input.
        """
        self.clear_progress()
        if self.is_input and self._is_process:
            return getpass.getpass(prompt, stream=self._err).strip()
        return self.ask(prompt).strip()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end a write that waits for its reader: the event loop would only note it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _read_typed(prompt: str, fd: int) -> str:
    """Return what a person types after *prompt*, or a text of several lines that is pasted there."""
    try:
        import readline  # noqa: F401 - `input` then edits the line, and takes a pasted text as one
    except ImportError:
        lines = [input(prompt)]
        # Nobody types so fast.
        while not platforms.WINDOWS and platforms.is_readable(fd):
            lines.append(input())
        return "\n".join(lines)
    return input(prompt)


def open_terminal(env: Mapping[str, str]) -> Terminal:
    """Return the terminal of the process. A stream that was closed is the null device."""
    stdin, out, err = _open(sys.stdin, "r"), _open(sys.stdout, "w"), _open(sys.stderr, "w")
    for stream in (stdin, out, err):
        if isinstance(stream, io.TextIOWrapper):
            # A locale that cannot write a character shows it as an escape.
            stream.reconfigure(errors="replace" if stream is stdin else "backslashreplace")
    return Terminal(stdin, out, err, env, is_process=True)


def _open(stream: TextIO | None, mode: Literal["r", "w"]) -> TextIO:
    return Path(os.devnull).open(mode, encoding="utf-8") if stream is None else stream
