"""Replies of every wire, cut where faults happen: made of the fixtures, so that every wire is broken alike."""

import struct
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from tests.support import fixtures
from tests.support.fake_provider import Provider, Step
from tests.support.fixtures import ROOT, Case
from tests.support.lines import CANARY, Object
from tests.support.reply_scripts import SSE, head, opened

EVENTSTREAM, NDJSON = "application/vnd.amazon.eventstream", "application/x-ndjson"


class Wire(NamedTuple):
    """A wire, and a provider that speaks it."""

    name: str
    provider: str
    base: str = ""
    content_type: str = SSE
    case: str = "text"
    model: str = ""
    """What stands before the name of the script in the name of the model."""
    settings: Object | None = None

    @property
    def pieces(self) -> Sequence[bytes]:
        """The events of a good reply."""
        return _pieces(self._case)

    @property
    def first_text(self) -> int:
        """How many of them it takes until there is any text."""
        return _first_text(self._case)

    @property
    def text(self) -> str:
        """The text of a good reply."""
        return "".join(
            chunk["content"] for chunk in fixtures.chunks(self._case, [self._case.body]) if chunk["type"] == "content"
        )

    @property
    def _case(self) -> Case:
        return Case(ROOT / self.name / self.case)

    def params(self, provider: Provider, name: str, **options: Any) -> Object:
        """Return the params of a chat that gets the script *name*."""
        return {
            "model": self.model + name,
            "messages": [{"role": "user", "content": "Hi"}],
            "api_key": CANARY,
            "base_url": provider.url + self.base,
            "settings": self.settings,
            "options": {"wire": self.name} | options,
        }

    def begun(self, pieces: Iterable[bytes]) -> list[Step]:
        """Return a reply of those *pieces* that has not ended."""
        return [head(content_type=self.content_type, transfer_encoding="chunked"), *opened(pieces)[1:]]

    def whole(self) -> list[Step]:
        """Return a good reply."""
        return [*self.begun(self.pieces), b"0\r\n\r\n"]


WIRES = (
    Wire("anthropic_messages", "anthropic"),
    Wire("openai_chat", "openai", "/v1"),
    Wire("openai_responses", "openai", "/v1"),
    Wire("gemini", "gemini"),
    Wire("bedrock_converse", "bedrock", content_type=EVENTSTREAM, settings={"region": "eu-west-1"}),
    Wire("ollama", "ollama", content_type=NDJSON),
    Wire("cloudflare", "cloudflare", case="native_text", model="@cf/meta/", settings={"account_id": "a"}),
)


@cache
def _pieces(case: Case) -> Sequence[bytes]:
    body, kind = case.body, next(case.path.glob("response.*")).suffix
    if kind == ".eventstream":
        return _messages(body)
    separator = b"\n" if kind == ".ndjson" else b"\n\n"
    return [piece + separator for piece in body.replace(b"\r\n", b"\n").split(separator) if piece.strip()]


def _messages(body: bytes) -> list[bytes]:
    found = []
    while body:
        (size,) = struct.unpack(">I", body[:4])
        found.append(body[:size])
        body = body[size:]
    return found


@cache
def _first_text(case: Case) -> int:
    pieces = _pieces(case)
    texts = (
        count
        for count in range(1, len(pieces))
        if any(chunk["type"] == "content" for chunk in fixtures.chunks(case, pieces[:count]))
    )
    return next(texts)
