"""Generators that others wrote make usable types of the schema: each is run, and a compiler reads what it makes."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.clients.languages import ROOT, TOOLS, runs_all

pytestmark = [pytest.mark.spawns, pytest.mark.longest]

if not runs_all() or not (TOOLS / ".bin/json2ts").exists():
    pytest.skip("`make clients` installs and runs the generators", allow_module_level=True)

SECONDS = 120

NAMES = ("Chat", "Chunk", "Content", "Done", "ErrorBody", "ErrorCode", "FinishReason", "Message", "Part", "ToolCall")
"""Types that a host needs by these names."""

NARROWED = """
import type { Chunk, CompareChunk, Part, Request } from "./types";

export function read(chunk: Chunk | CompareChunk): string | number | undefined {
  switch (chunk.type) {
    case "content":
      return chunk.content;
    case "tool_call":
      return chunk.tool_call.arguments_text;
    case "branch_error":
      return chunk.error.code;
  }
}

export const describe = (part: Part) => (part.type === "text" ? part.text.length : part.type);
const messages = [{ role: "user" as const, content: "x" }];
export const chat: Request = { action: "stream_chat", params: { model: "m", messages } };
// @ts-expect-error A field of another action.
export const wrong: Request = { action: "cancel", params: { model: "m" } };
"""
"""Compiles only if the tags tell the members of the unions apart."""


TSCONFIG = '{"compilerOptions":{"strict":true,"noEmit":true,"target":"es2022","types":[]},"include":["*.ts"]}'


def generate(*command: str) -> str:
    """Run a generator and return what it prints."""
    path = os.environ | {"PATH": f"{TOOLS / '.bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=ROOT, env=path, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def find_twins(source: str) -> set[str]:
    """Return the names of types that a generator has numbered, as it met the same name twice."""
    kinds = "interface|type|class|struct|pub struct|pub enum"
    return set(re.findall(rf"^(?:export )?(?:{kinds}) (\w+?[a-z]\d+)\b", source, re.MULTILINE))


def test_json_schema_to_typescript_makes_unions_that_the_compiler_narrows(tmp_path: Path) -> None:
    options = ("--no-additionalProperties", "--ignoreMinAndMaxItems", "--unreachableDefinitions")
    source = generate("json2ts", *options, "protocol/schema.json")
    for name in NAMES:
        assert re.search(rf"^export (interface|type) {name}\b", source, re.MULTILINE), name
    assert find_twins(source) == {"TheSidecarSProtocolVersion1"}
    (tmp_path / "types.ts").write_text(source, encoding="utf-8")
    (tmp_path / "read.ts").write_text(NARROWED, encoding="utf-8")
    (tmp_path / "tsconfig.json").write_text(TSCONFIG, encoding="utf-8")
    generate("tsc", "--project", str(tmp_path))


@pytest.mark.parametrize("language", ["rust", "go", "typescript"])
def test_quicktype_makes_a_type_of_every_name(language: str) -> None:
    source = generate("quicktype", "--src-lang", "schema", "--lang", language, "protocol/schema.json#/$defs/")
    for name in NAMES:
        assert re.search(rf"\b(struct|enum|interface|type) {name}\b", source), name
    assert find_twins(source) == set()


@pytest.mark.parametrize(
    ("source", "twins"),
    [
        ("export interface Cost1 {", {"Cost1"}),
        ("export interface Cost {", set()),
        ("pub struct Options12 {", {"Options12"}),
        ("  cost1: Cost;", set()),
    ],
)
def test_a_twin_is_found(source: str, twins: set[str]) -> None:
    assert find_twins(source) == twins
