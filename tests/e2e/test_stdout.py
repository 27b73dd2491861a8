"""What is written: whole lines and nothing else, at once, wherever stdout leads."""

import os
import socket
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from pathlib import Path
from random import Random

import pytest

from tests.support import process_probes
from tests.support.fake_provider import Call, Pause, Provider
from tests.support.process import ROOT, Sidecar, environment, in_time, text
from tests.support.reply_scripts import ANTHROPIC, SHAPES, Shape, stream

pytestmark = pytest.mark.alone

PING = b'{"id":"p","action":"ping"}\n'


@process_probes.posix_only
@pytest.mark.parametrize(("closed", "name"), [("0<&-", "stdin"), ("1>&-", "stdout")])
def test_without_stdin_or_stdout_there_is_nothing_to_start_for(tmp_path: Path, closed: str, name: str) -> None:  # B05
    with Sidecar(tmp_path, launcher=("sh", "-c", f'exec "$@" {closed}', "sh"), ready=False) as sidecar:
        sidecar.expected_exit = 2
        sidecar.exit()
    assert sidecar.stderr.decode() == f"sidecar: {name} is closed, so there is no host to serve\n"
    assert not sidecar.lines


@process_probes.linux_only
def test_without_stderr_it_works_in_silence(tmp_path: Path, provider: Provider) -> None:  # B05
    provider.play("m", ANTHROPIC.answer("fine"))
    with Sidecar(tmp_path, provider, launcher=("sh", "-c", 'exec "$@" 2>&-', "sh")) as sidecar:
        assert text(sidecar.stream(sidecar.chat("m"))) == "fine"
        standard = {fd: path for fd, path in process_probes.descriptors(sidecar.process.pid).items() if fd <= 2}
        assert standard == dict.fromkeys(range(3), os.devnull)
    assert not sidecar.stderr


STRAY = """
import os, subprocess, sys, warnings

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "httptools":
            sys.meta_path.remove(self)
            print("a print")
            os.write(1, b"a write\\n")
            subprocess.run(["echo", "a child"])
            subprocess.run(["sh", "-c", "read line && echo stolen $line"])
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.warn("a warning")
            sys.__stdout__.write("a buffered write\\n")
            sys.__stdout__.flush()

sys.meta_path.insert(0, Finder())
"""
"""A library that talks, in the moment in which it is imported."""


TALKATIVE = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "httptools":
            for number in range(20_000):
                print(number, "x" * 100)

sys.meta_path.insert(0, Finder())
"""


@process_probes.posix_only
def test_a_host_that_never_reads_stderr_misses_nothing_else(tmp_path: Path, provider: Provider) -> None:  # B06
    (tmp_path / "sitecustomize.py").write_text(TALKATIVE, encoding="ascii")
    env = environment(tmp_path, PYTHONPATH=os.pathsep.join((str(tmp_path), str(ROOT))))
    provider.play("m", ANTHROPIC.answer("fine"))
    with Sidecar(tmp_path, provider, env=env, hears_stderr=False) as sidecar:
        for _ in range(3):
            assert text(sidecar.stream(sidecar.chat("m"))) == "fine"


@process_probes.posix_only
def test_what_libraries_and_children_print_lands_on_stderr(tmp_path: Path, provider: Provider) -> None:  # B07
    (tmp_path / "sitecustomize.py").write_text(STRAY, encoding="ascii")
    env = environment(tmp_path, PYTHONPATH=os.pathsep.join((str(tmp_path), str(ROOT))))
    provider.play("m", ANTHROPIC.answer("fine"))
    with Sidecar(tmp_path, provider, env=env) as sidecar:
        sidecar.allowed.programs += ["a child", "stolen"]
        assert text(sidecar.stream(sidecar.chat("m"))) == "fine"
    for stray in ("a print", "a write", "a child", "a warning", "a buffered write"):
        assert stray in sidecar.stderr.decode()
    assert "stolen" not in sidecar.stderr.decode()


ODD = '\n \r \r\n \u2028 \u2029 \0 \x1b[31m \ufeff \x7f \x85 \x9b \u200b \u202e \t \\ " / \u00e9 \U0001f600 \uffff'


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.wire)
def test_no_character_breaks_a_line(sidecar: Sidecar, provider: Provider, shape: Shape) -> None:  # B09
    lines = sidecar.stream(sidecar.chat(provider.play("m", shape.answer(ODD, *ODD)), shape))
    assert text(lines) == ODD + ODD


def test_streams_side_by_side_are_not_mixed_and_not_torn(sidecar: Sidecar, provider: Provider) -> None:  # B08
    chance = Random(8)
    sidecar.max_growth_bytes *= 4
    sizes = [*(round(10 ** chance.uniform(0, 5)) for _ in range(200)), 1_000_000, 5_000_000]
    answers = {}
    for number, size in enumerate(sizes):
        alphabet = chr(0x4E00 + number)
        answers[f"m{number}"] = [alphabet * (size // 3 + 1), *(alphabet * n for n in range(1, 9))]
    for model, pieces in answers.items():
        provider.play(model, ANTHROPIC.answer(*pieces))
    ids = {model: sidecar.chat(model) for model in answers}
    for model, request_id in ids.items():
        assert text(sidecar.stream(request_id)) == "".join(answers[model])


def test_an_event_of_ten_megabytes_comes_through_whole(sidecar: Sidecar, provider: Provider) -> None:  # B12
    sidecar.max_growth_bytes *= 4
    big = "\u00e9" * 5_000_000
    lines = sidecar.stream(sidecar.chat(provider.play("m", ANTHROPIC.answer("a", big, "b"))))
    assert text(lines) == f"a{big}b"


@contextmanager
def a_file() -> Iterator[tuple[int, Callable[[], bytes]]]:
    """Yield a file and what reads it."""
    with tempfile.TemporaryFile() as file:
        yield file.fileno(), lambda: os.pread(file.fileno(), 65536, 0)


@contextmanager
def a_socket() -> Iterator[tuple[int, Callable[[], bytes]]]:
    """Yield a socket and what reads its other end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield theirs.fileno(), lambda: ours.recv(65536)


