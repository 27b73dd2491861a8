"""The exchanges of completions under `fixtures/`: reading a case, playing it through its wire, writing what it expects.

A case is a folder `fixtures/<wire>/<case>/` of a wire of completions:

- `complete.json`: `method`, and `params` (of `complete`),
- `request.json`: the request that its wire must build (`method`, `url`, `body`),
- `response.*`: the raw bytes of the answer,
- `items.json`: the texts that must come out, why they ended, the usage, or the error.

`python -m tests.support.completion_fixtures WIRE/CASE…` writes `request.json` and `items.json` from what comes out:
read them before you commit.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from protocol.completion import Complete
from sidecar.completion.prompt import make_prompt
from sidecar.core.errors import SidecarError
from sidecar.wires.completions import registry
from sidecar.wires.completions.families import find_family
from sidecar.wires.completions.registry import COMPLETION_WIRES
from sidecar.wires.completions.stream import CompletionStream
from sidecar.wires.completions.types import Piece
from sidecar.wires.shared.types import Route
from tests.support.fixtures import ROOT


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
    def body(self) -> bytes:
        return next(self.path.glob("response.*")).read_bytes()

    def read(self, name: str) -> Any:
        """Return what a file of the case says."""
        return json.loads((self.path / name).read_bytes())


def list_cases() -> list[Case]:
    """Return every case."""
    return [Case(path.parent) for path in sorted(ROOT.glob("*/*/complete.json")) if path.parts[-3] in COMPLETION_WIRES]


def encode(case: Case) -> dict[str, Any]:
    """Return the request that the wire builds."""
    call, wire = case.read("complete.json"), registry.load(case.wire)
    params = msgspec.convert(call["params"], Complete)
    route = Route(provider="p", wire=case.wire, model=params.model, base_url="https://api.example")
    prompt = make_prompt(params, find_family(params.model), call["method"], has_file_field=wire.TAKES_FILES)
    request = wire.encode(prompt, route)
    return {"method": request.method, "url": request.url, "body": json.loads(request.body)}


def play(case: Case, pieces: Iterable[bytes]) -> dict[str, Any]:
    """Return what the wire reads in the answer, given in *pieces*."""
    stream, out = CompletionStream(registry.load(case.wire), {}), list[Piece]()
    found: dict[str, Any] = {}
    try:
        for piece in pieces:
            stream.feed(piece, out)
        stream.end(out)
    except SidecarError as error:
        found = {"error": {"code": error.body.code, "message": error.body.message}}
    texts: dict[str, str] = {}
    for item, text in out:
        texts[str(item)] = texts.get(str(item), "") + text
    reasons = {str(item): reason for item, reason in stream.reasons.items()}
    usage = msgspec.to_builtins(stream.usage) if stream.usage else None
    return {"texts": texts, "reasons": reasons, "usage": usage, "model": stream.model} | found


def write(names: Iterable[str]) -> None:
    """Write what the cases with these names expect."""
    for name in names:
        case = Case(ROOT / name)
        for file, value in (("request.json", encode(case)), ("items.json", play(case, [case.body]))):
            text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
            (case.path / file).write_text(text, encoding="utf-8", newline="\n")
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    write(sys.argv[1:])
