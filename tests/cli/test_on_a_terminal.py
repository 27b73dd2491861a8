"""Commands on a terminal of their own: what is typed, pasted and interrupted, and how the terminal is left."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import process_probes
from tests.support.environment import ROOT, environment

pytestmark = [pytest.mark.spawns, pytest.mark.long, process_probes.posix_only]

COMMAND = [sys.executable, "-m", "sidecar"]
LIMIT_SECONDS = 20.0
PROMPT = b"> "


class Screen:
    """A terminal with one command on it."""

    def __init__(self, process: "subprocess.Popen[bytes]", host: int, terminal: int) -> None:
        self.process, self._host, self._terminal = process, host, terminal
        self.seen = b""
        self._first_modes = self._read_modes()

    def type(self, keys: bytes) -> None:
        os.write(self._host, keys)

    def wait_for(self, text: bytes) -> bytes:
        """Return what came until *text*, with it; the next wait is for what comes after it."""
        end = time.monotonic() + LIMIT_SECONDS
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self._host], [], [], 0.1)[0]:
                self.seen += os.read(self._host, 65536)
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def wait_until_unseen(self) -> None:
        """Wait until what is typed is not shown."""
        end = time.monotonic() + LIMIT_SECONDS
        while self._read_modes() == self._first_modes:
            assert time.monotonic() < end
            select.select([], [], [], 0.01)

    def end(self) -> int:
        """Return the exit code, once the terminal is as it was."""
        code = self.process.wait(LIMIT_SECONDS)
        assert self._read_modes() == self._first_modes
        while select.select([self._host], [], [], 0.05)[0]:
            self.seen += os.read(self._host, 65536)
        assert b"Traceback" not in self.seen
        return code

    def _read_modes(self) -> int:
        import termios

        modes: int = termios.tcgetattr(self._terminal)[3]
        return modes & (termios.ECHO | termios.ICANON | termios.ISIG)


@contextmanager
def screen(folder: Path, *arguments: str, **env: str) -> Iterator[Screen]:
    import fcntl
    import pty
    import termios

    host, terminal = pty.openpty()
    home = folder / "home"
    home.mkdir(exist_ok=True)
    variables = environment(home, TERM="xterm", SIDECAR_HOME=str(home), SIDECAR_LOG="off", **env)
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=variables,
        start_new_session=True,
        # Ctrl-C goes to whoever has the terminal.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no thread is in this test
    )
    try:
        yield Screen(process, host, terminal)
    finally:
        process.kill()
        process.wait()
        os.close(host)
        os.close(terminal)


def test_a_pasted_text_of_several_lines_is_one_message(tmp_path: Path) -> None:
    with screen(tmp_path, "chat", "replay/text") as seen:
        seen.wait_for(PROMPT)
        seen.type(b"\x1b[200~one\ntwo\x1b[201~")
        seen.wait_for(b"two")
        seen.type(b"\n")
        assert seen.wait_for(PROMPT).count(b"tokens in") == 1
        seen.type(b"\x04")
        assert seen.end() == 0


def test_pasted_lines_are_one_message_without_readline_too(tmp_path: Path) -> None:
    (tmp_path / "readline.py").write_text("raise ImportError")
    with screen(tmp_path, "chat", "replay/text", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}") as seen:
        seen.wait_for(PROMPT)
        seen.type(b"one\ntwo\n")
        assert seen.wait_for(PROMPT).count(b"tokens in") == 1
        seen.type(b"\x04")
        assert seen.end() == 0


def test_ctrl_c_at_the_prompt_ends_a_conversation(tmp_path: Path) -> None:
    with screen(tmp_path, "chat", "replay/text") as seen:
        seen.wait_for(PROMPT)
        seen.type(b"half a line")
        seen.wait_for(b"half a line")
        # Python's readline does not see a signal that comes just before it waits for a key.
        end = time.monotonic() + LIMIT_SECONDS
        while seen.process.poll() is None and time.monotonic() < end:
            seen.type(b"\x03")
            select.select([], [], [], 0.2)
        assert seen.end() == 130


def test_ctrl_c_cancels_an_answer_and_says_what_it_used(tmp_path: Path) -> None:
    with screen(tmp_path, "chat", "replay/slow", "Hello") as seen:
        seen.wait_for(b"A sidecar")
        seen.type(b"\x03")
        assert seen.end() == 130
        assert re.search(rb"\[about \d+ tokens in, \d+ tokens out, ", seen.seen)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_key_is_not_shown_and_the_terminal_shows_what_is_typed_afterwards(tmp_path: Path, number: int) -> None:
    with screen(tmp_path, "login", "anthropic") as seen:
        seen.wait_for(b"(it is not shown): ")
        seen.wait_until_unseen()
        seen.type(b"CANARY-key")
        if number == signal.SIGINT:
            seen.type(b"\x03")
        else:
            seen.process.send_signal(number)
        assert seen.end() == 128 + number
        assert b"CANARY" not in seen.seen


def test_the_terminal_says_what_takes_long_and_leaves_no_trace_of_it(tmp_path: Path) -> None:
    with screen(tmp_path, "chat", "replay/slow", "Hello") as seen:
        waited = seen.wait_for(b"A sidecar")
        assert b"waiting for the model" in waited
        assert waited.endswith(b"\r\x1b[K1. A sidecar")
        seen.type(b"\x03\x03")
        assert seen.end() == 130


def test_output_to_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "chat", "--quiet", "replay/long", "Hello"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(tmp_path, SIDECAR_LOG="off"),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(4)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(LIMIT_SECONDS) == 0
    process.stderr.close()


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            [*COMMAND, "providers"],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=LIMIT_SECONDS,
            env=environment(tmp_path, SIDECAR_LOG="off"),
        )
    assert (run.returncode, run.stderr) == (1, b"sidecar: cannot go on: No space left on device\n")


def test_a_process_that_serves_loads_nothing_of_the_commands(tmp_path: Path) -> None:
    """The command line costs an editor no time at its start."""
    listing = environment(tmp_path, PYTHONPROFILEIMPORTTIME="1", SIDECAR_LOG="off")
    ping = b'{"id":1,"action":"ping"}\n'
    run = subprocess.run(COMMAND, input=ping, capture_output=True, check=True, timeout=LIMIT_SECONDS, env=listing)
    loaded = re.findall(r"^import time: +\d+ \| +\d+ \| +([\w.]+)$", run.stderr.decode(), re.MULTILINE)
    assert "sidecar.server.serve" in loaded
    commands = ("argparse", "click", "rich", "readline", "getpass", "sidecar.cli")
    assert not [name for name in loaded if name.split(".")[0] in commands or name.startswith("sidecar.cli")]
