"""What schemes and logins remember for as long as the process lives, each thing in a place of its own."""

from datetime import timedelta

import anyio

from sidecar.auth.token_cache import TokenCache
from sidecar.core.single_flight import SingleFlight


class Memory:
    """One for the process; nothing of a single request is kept here."""

    def __init__(self, single_flight: SingleFlight) -> None:
        self.single_flight = single_flight
        """Runs what several requests need at the same time once."""
        self.tokens = TokenCache(single_flight)
        self.signing_clock = timedelta()
        """How far the clocks of servers that check a signature's time are ahead of this machine's."""
        self.signing_turns = anyio.CapacityLimiter(1)
        """Signing is a matter of microseconds: many requests at once need no thread each."""
        self.renewal_failed_at: dict[str, float] = {}
        """By provider: when its stored login could last not be renewed, on the monotonic clock."""

    def forget_provider(self, provider: str) -> None:
        """Forget what was made of the credentials of *provider*."""
        self.tokens.forget_provider(provider)
        self.renewal_failed_at.pop(provider, None)
