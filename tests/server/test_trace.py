"""The file with every line in both directions."""

import json
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.config import loader
from sidecar.config.values import ConfigError
from sidecar.server import trace
from sidecar.server.framing import TooLong
from sidecar.server.trace import MAX_TEXT_CHARS, Trace, make_file_writer
from tests.support.lines import CANARY, Object
from tests.support.listening_provider import ListeningProvider
from tests.support.process import Sidecar
from tests.support.reply_scripts import ANTHROPIC


def entries(path: Path) -> list[Object]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def traced(path: Path, *lines: object) -> list[Object]:
    """Return the entries of *lines* to the sidecar."""
    kept = Trace(make_file_writer(str(path)))
    for line in lines:
        kept.note("sidecar", line if isinstance(line, bytes) else msgspec.json.encode(line))
    kept.write()
    return entries(path)


def test_credentials_are_cut_wherever_they_stand(tmp_path: Path) -> None:
    options = {"provider_options": {"mcp_servers": [{"authorization_token": CANARY, "headers": {"X-Api-Key": CANARY}}]}}
    params = {"api_key": CANARY, "settings": {"access_token": CANARY, "region": "eu"}, "options": options}
    image = {"type": "image", "url": f"https://x.test/cat.png?signature={CANARY}"}
    request = {"id": 1, "params": params | {"max_tokens": 5, "messages": [{"role": "user", "content": [image]}]}}
    (entry,) = traced(tmp_path / "trace", request)
    assert CANARY not in (tmp_path / "trace").read_text()
    kept = entry["line"]["params"]
    assert (kept["settings"]["region"], kept["max_tokens"]) == ("eu", 5)
    assert kept["messages"][0]["content"][0]["url"] == "https://x.test/cat.png"


def test_a_line_that_cannot_be_read_cannot_be_cut_and_is_not_shown(tmp_path: Path) -> None:
    lines = (b'{"api_key":"%s"' % CANARY.encode(), b'"%s"' % CANARY.encode(), b"[" * 300)
    found = traced(tmp_path / "trace", *lines)
    assert [entry["unreadable_bytes"] for entry in found] == [len(line) for line in lines]
    assert CANARY not in (tmp_path / "trace").read_text()


def test_a_line_that_was_too_long_is_noted_too(tmp_path: Path) -> None:
    kept = Trace(make_file_writer(str(tmp_path / "trace")))
    kept.note("sidecar", TooLong(head=b'{"id":1,"x":"'))
    kept.write()
    assert entries(tmp_path / "trace")[0]["unreadable_bytes"] == 13


def test_a_long_text_is_shortened(tmp_path: Path) -> None:
    (entry,) = traced(tmp_path / "trace", {"content": "x" * 100_000})
    assert entry["line"]["content"] == "x" * MAX_TEXT_CHARS + "… (100000 characters)"


def test_only_the_user_can_read_it_even_if_it_was_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "trace"
    traced(path, {"id": 1})
    path.chmod(0o644)
    assert len(traced(path, {"id": 2})) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_its_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MAX_FILE_BYTES", 1000)
    kept = Trace(make_file_writer(str(tmp_path / "trace")))
    for number in range(200):
        kept.note("host", b'{"id":%d}\n' % number)
        kept.write()
    assert {path.name for path in tmp_path.iterdir()} <= {"trace", "trace.1"}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3000
    assert [entry["line"]["id"] for entry in entries(tmp_path / "trace.1")][-1] >= 180


def test_what_waits_is_bounded_and_what_is_dropped_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MAX_WAITING_BYTES", 30)
    found = traced(tmp_path / "trace", *({"id": number} for number in range(10)))
    assert [entry["line"]["id"] for entry in found[:-1]] == [0, 1, 2]
    assert (found[-1]["event"], found[-1]["count"]) == ("dropped", 7)


def test_a_link_is_not_followed_and_nothing_else_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "target").write_text("")
    (tmp_path / "trace").symlink_to(tmp_path / "target")
    kept = Trace(make_file_writer(str(tmp_path / "trace")))
    for _ in range(2):
        kept.note("host", b'{"id":1}\n')
        kept.write()
    assert (tmp_path / "target").read_text() == ""
    assert capsys.readouterr().err.count("trace.unusable") == 1


def test_the_environment_names_it_by_an_absolute_path() -> None:
    assert loader.load(env={"SIDECAR_TRACE": "/tmp/t"}).trace_path == "/tmp/t"  # noqa: S108 - a name
    assert loader.load(env={}).trace_path is None
    assert loader.load(env={"SIDECAR_TRACE": "/tmp/t"}, trace_path="t").trace_path == "t"  # noqa: S108 - a name
    with pytest.raises(ConfigError, match="SIDECAR_TRACE must be an absolute path"):
        loader.load(env={"SIDECAR_TRACE": "t"})


@pytest.mark.spawns
def test_a_process_writes_both_directions_in_order(tmp_path: Path) -> None:
    path = tmp_path / "trace.ndjson"
    (tmp_path / "home").mkdir()
    arguments = ["--trace", str(path)]
    with ListeningProvider() as provider, Sidecar(tmp_path / "home", provider, arguments=arguments) as sidecar:
        lines = sidecar.stream(sidecar.chat(provider.play("m", ANTHROPIC.answer("Hello"))))
    assert lines[-1].data["success"]
    found: list[Any] = entries(path)
    asked = next(entry for entry in found if entry.get("line", {}).get("action") == "stream_chat")
    assert (asked["to"], asked["line"]["params"]["api_key"]) == ("sidecar", "(omitted)")
    after = [entry["line"] for entry in found[found.index(asked) :] if entry["to"] == "host"]
    assert [each for each in after if each["id"] == asked["line"]["id"]] == [line.data for line in lines]
    assert [entry["time"] for entry in found] == sorted(entry["time"] for entry in found)
