"""How large one answer may be: without a bound, a provider that never ends fills the memory. [pure]"""

from sidecar.core.errors import SidecarError

MAX_ANSWER_CHARS = 64 * 1024 * 1024
"""Characters of text, reasoning and arguments: some hundred times what the longest answers have."""

MAX_ANSWER_PARTS = 10_000
"""Parts of a message, tool calls among them."""

MAX_ANSWER_CITATIONS = 10_000

MAX_REPLY_BYTES = 512 * 1024 * 1024
"""Bytes of one reply, which also bounds what is kept beside the text: states and opaque blocks."""


class AnswerSize:
    """What has come of one answer so far. Its methods raise `provider_error` once that is too much."""

    __slots__ = ("_citations", "_parts", "chars")

    def __init__(self) -> None:
        self.chars = 0
        """The characters so far."""
        self._citations = 0
        self._parts = 0

    def add_chars(self, chars: int) -> None:
        """Count *chars* of text, reasoning or arguments."""
        self.chars += chars
        if self.chars > MAX_ANSWER_CHARS:
            raise make_too_large_error(f"more than {MAX_ANSWER_CHARS} characters")

    def add_part(self) -> None:
        """Count one part or tool call."""
        self._parts += 1
        if self._parts > MAX_ANSWER_PARTS:
            raise make_too_large_error(f"more than {MAX_ANSWER_PARTS} parts")

    def add_citation(self) -> None:
        """Count one citation."""
        self._citations += 1
        if self._citations > MAX_ANSWER_CITATIONS:
            raise make_too_large_error(f"more than {MAX_ANSWER_CITATIONS} citations")


def make_too_large_error(what: str) -> SidecarError:
    """Return the error for an answer with *what*."""
    return SidecarError("provider_error", f"The provider's answer has {what}.", reason="event_too_large")
