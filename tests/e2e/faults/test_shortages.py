"""What has run out: a disk is full, memory is short, a library is not there. What was asked has an end, and goes on.

The system refuses to let a file of the process grow beyond a size (`RLIMIT_FSIZE`, errno EFBIG), which a write meets
in its middle, as it meets the end of a disk; and to give it more memory than it has (`RLIMIT_AS`).
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support import process_probes
from tests.support.fake_provider import STALL, WAIT_SECONDS, Provider
from tests.support.fake_services import Services
from tests.support.logins import (
    KEY,
    TOKEN,
    TOKENS,
    authenticate,
    chats,
    codes,
    file_of,
    key_of_chat,
    log_in,
    log_in_and_expire,
    logged_off_process,
    seed,
    status,
    stored,
    warnings,
    with_life,
)
from tests.support.process import ROOT, Sidecar, environment, text
from tests.support.reply_scripts import ANTHROPIC

pytestmark = process_probes.linux_only

MOST_BYTES = 64 * 1024
"""What a file may grow to. The harness's own notes of the process are smaller."""


@contextmanager
def limited(sidecar: Sidecar, what: str, most_bytes: int) -> Iterator[None]:
    """Let the process have no more of something than so many bytes."""
    import resource

    pid, limit = sidecar.process.pid, getattr(resource, what)
    before = resource.prlimit(pid, limit, (most_bytes, resource.RLIM_INFINITY))
    yield
    resource.prlimit(pid, limit, before)


def full_disk(sidecar: Sidecar, most_bytes: int = MOST_BYTES) -> AbstractContextManager[None]:
    """Let no file of the process grow beyond so many bytes."""
    return limited(sidecar, "RLIMIT_FSIZE", most_bytes)


def pad(folder: Path) -> bytes:
    """Make the stored file one that cannot be written anew on a full disk, and return it."""
    document = json.loads(file_of(folder).read_bytes())
    entry = {"kind": "key", "method": "api_key", "home": "built-in", "saved_at": "2026-11-20T12:00:00+00:00"}
    document["entries"]["groq"] = entry | {"secrets": {"value": "gsk_" + "x" * 2 * MOST_BYTES}}
    file_of(folder).write_bytes(json.dumps(document).encode())
    return file_of(folder).read_bytes()


def left_over(folder: Path) -> set[str]:
    """Return what else lies beside the stored file and its lock."""
    return {path.name for path in (folder / "store").iterdir()} - {"credentials.json", "credentials.lock"}


def test_a_login_on_a_full_disk_lives_as_long_as_the_process(services: Services, tmp_path: Path) -> None:  # C13
    seed(tmp_path)
    before = pad(tmp_path)
    with logged_off_process(services, tmp_path) as sidecar:
        with full_disk(sidecar):
            done = log_in(sidecar, "mistral", api_key=f"{KEY}-new")
            assert (done["storage"], warnings(done)) == ("memory", ["store_unavailable"])
            assert status(sidecar, "mistral")["storage"] == "memory"
            assert key_of_chat(sidecar, services) == KEY
            assert file_of(tmp_path).read_bytes() == before
            assert not left_over(tmp_path)
        # And there is room again.
        assert log_in(sidecar, "mistral", api_key=f"{KEY}-new")["storage"] == "file"
        assert warnings(status(sidecar, "mistral")) == []
    assert set(stored(tmp_path)) == {"openai", "groq", "mistral"}


def test_a_logout_on_a_full_disk_says_that_it_failed(services: Services, tmp_path: Path) -> None:  # C13
    seed(tmp_path)
    before = pad(tmp_path)
    with logged_off_process(services, tmp_path) as sidecar, full_disk(sidecar):
        error = authenticate(sidecar, "logout", "openai")["error"]
        assert (error["code"], error["reason"]) == ("auth_failed", "store")
        assert key_of_chat(sidecar, services) == KEY
    assert file_of(tmp_path).read_bytes() == before
    assert not left_over(tmp_path)


def test_a_login_that_is_renewed_on_a_full_disk_is_not_lost(services: Services, tmp_path: Path) -> None:  # C13
    log_in_and_expire(services, tmp_path, logged_off_process)
    before = pad(tmp_path)
    # What it is renewed for is good for one renewal.
    services.answer(TOKENS, with_life(28_800, 2))
    with logged_off_process(services, tmp_path) as sidecar, full_disk(sidecar):
        assert codes(sidecar, chats(sidecar, 5)) == [None] * 5
        assert codes(sidecar, chats(sidecar, 1)) == [None]
        found = status(sidecar, "copilot")
        assert (found["storage"], warnings(found)) == ("memory", ["store_unavailable"])
        assert file_of(tmp_path).read_bytes() == before
    assert len(services.asked(TOKENS)) == 1
    assert TOKEN.encode() in before
    assert not left_over(tmp_path)


def test_a_ledger_on_a_full_disk_is_told_and_delays_no_chat(tmp_path: Path, provider: Provider) -> None:  # C13
    provider.play("m", ANTHROPIC.answer("fine"))
    with Sidecar(tmp_path, provider) as sidecar:
        sidecar.ask("initialize", {"events": ["warnings"]})
        with full_disk(sidecar, 20 * 1024):
            for _ in range(3):
                assert text(sidecar.stream(sidecar.chat("m"))) == "fine"
                assert sidecar.ask("usage_report")["error"]["reason"] == "ledger_unusable"
            assert [each["data"]["code"] for each in sidecar.events] == ["ledger_unusable"]
        # What could not be written is not forgotten.
        assert sidecar.ask("usage_report")["data"]["totals"]["requests"] == 3