@contextmanager
def a_terminal() -> Iterator[tuple[int, Callable[[], bytes]]]:
    """Yield a terminal and what reads it."""
    ours, theirs = os.openpty()
    with suppress(OSError):
        yield theirs, lambda: os.read(ours, 65536)
    os.close(ours)
    os.close(theirs)


@contextmanager
def a_nonblocking_pipe() -> Iterator[tuple[int, Callable[[], bytes]]]:
    """Yield a pipe that its owner has made non-blocking."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    yield theirs, lambda: os.read(ours, 65536)
    os.close(ours)
    os.close(theirs)


@process_probes.posix_only
@pytest.mark.parametrize("kind", [a_file, a_socket, a_terminal, a_nonblocking_pipe])
def test_stdout_may_be_anything_and_is_left_as_it_was(
    tmp_path: Path, kind: Callable[[], AbstractContextManager[tuple[int, Callable[[], bytes]]]]
) -> None:  # B13
    import fcntl

    with kind() as (stdout, read):
        flags = fcntl.fcntl(stdout, fcntl.F_GETFL)
        with Sidecar(tmp_path, stdout=stdout, ready=False) as sidecar:
            sidecar.expects_answers = False
            sidecar.write(PING)
            sidecar.close_stdin()
            sidecar.exit()
        assert read().replace(b"\r\n", b"\n") == b'{"id":"p","success":true,"data":{"pong":true,"in_flight":0}}\n'
        assert fcntl.fcntl(stdout, fcntl.F_GETFL) == flags


def test_every_chunk_is_passed_on_at_once(warm: Sidecar, provider: Provider) -> None:  # B14
    pieces = [f"{number} " for number in range(200)]
    steps = [step for piece in pieces for step in (Pause(0.002), ANTHROPIC.text(piece))]
    provider.play("m", stream([ANTHROPIC.opening, *steps, ANTHROPIC.closing]))
    turns = count()
    medians = []

    def p99() -> float:
        median, late = _delays(warm, provider.call, next(turns))
        medians.append(median)
        return late

    in_time(p99, 0.010)
    assert min(medians) <= 0.002


def _delays(sidecar: Sidecar, call: Callable[[str, int], Call], turn: int) -> tuple[float, float]:
    """Return the median and the 99th percentile of what passes between a chunk's sending and its line."""
    lines = sidecar.stream(sidecar.chat("m"))
    came = [line.at for line in lines if line.data["data"]["type"] == "content"]
    delays = sorted(there - here for here, there in zip(call("m", turn).sent_at[2:], came, strict=False))
    assert len(delays) == 200
    return statistics.median(delays), delays[int(len(delays) * 0.99)]
