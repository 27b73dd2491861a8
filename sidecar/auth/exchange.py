"""One question that a scheme or a login asks over HTTP, and the answer. [sans-IO]

Schemes are given an `Exchange`. They never know which HTTP client carries a question, who waits before it is sent
again, or what is written down of it.
"""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.core.json_values import parse_json
from sidecar.core.secret import Secret

MAX_ANSWER_BYTES = 1024 * 1024


class Answer(msgspec.Struct, frozen=True):
    """A whole reply. `headers` has lower-case names; of an error's body only the beginning is kept."""

    status: int
    headers: dict[str, str]
    body: bytes

    def read_object(self) -> dict[str, Any]:
        """Return the JSON object in the body; an empty one for anything else."""
        document = parse_json(self.body)
        return document if isinstance(document, dict) else {}


Classify = Callable[[Answer], SidecarError | None]
"""Returns the failure that an answer stands for; None when the answer is to be read."""


def accept_any(_: Answer) -> None:
    """Take every answer, whatever its status: the scheme reads it itself."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, and how to treat what comes back."""

    request: HttpRequest
    timeouts: HttpTimeouts
    secrets: tuple[Secret, ...] = ()
    """What the request carries: no error repeats it."""
    classify: Classify = accept_any
    max_attempts: int = 1
    """How often the question is sent while it fails in a way that may pass."""
    link_local: bool = False
    """Whether it may go to a link-local address, where the metadata servers of clouds are."""
    limit_bytes: int = MAX_ANSWER_BYTES


class Exchange(Protocol):
    """Asks questions."""

    async def __call__(self, question: Question) -> Answer:
        """Return the answer to *question*.

        Raises: the SidecarError that `question.classify` returns for an answer; `network_error`, `timeout` with the
        `phase` in which it happened, `provider_error` for an answer over `question.limit_bytes`, `invalid_request`
        for a request that cannot be sent. None of them repeats one of `question.secrets`.
        """
