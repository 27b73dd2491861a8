"""What passes between a wire of completions and its callers. [pure]"""

from typing import Any, NamedTuple, Protocol

import msgspec

from protocol.messages import Usage
from sidecar.codecs.frame import Frame
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest
from sidecar.wires.shared.types import Route


class File(NamedTuple):
    """A part of another file, for APIs that have a field for such."""

    path: str
    text: str


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is asked to complete."""

    prefix: str
    """The text before the cursor or, if `is_raw`, all of the prompt with the tokens of the model's family."""
    suffix: str = ""
    is_raw: bool = False
    """The server must not write a prompt of its own around it."""
    files: tuple[File, ...] = ()
    path: str | None = None
    language: str | None = None
    max_tokens: int
    n: int = 1
    temperature: float | None = None
    seed: int | None = None
    stops: tuple[str, ...] = ()
    is_one_line: bool = False
    """Nothing after the line of the cursor is wanted. The stops say so too."""
    budget_ms: int | None = None
    """How long the answer may take, for servers that can end it themselves."""
    provider_options: dict[str, Any] = {}


class Piece(NamedTuple):
    """Some text of one item."""

    item: int
    text: str


class Reading(msgspec.Struct, kw_only=True):
    """What one event says, or one document."""

    pieces: list[Piece] = []
    reasons: dict[int, str | None] = {}
    """The items that have ended, and why in the provider's own word."""
    usage: Usage | None = None
    model: str | None = None
    request_id: str | None = None
    is_end: bool = False
    """The provider says that nothing follows."""


class CompletionWire(Protocol):
    """The shape of a wire of completions."""

    CODEC: str
    PATH: str
    """The usual path, below the base address."""
    TAKES_FILES: bool
    """Whether it has a field for other files."""
    TAKES_ITEMS: bool
    """Whether it has a field for the number of items."""

    def encode(self, prompt: Prompt, route: Route) -> HttpRequest:
        """Return the request, which asks for a stream."""

    def read(self, frame: Frame) -> Reading:
        """Return what an event of the stream says. A reply in one document is read as one event.

        Raises: SidecarError for an error, or for something that cannot be read.
        """

    def classify(self, status: int, headers: dict[str, str], body: bytes) -> SidecarError:
        """Return the error of an HTTP error reply."""
