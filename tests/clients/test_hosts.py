"""The worked hosts of `examples/`: an editor's plugins and a script, over the clients and the real program."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.languages import LANGUAGES, ROOT, SCRIPTS, find_lack

pytestmark = [pytest.mark.spawns, pytest.mark.longest]

SECONDS = 60
MOST_LINES = 150
ANSWER = "A sidecar is a small process that runs beside a bigger one — naïvely put, its helper 🛵."

EXAMPLES = [path for path in (ROOT / "examples").rglob("*") if path.is_file()]


def run_host(command: list[str], text: str = "", status: int = 0, **env: str) -> tuple[str, str]:
    """Run *command* with *text* on its stdin, and return what it writes to stdout and stderr."""
    env = os.environ | {"SIDECAR": str(ROOT / ".venv/bin/sidecar")} | env
    done = subprocess.run(
        command, cwd=ROOT, env=env, input=text, capture_output=True, encoding="utf-8", check=False, timeout=SECONDS
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_every_example_is_short_and_in_the_list() -> None:
    listed = (ROOT / "examples/README.md").read_text(encoding="utf-8")
    for path in EXAMPLES:
        assert len(path.read_text(encoding="utf-8").splitlines()) < MOST_LINES, path
        # `host.*` are in the list of clients.
        known = path.name == "README.md" or path.stem == "host"
        assert known or f"]({path.relative_to(ROOT / 'examples')})" in listed, path


def test_the_plugin_for_neovim_shows_ghost_text_and_takes_it() -> None:
    seen = _drive_neovim()
    assert seen["ghost"] == [1, 11, "PI * r * r"]
    assert seen["completed"] == ["def area(r):", "    return PI * r * r"]


def test_the_plugin_for_neovim_streams_a_chat_and_cancels_it() -> None:
    seen = _drive_neovim()
    chat = ["# Chat", "", "## You", "", "Hello", "", "## Assistant", "", ANSWER, "", "## You", ""]
    assert seen["chat"] == [*chat, ""]
    rest = seen["cancelled"][len(chat) :]
    assert rest[:4] == ["Again", "", "## Assistant", ""]
    assert rest[-5:] == ["[cancelled]", "", "## You", "", ""]
    assert len("".join(rest[4:-5])) > 0


def _drive_neovim() -> dict[str, list[str]]:
    if lack := find_lack("lua"):
        pytest.skip(f"lua: {lack}")
    command = ["nvim", "--headless", "-u", "NONE", "-i", "NONE", "-c", "luafile tests/clients/neovim_plugin.lua"]
    seen: dict[str, list[str]] = json.loads(run_host(command)[0])
    return seen


def test_the_extension_for_vs_code_streams_cancels_and_completes() -> None:
    if lack := find_lack("typescript"):
        pytest.skip(f"typescript: {lack}")
    next(language for language in LANGUAGES if language.name == "typescript").build()
    editor = SCRIPTS / "node_modules/vscode"
    editor.mkdir(parents=True, exist_ok=True)
    (editor / "package.json").write_text('{"type":"module","main":"index.js"}', encoding="utf-8")
    (editor / "index.js").write_text('export * from "../../tests/clients/vscode.js";', encoding="utf-8")
    seen = json.loads(run_host(["node", str(SCRIPTS / "tests/clients/vscode_host.js")])[0])
    assert seen["answered"] == f"What is a sidecar?\n\n{ANSWER}"
    assert seen["pieces"] > 1
    assert seen["cancelled"].startswith("Again\n\n1. ")
    assert len(seen["cancelled"]) < 200
    assert seen["errors_after_cancel"] == []
    assert seen["completed"] == [["PI * r * r", 24]]
    assert seen["dropped"] == []
    assert seen["errors"] == ["Overloaded"]
    assert (seen["listeners"], seen["registered"]) == (0, 0)


def test_the_script_prints_the_answer() -> None:
    assert run_host(["examples/ask.sh", "What is a sidecar?"]) == (ANSWER + "\n", "")


def test_the_script_prints_lines_and_quotes_as_they_are() -> None:
    stdout, _ = run_host(["examples/ask.sh", "Hello"], MODEL="replay/files")
    assert stdout.endswith(
        "\n+from greet import greet\n+\n+print(greet(sys.argv[1]))\n*** End Patch\n\nRun it with a name.\n"
    )


def test_the_script_sends_its_words_and_its_input_as_they_are(tmp_path: Path) -> None:
    fake = tmp_path / "sidecar"
    fake.write_text(
        '#!/bin/sh\ncat > "$0.requests"\necho \'{"id":1,"data":{"type":"done","x":0}}\'\n', encoding="utf-8"
    )
    fake.chmod(0o700)
    text = 'a\t"b" \\n $HOME `x`\n\n  naïve'
    run_host(["examples/ask.sh", 'Say "x\\"', "now"], text + "\n", SIDECAR=str(fake))
    requests = [json.loads(line) for line in Path(f"{fake}.requests").read_text(encoding="utf-8").splitlines()]
    assert requests[1]["params"]["messages"][0]["content"] == f'Say "x\\" now\n\n{text}'


def test_the_script_fails_with_the_message_of_the_error() -> None:
    stdout, stderr = run_host(["examples/ask.sh", "Hello"], status=1, MODEL="replay/overloaded")
    assert (stdout, stderr) == ("A side", "\nask.sh: Overloaded\n")


def test_the_script_fails_if_the_program_is_not_there() -> None:
    _, stderr = run_host(["examples/ask.sh", "Hello"], status=1, SIDECAR="/nowhere/sidecar")
    assert "ended without an answer" in stderr
