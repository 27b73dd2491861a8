"""The exchanges under `fixtures/embeddings/`: asking for vectors in process, and writing what an exchange expects.

A case is a folder `fixtures/embeddings/<wire>_<case>/`:

- `embed.json`: `provider` and `params` of `embed`, and the `env` in which the program runs,
- `response.json`: the bytes of the answer, and `head.json` (`status`, `headers`) when it is not a plain 200,
- `request.json`: the request that must be sent (`method`, `url`, `body`),
- `lines.ndjson`: the `data` of the lines that must come out; the last is `done`, or has an `error`.

`python -m tests.support.embeddings CASE…` writes the last two from what comes out: read them before you commit.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.fake_services import Answer
from tests.support.in_memory import InMemoryServices
from tests.support.in_process import online
from tests.support.lines import Object
from tests.support.program import Program

ROOT = Path(__file__).resolve().parents[2] / "fixtures/embeddings"

KEY = "CANARY-embed-1234567890"


def collect(program: Program, params: Object, provider: str | None = "openai", **envelope: Any) -> list[Object]:
    """Return the `data` of the lines of `embed`, the last one with its `error` if it fails."""
    if provider is not None:
        envelope["provider"] = provider
    lines = program.stream(program.send("embed", params, **envelope))
    return [line.data["data"] if line.data["success"] else {"error": line.data["error"]} for line in lines]


def list_cases() -> list[str]:
    """Return the names of the cases."""
    return sorted(path.parent.name for path in ROOT.glob("*/embed.json"))


def read(name: str, file: str) -> Any:
    """Return a JSON file of a case."""
    return json.loads((ROOT / name / file).read_bytes())


def play(name: str, folder: Path) -> tuple[Object, list[Object]]:
    """Return the request that a case sends, and the lines that come out."""
    call, services = read(name, "embed.json"), InMemoryServices()
    head = read(name, "head.json") if (ROOT / name / "head.json").exists() else {}
    body = (ROOT / name / "response.json").read_bytes()
    services.answer("POST *", Answer(body, head.get("status", 200), head.get("headers", {})))
    with online(services, folder, **call.get("env", {})) as sidecar:
        lines = collect(sidecar, call["params"], call["provider"])
    seen = services.only("POST *")
    return {"method": seen.method, "url": seen.url, "body": seen.json}, [_settle(line) for line in lines]


def _settle(line: Object) -> Object:
    """Return *line* without what depends on the moment."""
    line.get("cost", {}).pop("priced_at", None)
    if error := line.get("error"):
        error.pop("elapsed_ms")
        (error.get("cost") or {}).pop("priced_at", None)
    return line


def _write(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        request, lines = play(name, Path(folder))
    text = json.dumps(request, indent=1, ensure_ascii=False)
    (ROOT / name / "request.json").write_text(text + "\n", encoding="utf-8")
    rows = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (ROOT / name / "lines.ndjson").write_text(rows, encoding="utf-8")


if __name__ == "__main__":
    for case in sys.argv[1:]:
        _write(case)
        sys.stdout.write(f"{case}\n")
