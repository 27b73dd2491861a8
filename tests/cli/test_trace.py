"""`sidecar trace` and `sidecar replay`."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.cli.trace import describe_line, format_entry, read_requests
from sidecar.server.trace import Reader
from tests.support.command_line import CommandLine
from tests.support.environment import environment
from tests.support.fake_services import Services

PING = {"id": 1, "action": "ping"}
CHAT = {
    "id": "c",
    "action": "generate",
    "params": {"model": "replay/text", "messages": [{"role": "user", "content": "Hi"}]},
}


def entry(second: float, line: dict[str, Any], to: str = "sidecar") -> dict[str, Any]:
    time = datetime.fromtimestamp(second, UTC).isoformat()
    return {"time": time, "pid": 1, "to": to, "line": line}


def written(path: Path, *lines: object) -> Path:
    path.write_bytes(b"\n".join(map(msgspec.json.encode, lines)) + b"\n")
    return path


@pytest.mark.parametrize(
    ("to", "line", "text"),
    [
        ("sidecar", {"id": 1, "action": "ping"}, "1 ping"),
        ("sidecar", {"id": "a", "action": "x", "provider": "p", "params": {"b": 1}}, 'a x {"provider":"p","b":1}'),
        ("host", {"id": 1, "success": True, "data": {"pong": True}}, '1 answer {"pong":true}'),
        (
            "host",
            {"id": 1, "success": True, "streaming": True, "seq": 2, "data": {"type": "content", "content": "Hi"}},
            '1 #2 content {"content":"Hi"}',
        ),
        ("host", {"id": None, "success": False, "error": {"code": "a", "message": "B."}}, "- error a: B."),
        ("host", {"event": "warning", "data": {"code": "x"}}, '- event warning {"code":"x"}'),
        ("host", {"id": "\x1b[2J", "success": True, "data": 5}, "␛[2J answer"),
    ],
)
def test_a_line_is_said_in_words(to: Reader, line: dict[str, Any], text: str) -> None:
    assert describe_line(to, line) == text


def test_a_line_that_cannot_be_read_has_its_size() -> None:
    assert format_entry("sidecar", {"unreadable_bytes": 7}, datetime.now(UTC)).endswith(
        "→ 7 bytes that are no object of JSON"
    )


def test_the_requests_of_a_trace_keep_their_pauses_within_reason(tmp_path: Path) -> None:
    path = written(
        tmp_path / "t",
        entry(10, PING),
        entry(10.1, {"id": 1}, "host"),
        entry(10.5, PING),
        entry(99, PING),
        {"event": "x"},
    )
    assert [each.pause_seconds for each in read_requests(path)] == [0, 0.5, 2]


def test_a_credential_that_was_left_out_is_not_sent(tmp_path: Path) -> None:
    request = PING | {"params": {"api_key": "(omitted)", "list": [{"token": "(omitted)", "a": 1}]}}
    (found,) = read_requests(written(tmp_path / "t", entry(1, request), {"action": "shutdown"}))
    assert msgspec.json.decode(found.line)["params"] == {"list": [{"a": 1}]}


@pytest.fixture
def typing(services: Services, tmp_path: Path) -> CommandLine:
    return CommandLine(services, tmp_path)


def test_requests_are_sent_again_and_both_directions_shown(typing: CommandLine, tmp_path: Path) -> None:
    path = written(tmp_path / "requests", PING, CHAT)
    code, out, err = typing.type("replay", str(path))
    assert (code, err) == (0, "")
    lines = [line.split(" ", 3) for line in out.splitlines()]
    assert [line[1:3] for line in lines] == [["→", "1"], ["←", "1"], ["→", "c"], ["←", "c"]]
    assert "A sidecar is a small process" in out


def test_a_replay_of_a_failure_fails(typing: CommandLine, tmp_path: Path) -> None:
    path = written(tmp_path / "requests", PING, {"id": 2, "action": "dance"})
    code, out, _ = typing.type("replay", str(path), "--json")
    assert code == 1
    assert [json.loads(line)["success"] for line in out.splitlines()] == [True, False]


@pytest.mark.parametrize("content", [b"", b"no json\n", b'{"event":"dropped"}\n'])
def test_a_file_without_requests_is_refused(typing: CommandLine, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    code, _, err = typing.type("replay", str(tmp_path / "t"))
    assert code == 2
    assert "holds no request" in err


def test_a_file_that_is_not_there_is_named(typing: CommandLine) -> None:
    code, _, err = typing.type("replay", "nowhere")
    assert code == 2
    assert "'nowhere' does not exist" in err


@pytest.mark.spawns
def test_a_traced_process_serves_as_usual_and_says_what_passes(tmp_path: Path) -> None:
    secret = CHAT | {"params": CHAT["params"] | {"api_key": "CANARY-key"}}  # type: ignore[operator]
    requests = b"".join(msgspec.json.encode(each) + b"\n" for each in (PING, secret))
    command = [sys.executable, "-m", "sidecar", "--log-level", "off", "trace"]
    run = subprocess.run(
        command, input=requests, capture_output=True, check=True, timeout=20, env=environment(tmp_path)
    )
    assert [json.loads(line)["id"] for line in run.stdout.splitlines()] == [1, "c"]
    shown = [line.split(" ", 3)[1:] for line in run.stderr.decode().splitlines()]
    assert [" ".join(each[:2]) for each in shown] == ["→ 1", "← 1", "→ c", "← c"]
    assert b"CANARY" not in run.stderr
