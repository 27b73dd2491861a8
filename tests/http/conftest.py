"""Connections are made of what event loops offer: each test of them runs in each loop."""

from tests.support.loops import anyio_backend

__all__ = ["anyio_backend"]
