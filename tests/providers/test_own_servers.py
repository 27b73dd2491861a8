"""A server of the user's own, of unknown make: what it is sent, and what is said when it is not there."""

import json
import socket
from typing import Any

import platformdirs
import pytest

from sidecar.config import loader
from sidecar.core import platforms
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.upstream.http_client import HttpClient
from tests.support import app


@pytest.mark.parametrize("wire", ["openai_chat", "anthropic_messages"])
async def test_it_is_sent_the_limit_that_all_know_and_what_its_model_may_take(wire: str) -> None:
    lab = {"wire": wire, "base_url": "http://127.0.0.1:8080/v1"}
    params: dict[str, Any] = {"model": "no-such-model", "messages": [{"role": "user", "content": "Hi"}]}
    params["options"] = {"max_tokens": 5, "temperature": 0.5, "top_p": 0.9}
    async with app.running(providers={"lab": lab}) as host:
        host.http.answer_with({"error": {"message": "No."}}, 400)
        error = (await host.ask("generate", params, provider="lab"))["error"]
        (asked,) = host.http.asked
    body = json.loads(asked.request.body)
    assert error["code"] == "invalid_request"
    assert (body["max_tokens"], body["temperature"], body["top_p"]) == (5, 0.5, 0.9)
    assert "max_completion_tokens" not in body


async def test_where_nothing_listens_is_told_with_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = HttpClient()
    request = HttpRequest(method="GET", url=f"http://127.0.0.1:{port}/v1/models?key=x", headers={})
    with pytest.raises(SidecarError) as refused:
        async with client.send(request, {}, HttpTimeouts()):
            pass
    await client.aclose()
    body = refused.value.body
    assert (body.code, body.reason) == ("network_error", "refused")
    assert body.hint == f"Nothing listens at http://127.0.0.1:{port}: start the server, or check `base_url`."


def test_a_user_whom_the_system_does_not_know_has_no_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> str:
        # As `Path.home` does in a container that runs as any number.
        raise RuntimeError("Could not determine home directory.")

    for kind in ("config", "data", "cache"):
        monkeypatch.setattr(platformdirs, f"user_{kind}_dir", fail)
        monkeypatch.delenv(f"XDG_{kind.upper()}_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    for follows in (True, False):
        monkeypatch.setattr(platforms, "FOLLOWS_XDG", follows)
        config = loader.load(path=None, env={})
        assert not any((config.store_dir, config.cache_dir, config.ledger_path))
