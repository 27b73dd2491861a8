"""What makes two questions the same: every byte that is sent, its address, and the credential. [pure]

Must not know where answers are kept. The store adds a salt of its own, so no digest here is ever written down.
"""

import hashlib
from typing import NamedTuple

import msgspec

from protocol.options import Options
from sidecar.core.http import HttpRequest
from sidecar.providers.values import Target

FORMAT = "reuse 1"
"""Change this whenever answers that older versions stored must not be used."""


class Question(NamedTuple):
    """A question as a store knows it."""

    digest: bytes
    """Of everything but the scope."""
    scope: str

    def make_key(self, salt: bytes) -> bytes:
        """Return the key of the answer in a store with that *salt*. Scopes never share a key."""
        return hashlib.sha256(hash_scope(self.scope, salt) + self.digest).digest()


def hash_scope(scope: str, salt: bytes) -> bytes:
    """Return the hash that a store with that *salt* keeps instead of *scope*."""
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
