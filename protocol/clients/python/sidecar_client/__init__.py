"""A client of the sidecar, for asyncio: it needs Python 3.11 and nothing else. README.md shows its use."""

from sidecar_client.client import Exit, Options, Sidecar
from sidecar_client.requests import Call, RequestOptions, SidecarError

__all__ = ["Call", "Exit", "Options", "RequestOptions", "Sidecar", "SidecarError"]
