"""What `--record` writes: nothing that authorizes, and nothing that another user can read."""

import base64
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from protocol.requests import Chat
from sidecar.core.http import HttpRequest, Response
from sidecar.upstream.recorder import record_response
from sidecar.wires.shared.types import Route

KEY = "sk-CANARY/0123+456=789"
TOOL_TOKEN = "CANARY-of-a-server-of-tools"


async def record(folder: Path, echoed: bytes) -> dict[str, str]:
    """Return the files of one exchange in which the provider repeats *echoed*, by their names."""
    tools = [
        {
            "url": "https://tools.test",
            "authorization_token": TOOL_TOKEN,
            "headers": {"Authorization": f"Bearer {TOOL_TOKEN}"},
        }
    ]
    options: dict[str, Any] = {"provider_options": {"anthropic": {"mcp_servers": tools}}}
    chat = msgspec.convert({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "options": options}, Chat)

    async def body() -> AsyncIterator[bytes]:
        yield b"data: " + echoed[:9]
        yield echoed[9:]

    request = HttpRequest(
        method="POST", url="https://api.test/v1?key=x", headers={"content-type": "x"}, body=msgspec.json.encode(options)
    )
    reply = Response(200, {"x-request-id": echoed.decode(), "content-type": "text/event-stream"}, body())
    route = Route(provider="p", wire="anthropic_messages", model="m", base_url="https://api.test")
    recorded = record_response(str(folder), chat, route, request, reply, [KEY])
    assert b"".join([data async for data in recorded.body]) == b"data: " + echoed
    return _read(folder)


def _read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "echoed",
    [KEY.encode(), base64.b64encode(KEY.encode()), quote(KEY, safe="").encode(), b"Bearer " + TOOL_TOKEN.encode()],
    ids=["plain", "base64", "percent", "of tools"],
)
async def test_no_credential_is_recorded_even_if_the_provider_repeats_it(tmp_path: Path, echoed: bytes) -> None:
    files = await record(tmp_path / "recorded", echoed)
    assert set(files) == {"call.json", "request.json", "head.json", "response.bin"}
    assert "https://tools.test" in files["request.json"]
    for name, text in files.items():
        assert "CANARY" not in text, name
        assert echoed.decode() not in text, name
        assert name.startswith(("call", "request")) or "[redacted]" in text


@pytest.mark.skipif(sys.platform == "win32", reason="there, a home is for its user alone")
async def test_a_recording_is_the_users_alone(tmp_path: Path) -> None:
    await record(tmp_path / "recorded", b"anything")
    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "recorded").rglob("*")}
    assert modes == {True: 0o700, False: 0o600}
    assert stat.S_IMODE((tmp_path / "recorded").stat().st_mode) == 0o700
