"""The HTTP client and the event loop that the user chooses, and whether a proxy is configured."""

import os
import sys

import pytest

from sidecar.config import loader, proxies
from sidecar.config.values import ConfigError


def test_the_http_client_is_the_one_that_the_user_names() -> None:
    assert loader.load(env={}).http_client == "direct"
    assert loader.load(env={"SIDECAR_HTTP": "httpx2"}).http_client == "httpx2"
    with pytest.raises(ConfigError) as caught:
        loader.load(env={"SIDECAR_HTTP": "curl"})
    assert str(caught.value) == "SIDECAR_HTTP must be one of direct, httpx2"


def test_the_event_loop_is_the_one_that_the_user_names() -> None:
    assert loader.load(env={"SIDECAR_LOOP": ""}).event_loop == "uvloop"
    assert loader.load(env={"SIDECAR_LOOP": "asyncio"}).event_loop == "asyncio"
    with pytest.raises(ConfigError) as caught:
        loader.load(env={"SIDECAR_LOOP": "trio"})
    assert str(caught.value) == "SIDECAR_LOOP must be one of uvloop, asyncio"


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("HTTPS_PROXY", "http://proxy.example:3128", True),
        ("http_proxy", "proxy.example:3128", True),
        ("All_Proxy", "socks5://127.0.0.1:1080", True),
        ("HTTPS_PROXY", "", False),
        ("NO_PROXY", "*", False),
        ("FTP_PROXY", "http://proxy.example:3128", False),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system's settings count too")
def test_whether_a_proxy_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, named: bool) -> None:
    for other in list(os.environ):
        if other.lower().endswith("_proxy"):
            monkeypatch.delenv(other)
    monkeypatch.setenv(name, value)
    assert proxies.find_any() is named
