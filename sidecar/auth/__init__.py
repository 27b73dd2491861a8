"""Credentials → headers: one module for each scheme, found by name and imported on first use.

A module offers `async headers(target, request) -> dict[str, str]`; it may wait for a refresh.
"""

import importlib

from sidecar.resolve import Target
from sidecar.wires.types import HttpRequest


async def headers(target: Target, request: HttpRequest) -> dict[str, str]:
    """Return the headers that authorize *request* at *target*."""
    if target.credential is None:
        return {}
    scheme = importlib.import_module(f"sidecar.auth.{target.row.auth}")
    made: dict[str, str] = await scheme.headers(target, request)
    return made
