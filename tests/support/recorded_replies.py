"""Recorded replies, of the fixtures and of the corpus where it is at hand, and what comes of their bytes."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from protocol.errors import ErrorBody
from sidecar.catalogue import provider_rows
from sidecar.core.errors import SidecarError
from sidecar.wires.shared.types import Outcome, Quirks, Route
from tests.support import corpus, fixtures
from tests.support.decoding import play
from tests.support.fixtures import Case


class Recorded(msgspec.Struct, frozen=True, eq=False):
    """A reply of status 200, and where it came from."""

    name: str
    route: Route
    headers: dict[str, str]
    path: Path
    """Where the bytes are."""

    @property
    def wire(self) -> str:
        return self.route.wire

    @property
    def body(self) -> bytes:
        return _bytes(self.path)

    @property
    def is_document(self) -> bool:
        """Whether it is one JSON document, or a web page, and no stream."""
        return self.wire != "ollama" and self.body.lstrip()[:1] in (b"{", b"[", b"<")


class Played(msgspec.Struct, frozen=True):
    """What came of a reply."""

    chunks: list[Any]
    outcome: Outcome | None
    error: ErrorBody | None


@cache
def _bytes(path: Path) -> bytes:
    return path.read_bytes()


def of_fixture(case: Case) -> Recorded:
    """Return the reply of a fixture."""
    return Recorded(case.name, fixtures.route(case), case.head["headers"], next(case.path.glob("response.*")))


def of_fixtures() -> list[Recorded]:
    """Return every reply of the fixtures that has begun well."""
    return [of_fixture(case) for case in fixtures.cases() if case.has_reply and case.head["status"] == 200]


def of_corpus() -> list[Recorded]:
    """Return every recorded answer of a model, as its provider's table has it read; none where there is no corpus."""
    found = [
        exchange
        for exchange in corpus.exchanges(*sorted(folder.name for folder in corpus.ROOT.glob("*")))
        if exchange.api in corpus.WIRES and exchange.status == 200
    ]
    return [
        Recorded(f"corpus/{each.name}", _route(each), each.headers, each.path / "response.body")
        for each in found
        if each.body
    ]


def _route(exchange: corpus.Exchange) -> Route:
    provider = corpus.PROVIDERS.get(exchange.provider, exchange.provider)
    row = provider_rows.read_providers().get(provider)
    return Route(
        provider=provider,
        wire=corpus.WIRES[exchange.api],
        model="m",
        base_url="https://provider.test",
        quirks=row.quirks if row else Quirks(),
    )


def played(reply: Recorded, pieces: Iterable[bytes]) -> Played:
    """Return what comes of *pieces*."""
    out: list[Any] = []
    try:
        outcome = play(reply.route, 200, reply.headers, pieces, out.extend)
    except SidecarError as error:
        return Played(out, None, error.body)
    return Played(out, outcome, None)
