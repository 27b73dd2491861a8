"""What passes between a wire for vectors and its callers. [pure]"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

from protocol.messages import Usage
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest
from sidecar.wires.shared.types import Route


class EmbedQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What one request asks: a vector for each text."""

    texts: list[str]
    fields: dict[str, Any] = {}
    """What the request has beside the texts and the model, by the provider's own names."""


class FoundVector(NamedTuple):
    """One vector in a reply."""

    raw: msgspec.Raw | None
    """Its JSON as the provider wrote it: a list of numbers, or a string. None: there is null, or nothing."""
    number: int | None = None
    """The number of its text. None: the reply does not say, and the order is that of the texts."""


class EmbedReply(msgspec.Struct, frozen=True, kw_only=True):
    """What one reply says."""

    found: list[FoundVector]
    """In the order of the reply."""
    usage: Usage | None = None
    """None: the document does not say."""
    cost_usd: str | None = None
    """What the provider says that it cost."""
    truncated: tuple[int, ...] = ()
    """The numbers of the texts that the provider says it has cut."""
    model: str | None = None
    """The model that answered, as the provider names it."""


class EmbeddingWire(Protocol):
    """The shape of a module here."""

    def encode(self, question: EmbedQuestion, route: Route) -> HttpRequest:
        """Return the request; `route.path` is the path, None for the wire's own."""

    def decode(self, body: bytes) -> EmbedReply:
        """Return what the document of a reply of status 200 says."""

    def classify(self, status: int, headers: dict[str, str], body: bytes) -> SidecarError:
        """Return the error of an HTTP error reply."""


def read_header_usage(headers: Mapping[str, str], name: str) -> Usage | None:
    """Return the tokens that the header *name* of a reply reports, None if it does not."""
    count = headers.get(name, "")
    return make_usage(int(count)) if count.isascii() and count.isdigit() and len(count) < 16 else None


def make_usage(input_tokens: int | None) -> Usage | None:
    """Return the usage of a question with *input_tokens*, None if that is not known."""
    return None if input_tokens is None else Usage(input_tokens=input_tokens, output_tokens=0)
