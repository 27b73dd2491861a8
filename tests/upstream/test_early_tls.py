"""The TLS context of a first chat is begun before anything else of the chat, and only if it will be needed."""

import os
import ssl
from typing import Any

import anyio
import pytest

from sidecar.config.values import Config
from sidecar.core import event_loop
from sidecar.core.event_loop import Tasks
from sidecar.http import dial
from sidecar.server.app import App
from sidecar.server.write_queue import WriteQueue
from sidecar.upstream import early_tls
from tests.support.fake_provider import WAIT_SECONDS


class Contexts:
    """Counts the contexts that are made."""

    def __init__(self) -> None:
        self.begun = 0
        self.made = anyio.Event()
        self._call_in_loop = event_loop.make_thread_caller()

    def make(self) -> ssl.SSLContext:
        """Stand for `dial.make_tls_context`, in a thread."""
        self.begun += 1
        self._call_in_loop(self.made.set)
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture
async def contexts(monkeypatch: pytest.MonkeyPatch) -> Contexts:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    counted = Contexts()
    monkeypatch.setattr(dial, "make_tls_context", counted.make)
    return counted


OWN: dict[str, dict[str, Any]] = {"mine": {"base_url": "http://127.0.0.1:1"}, "openai": {"base_url": "http://[::1]:1"}}


@pytest.mark.parametrize(
    ("tables", "provider", "base_url", "begins"),
    [
        ({}, "openai", None, True),
        ({}, "openai", "http://127.0.0.1:1", False),
        ({}, None, "HTTPS://lab.example", True),
        ({}, None, None, False),
        ({}, "nobody", None, False),
        ({}, "replay", None, False),
        (OWN, "openai", None, False),
        (OWN, "mine", None, False),
        (OWN, "mine", "https://lab.example", True),
    ],
)
async def test_it_is_begun_for_an_address_that_needs_it(
    contexts: Contexts, tables: dict[str, dict[str, Any]], provider: str | None, base_url: str | None, *, begins: bool
) -> None:
    early_tls.make_client(Config(path="", providers=tables), provider, base_url)
    with anyio.move_on_after(WAIT_SECONDS if begins else 0):
        await contexts.made.wait()
    assert contexts.begun == begins


async def test_it_is_not_begun_where_a_proxy_may_be_needed(contexts: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    early_tls.make_client(Config(path=""), "openai", None)
    await anyio.lowlevel.checkpoint()
    assert contexts.begun == 0


async def test_the_first_chat_begins_it_and_its_client_stays(contexts: Contexts) -> None:
    app = App(Config(path=""), WriteQueue(lambda *_: True, event_loop.call_soon), Tasks(lambda _: None))
    for _ in range(2):
        app.prepare_tls("openai", None)
    with anyio.fail_after(WAIT_SECONDS):
        await contexts.made.wait()
    client = app.upstream.http
    app.prepare_tls("openai", None)
    assert app.upstream.http is client
    assert contexts.begun == 1
