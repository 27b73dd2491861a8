"""A plain key in one header: `Authorization: Bearer …`, or the header that the provider's table names."""

from sidecar.resolve import Target
from sidecar.wires.types import HttpRequest


async def headers(target: Target, request: HttpRequest) -> dict[str, str]:  # noqa: ARG001 - the shape of a scheme
    """Return the one header."""
    if target.credential is None:
        return {}
    name = target.row.auth_header
    value = target.credential.reveal()
    return {name: f"Bearer {value}" if name == "authorization" else value}
