"""What makes two questions the same: every byte that is sent, where to, and with whose credential. [pure]

Must not know where answers are kept. The store adds a salt of its own, so no digest here is ever written down.
"""

import hashlib
from typing import NamedTuple

import msgspec

from protocol.options import Options
from sidecar.core.http import HttpRequest
from sidecar.providers.values import Target

FORMAT = "reuse 1"
"""Changes whenever an older program's answer would not do."""


class Question(NamedTuple):
    """A question as a store knows it."""

    digest: bytes
    """Of everything but the scope."""
    scope: str

    def make_key(self, salt: bytes) -> bytes:
        """Return what the answer is found by: no scope ever has the key of another."""
        return hashlib.sha256(hash_scope(self.scope, salt) + self.digest).digest()


def hash_scope(scope: str, salt: bytes) -> bytes:
    """Return what stands for *scope* in a store with that *salt*."""
    return hashlib.sha256(salt + scope.encode("utf-8", "surrogatepass")).digest()


def hash_question(target: Target, request: HttpRequest, options: Options) -> bytes:
    """Return the digest of *request* to *target*, and of those *options* that the sidecar itself applies to an answer.

    All of the user's keys count, because any of them may be used.
    """
    route = target.route
    keys = sorted(key.reveal() for key in target.keys or ((target.credential,) if target.credential else ()))
    head = [
        *(FORMAT, route.provider, route.wire, route.model, request.method, request.url),
        *(sorted(request.headers.items()), sorted(target.gateway_headers.items()), keys),
        *(sorted(route.settings.items(), key=str), options.token_limit, options.response_format),
    ]
    return hashlib.sha256(hashlib.sha256(msgspec.json.encode(head)).digest() + request.body).digest()
