"""Azure OpenAI: a resource's key in `api-key`, or an Entra token as bearer.

Source: openai 3.52.0 lib/azure.py, 2026-11. Tokens that Azure's own chain would mint are asked for elsewhere.
"""

from sidecar.auth import Call


async def headers(call: Call) -> dict[str, str]:
    """Return the one header."""
    credential = call.target.credential
    if credential is None:
        return {}
    value = credential.reveal()
    return {"authorization": f"Bearer {value}"} if credential.kind == "token" else {"api-key": value}