def test_a_recording_on_a_full_disk_is_given_up_and_the_chat_is_not(tmp_path: Path, provider: Provider) -> None:  # C13
    long = "x" * 2 * MOST_BYTES
    provider.play("m", ANTHROPIC.answer(long))
    folder = tmp_path / "recorded"
    arguments = ["--record", str(folder)]
    with Sidecar(tmp_path, provider, arguments=arguments, env=environment(tmp_path)) as sidecar, full_disk(sidecar):
        assert text(sidecar.stream(sidecar.chat("m"))) == long
        assert text(sidecar.stream(sidecar.chat(provider.play("small", ANTHROPIC.answer("fine"))))) == "fine"
        # It is written after the answer.
        deadline = time.monotonic() + WAIT_SECONDS
        while b"record.failed" not in sidecar.stderr:
            assert time.monotonic() < deadline
            sidecar.ping()
    assert [path for path in folder.rglob("call.json") if "small" in str(path)]


LARGE = 14_000_000

MIB = 1024 * 1024


# What is left of memory: nothing at all, nothing for such a text, too little for a copy of it, too little for a second.
@pytest.mark.parametrize("spare_bytes", [0, 8 * MIB, 20 * MIB, 28 * MIB])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_request_that_memory_is_too_short_for_ends_alone(
    tmp_path: Path, provider: Provider, loop: str, spare_bytes: int
) -> None:  # C15
    gate = provider.gate()
    ending = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ANTHROPIC.closing), ANTHROPIC.closing)
    provider.play("m", ANTHROPIC.answer("fine"))
    provider.play("going", [*ANTHROPIC.begun("so far"), gate, ending])
    provider.play("long", ANTHROPIC.answer("x" * LARGE))
    # A thread's own arena reserves 64 MiB of addresses, in which a long text has room whatever the limit.
    env = environment(tmp_path, SIDECAR_LOOP=loop, MALLOC_ARENA_MAX="1")
    with Sidecar(tmp_path, provider, env=env) as sidecar:
        sidecar.max_growth_bytes *= 2
        assert text(sidecar.stream(sidecar.chat("m"))) == "fine"
        going = sidecar.chat("going")
        sidecar.chunk(going, 1)
        with limited(sidecar, "RLIMIT_AS", process_probes.address_space_bytes(sidecar.process.pid) + spare_bytes):
            long_answer = sidecar.reply(sidecar.chat("long"))["error"]
            params = sidecar.params("m") | {"messages": [{"role": "user", "content": "y" * LARGE}]}
            long_question = sidecar.reply(sidecar.send("stream_chat", params, provider="anthropic"))["error"]
        for error in (long_answer, long_question):
            assert (error["code"], error["reason"]) == ("internal_error", "no_memory")
        gate.open()
        # Who else is short of it at that moment is chance.
        assert sidecar.stream(going)[-1].code in (None, "internal_error")
        assert text(sidecar.stream(sidecar.chat("m"))) == "fine"


BREAKS = """
import os, select
_poll = select.poll
def poll():
    if os.path.exists(os.environ["TEST_BREAKS"]):
        raise MemoryError
    return _poll()
select.poll = poll
"""
"""A failure of the process itself, and of none of its requests."""


def test_a_process_that_fails_gives_every_request_its_end(tmp_path: Path, provider: Provider) -> None:  # C15
    (tmp_path / "sitecustomize.py").write_text(BREAKS, encoding="ascii")
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    provider.play("m", ANTHROPIC.begun("so far", STALL))
    provider.play("silent", [STALL])
    env = environment(tmp_path, PYTHONPATH=path, TEST_BREAKS=str(tmp_path / "broken"))
    with Sidecar(tmp_path, provider, env=env) as sidecar:
        sidecar.expected_exit = 1
        ids = [sidecar.chat(name) for name in ("m", "silent", "m")]
        sidecar.chunk(ids[0], 1)
        sidecar.chunk(ids[2], 1)
        provider.call("silent")
        (tmp_path / "broken").touch()
        errors = [sidecar.reply(each)["error"] for each in ids]
        sidecar.exit()
        assert [error["code"] for error in errors] == ["internal_error"] * 3
        assert [error["partial"] for error in errors] == [True, False, True]
        said = [json.loads(line) for line in sidecar.stderr.splitlines()]
        assert ("crashed", "MemoryError") in [(line["event"], line.get("type")) for line in said]


def test_a_python_without_sqlite_has_no_ledger_and_chats(tmp_path: Path, provider: Provider) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['_sqlite3'] = None\n", encoding="ascii")
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    provider.play("m", ANTHROPIC.answer("fine"))
    with Sidecar(tmp_path, provider, env=environment(tmp_path, PYTHONPATH=path)) as sidecar:
        for _ in range(2):
            assert text(sidecar.stream(sidecar.chat("m"))) == "fine"
            error = sidecar.ask("usage_report")["error"]
            assert (error["reason"], error["hint"]) == ("ledger_unusable", "This Python comes without SQLite.")
