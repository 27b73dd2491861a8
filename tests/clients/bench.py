"""`python -m tests.clients.bench`: a stream through a client beside a bare loop of the language's JSON decoder.

Both are measured in the processor time of the client's process, so that what else runs does not count; the client's
has the reading of the pipe, the cutting of lines and the calls of the handler in it as well.
"""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.clients.languages import LANGUAGES, NVIM, ROOT, SCRIPTS

COMMANDS = {
    "typescript": ["node", str(SCRIPTS / "tests/clients/bench.js")],
    "lua": [*NVIM, "luafile tests/clients/bench.lua"],
}

LEAST_PERCENT = 70
"""The bar: so much of the throughput of the bare loop."""

SIDECAR = """\
#!/bin/sh
read initialize
echo '{"id":1,"success":true,"data":{"protocol_version":1}}'
read request
exec cat "$CHUNKS"
"""
"""A sidecar that writes recorded lines as fast as they are read."""

SECONDS = 300


class Round(msgspec.Struct):
    """What one round of a bench prints."""

    bare_s: float
    client_s: float
    chunks: int


def measure(name: str, chunks: int) -> float:
    """Return the throughput of the client of the language *name*, in percent of the bare loop; the best of three."""
    with tempfile.TemporaryDirectory() as folder:
        lines, program = Path(folder, "chunks.ndjson"), Path(folder, "sidecar")
        program.write_text(SIDECAR, encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        with lines.open("w", encoding="utf-8") as file:
            file.writelines(
                _make_line(seq, {"type": "content", "content": f" word{seq % 100}"}) for seq in range(chunks)
            )
            file.write(_make_line(chunks, {"type": "done"}))
        env = os.environ | {"CHUNKS": str(lines), "SIDECAR_COMMAND": str(program)}
        done = subprocess.run(
            COMMANDS[name], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True, timeout=SECONDS
        )
    rounds = [msgspec.json.decode(line, type=Round) for line in done.stdout.splitlines()]
    if [each.chunks for each in rounds] != [chunks] * 3:
        raise RuntimeError(f"{name}: chunks were lost")
    return max(each.bare_s / each.client_s * 100 for each in rounds)


def _make_line(seq: int, data: dict[str, str]) -> str:
    line = {"id": 2, "success": True, "streaming": True, "seq": seq, "data": data}
    return msgspec.json.encode(line).decode() + "\n"


def main() -> int:
    """Print a line a language and return the exit code: 1 if one is below the bar."""
    slow = 0
    for language in LANGUAGES:
        if language.name not in COMMANDS:
            continue
        if lack := language.find_lack():
            print(f"{language.name}: NOT MEASURED: {lack}")
            continue
        language.build()
        percent = measure(language.name, 1_000_000)
        slow += percent < LEAST_PERCENT
        print(f"{language.name}: a million chunks at {percent:.0f} % of the bare decoder (at least {LEAST_PERCENT} %)")
    return min(slow, 1)


if __name__ == "__main__":
    sys.exit(main())
