"""What schemes remember, and what a logout forgets of it."""

from datetime import timedelta

from sidecar.auth.memory import Memory
from sidecar.auth.token_cache import Key, Minted, Terms


async def mint() -> Minted[str]:
    return Minted("token", None)


async def test_a_logout_forgets_one_provider_and_no_other(memory: Memory) -> None:
    keys = [Key("copilot", provider) for provider in ("copilot", "mylab")]
    for key in keys:
        await memory.tokens.get(key, mint, Terms())
        memory.renewal_failed_at[key.provider] = 1.0
    memory.signing_clock = timedelta(minutes=10)
    memory.forget_provider("copilot")
    memory.forget_provider("nobody")
    assert [memory.tokens.peek(key) for key in keys] == [None, "token"]
    assert memory.renewal_failed_at == {"mylab": 1.0}
    # The clock is this machine's, whoever is logged in.
    assert memory.signing_clock == timedelta(minutes=10)
