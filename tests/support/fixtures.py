"""The exchanges under `fixtures/`: reading a case, playing it through its wire, writing what it expects.

A case is a folder `fixtures/<wire>/<case>/`:

- `call.json`: `provider`, `params` (of `stream_chat`), optionally `facts` and `quirks` of the route,
- `request.json`: the request that `encode` must build (`method`, `url`, `headers`, `body`, `warnings`),
- `response.*`: the raw bytes of the answer, and `head.json` (`status`, `headers`) when it is not a 200 stream,
- `chunks.ndjson`: the chunks that must come out, the last line being `done` or `error`.

`python -m tests.support.fixtures WIRE/CASE…` writes `request.json` and `chunks.ndjson` from what comes out: read them
before you commit.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from protocol.replies import Chunk
from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.server.framing import decode_params
from sidecar.wires import registry
from sidecar.wires.shared.types import ModelFacts, Quirks, Route
from sidecar.wires.shared.undeclared_calls import list_tool_names
from tests.support.decoding import play

ROOT = Path(__file__).resolve().parents[2] / "fixtures"


class Case(msgspec.Struct, frozen=True):
    """One folder."""

    path: Path

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def wire(self) -> str:
        return self.path.parent.name

    @property
    def call(self) -> dict[str, Any]:
        return dict(self._json("call.json"))

    @property
    def head(self) -> dict[str, Any]:
        return {"status": 200, "headers": {}} | (self._json("head.json") if "head.json" in _names(self.path) else {})

    @property
    def body(self) -> bytes:
        return _read(self.path / self._response)

    @property
    def has_reply(self) -> bool:
        return bool(self._response)

    @property
    def expected(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in _read(self.path / "chunks.ndjson").splitlines()]

    @property
    def expected_request(self) -> dict[str, Any]:
        return dict(self._json("request.json"))

    @property
    def _response(self) -> str:
        return next((name for name in _names(self.path) if name.startswith("response.")), "")

    def _json(self, name: str) -> Any:
        return json.loads(_read(self.path / name))


# Tests come back to the same few hundred files thousands of times.
@cache
def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@cache
def _read(file: Path) -> bytes:
    return file.read_bytes()


def cases(*wire_names: str) -> list[Case]:
    """Return the cases of the named wires, or of all."""
    return [case for case in _every_case() if not wire_names or case.wire in wire_names]


@cache
def _every_case() -> list[Case]:
    return [Case(path.parent) for path in sorted(ROOT.glob("*/*/call.json"))]


@cache
def route(case: Case) -> Route:
    """Return the route that a case's call goes: its base address is `https://provider.test`."""
    call = case.call
    return Route(
        provider=call["provider"],
        wire=case.wire,
        model=call["params"]["model"],
        base_url="https://provider.test",
        facts=msgspec.convert(call.get("facts", {}), ModelFacts),
        quirks=msgspec.convert(call.get("quirks", {}), Quirks),
        settings=call.get("settings", {}),
        tools=list_tool_names(decode_params(json.dumps(call["params"]).encode(), Chat).options),
    )


def request(case: Case) -> dict[str, Any]:
    """Return the request that the case's call is encoded to, as `request.json` holds it."""
    chat = decode_params(json.dumps(case.call["params"]).encode(), Chat)
    encoded = registry.load(case.wire).encode(chat, route(case))
    built = encoded.request
    return {
        "method": built.method,
        "url": built.url,
        "headers": built.headers,
        "body": json.loads(built.body) if built.body else None,
        "warnings": msgspec.to_builtins(encoded.warnings),
    }


def chunks(case: Case, pieces: Iterable[bytes]) -> list[dict[str, Any]]:
    """Return what comes out when the reply arrives in *pieces*: chunks, then `done` or `error`."""
    out: list[Chunk] = []
    head = case.head
    try:
        outcome = play(route(case), head["status"], head["headers"], pieces, out.extend)
    except SidecarError as error:
        return [*_plain(out), {"type": "error", "error": msgspec.to_builtins(error.body)}]
    return [*_plain(out), {"type": "done"} | msgspec.to_builtins(outcome)]


def _plain(out: list[Chunk]) -> list[dict[str, Any]]:
    return list(msgspec.to_builtins(out))


def _write(case: Case) -> None:
    text = json.dumps(request(case), indent=1, ensure_ascii=False)
    (case.path / "request.json").write_text(text + "\n", encoding="utf-8")
    if case.has_reply:
        lines = [json.dumps(chunk, ensure_ascii=False) + "\n" for chunk in chunks(case, [case.body])]
        (case.path / "chunks.ndjson").write_text("".join(lines), encoding="utf-8")


def _main(names: list[str]) -> Iterator[str]:
    for name in names:
        case = Case(ROOT / name)
        _write(case)
        yield case.name


if __name__ == "__main__":
    for written in _main(sys.argv[1:]):
        print(written)
