"""What requests and replies for vectors have in common, whatever their shape. [pure]"""

import re
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from sidecar.core.http import HttpRequest
from sidecar.core.json_values import require_memory
from sidecar.wires.embeddings.types import FoundVector
from sidecar.wires.shared.errors import make_unexpected_body_error
from sidecar.wires.shared.types import Route

T = TypeVar("T")

_NO_NUMBER = re.compile(rb"-?\b(?:NaN|Infinity|nan|inf)\b")


def make_request(route: Route, usual_path: str, body: dict[str, Any]) -> HttpRequest:
    """Return the request that posts *body* to the path of *route*, or to the wire's *usual_path*."""
    return HttpRequest(
        method="POST",
        url=f"{route.base_url}{route.path or usual_path}",
        headers={"content-type": "application/json"} | route.headers,
        body=msgspec.json.encode(body),
    )


def decode_body(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return the document *body*, whose vectors stay as they were written.

    JSON has no NaN, but some servers write it: it is read as null, so that its vector can be named.

    Raises: SidecarError `provider_error` for a document of another shape.
    """
    require_memory(body)
    try:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return decoder.decode(_NO_NUMBER.sub(b"null", body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise make_unexpected_body_error() from None


def list_in_order(vectors: Iterable[msgspec.Raw | None]) -> list[FoundVector]:
    """Return *vectors* of a reply that numbers none."""
    return [FoundVector(raw) for raw in vectors]
