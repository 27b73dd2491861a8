"""Recorded exchanges of real providers, where they are at hand, and what an independent reader found in them."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol.messages import OpaquePart, ReasoningPart, TextPart, ToolCallPart
from sidecar.core.errors import SidecarError
from sidecar.wires.shared.types import Outcome, Route
from tests.support.decoding import play

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"

Expected = dict[str, Any]


class Recording(msgspec.Struct, frozen=True):
    """One exchange."""

    folder: Path

    @property
    def name(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def meta(self) -> dict[str, Any]:
        return self._json("meta.json")

    @property
    def expected(self) -> Expected:
        return self._json("expect.json")

    @property
    def body(self) -> bytes:
        return (self.folder / "response.body").read_bytes()

    def _json(self, name: str) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        return loaded


class Played(msgspec.Struct, frozen=True):
    """What came out of an exchange."""

    chunks: list[dict[str, Any]]
    result: Outcome | SidecarError

    def said(self, kind: str) -> str:
        return "".join(chunk["content"] for chunk in self.chunks if chunk["type"] == kind)

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [chunk for chunk in self.chunks if chunk["type"] == kind]


def recordings(api: str) -> list[Any]:
    """Return the exchanges of *api* as parameters of a test; a skipped one where there are none."""
    found = (Recording(path.parent) for path in sorted(CORPUS.glob("*/*/meta.json")))
    params = [pytest.param(each, id=each.name) for each in found if each.meta["api"] == api]
    # Named, since a test may have those of several.
    return params or [pytest.param(None, marks=pytest.mark.skip(reason="no recordings at hand"), id=api)]


def replay(recording: Recording, wire: str, piece_bytes: int) -> Played:
    """Return what comes out when the reply arrives in pieces of that size."""
    provider = recording.folder.parent.name
    route = Route(provider=provider, wire=wire, model="asked-for", base_url="https://provider.test")
    head, body = recording.meta["response"], recording.body
    out: list[Any] = []
    pieces = [body[at : at + piece_bytes] for at in range(0, len(body), piece_bytes)]
    result: Outcome | SidecarError
    try:
        result = play(route, head["status"], head.get("headers", {}), pieces, out.extend)
    except SidecarError as error:
        result = error
    return Played(msgspec.to_builtins(out), result)


def check_chunks(played: Played, expected: Expected) -> None:
    """Check what was streamed: texts, reasoning and whole tool calls, and that the deltas make them up."""
    assert played.said("content") == expected["text"]
    assert played.said("reasoning") == expected["reasoning"]
    calls = [chunk["tool_call"] for chunk in played.of_type("tool_call")]
    assert [call["id"] for call in calls] == [wanted["id"] for wanted in expected["tool_calls"]]
    for index, (call, wanted) in enumerate(zip(calls, expected["tool_calls"], strict=True)):
        assert call["name"] == wanted["name"]
        assert call["arguments"] == wanted["arguments"]
        assert call["arguments_text"] == wanted["arguments_raw"]
        deltas = [chunk for chunk in played.of_type("tool_call_delta") if chunk["index"] == index]
        assert "".join(delta["arguments_delta"] for delta in deltas) == wanted["arguments_raw"]


def check_message(result: Outcome, expected: Expected) -> None:
    """Check that the whole message says what was streamed."""
    parts = result.message.content
    assert not isinstance(parts, str)
    assert "".join(part.text for part in parts if isinstance(part, TextPart)) == expected["text"]
    assert "".join(part.content for part in parts if isinstance(part, ReasoningPart)) == expected["reasoning"]
    calls = [part for part in parts if isinstance(part, ToolCallPart)]
    assert [call.id for call in calls] == [wanted["id"] for wanted in expected["tool_calls"]]


def opaque_kinds(result: Outcome) -> list[str]:
    """Return the kinds of the parts that are the provider's own, in their order."""
    return [part.kind for part in result.message.content if isinstance(part, OpaquePart)]


def check_error(result: Outcome | SidecarError, expected: Expected) -> None:
    """Check that the failure says what the provider said."""
    assert isinstance(result, SidecarError)
    # A number that is the status again says nothing.
    words = [str(word) for word in (expected["code"], expected["type"]) if word not in (None, expected["status"])]
    assert result.body.provider_code == (words[0] if words else None)
    assert result.body.provider_status == expected["status"]
    assert result.body.message == expected["message"]
