"""A plain key in one header: `Authorization: Bearer …`, or the header that the provider's table names."""

from sidecar.auth.authorize import Call


async def headers(call: Call) -> dict[str, str]:
    """Return the one header, or none for a provider that needs no key."""
    credential = call.target.credential
    if credential is None:
        return {}
    name = "authorization" if credential.kind == "token" else call.target.row.auth.header
    value = credential.reveal()
    return {name: f"Bearer {value}" if name == "authorization" else value}
