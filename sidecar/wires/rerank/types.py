"""What passes between a wire of reranks and its caller. [pure]"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest
from sidecar.wires.shared.types import Route


class RerankFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a request, each with the usual name as its default; empty: there is none."""

    model: str = "model"
    """Default: `model`. Empty: the address names the model, or the server has only one."""
    documents: str = "documents"
    """Default: `documents`."""
    top: str = "top_n"
    """How many results are wanted. Default: `top_n`. Empty: the reply has all of them."""
    fixed: dict[str, Any] = {}
    """Fields with the same value in every request."""


class RerankQuestion(NamedTuple):
    """What is asked."""

    query: str
    documents: list[str]
    top: int | None = None
    """How many results are wanted, at most the number of documents; None: all."""

    @property
    def wanted(self) -> int:
        """How many results must come."""
        return len(self.documents) if self.top is None else self.top


class Score(msgspec.Struct, frozen=True):
    """One document of a ranking."""

    index: int
    """Its place among the documents."""
    score: msgspec.Raw
    """A finite number, in the digits of the provider."""


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """The reply of a provider."""

    scores: list[Score]
    """The best first, no document twice."""
    input_tokens: int | None = None
    search_units: int | None = None
    cost_usd: str | None = None
    """What the provider says the request cost, as a decimal string."""
    model: str | None = None
    """The model that answered, as the provider names it."""


class Encode(Protocol):
    """The shape of an encoder."""

    def __call__(self, question: RerankQuestion, route: Route, fields: RerankFields) -> HttpRequest:
        """Return the request that asks *question* along *route*, whose path is known."""


class RerankWire(NamedTuple):
    """One format of reranks."""

    encode: Encode
    decode: Callable[[bytes, RerankQuestion], Ranking]
    """Returns the ranking in a reply of status 200. Raises SidecarError `provider_error`."""
    classify: Callable[[int, dict[str, str], bytes], SidecarError]
    """Returns the error of an HTTP error reply."""


def make_json_request(route: Route, body: dict[str, Any]) -> HttpRequest:
    """Return the request that posts *body* to *route*."""
    return HttpRequest(
        method="POST",
        url=f"{route.base_url}{route.path}",
        headers={"content-type": "application/json"} | route.headers,
        body=msgspec.json.encode(body),
    )
