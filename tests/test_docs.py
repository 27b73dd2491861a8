"""What the documents say is so: every example is run or checked, every action, field, limit and flag exists."""

import ast
import re
import shutil
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

import sidecar
from protocol import schema
from protocol.errors import ErrorCode, Phase
from protocol.replies import Attempt
from protocol.requests import PARAMS, Initialize
from protocol.values import MAX_TIMEOUT_MS
from sidecar.catalogue import provider_rows
from sidecar.cli import commands
from sidecar.codecs.registry import CODECS
from sidecar.config import loader
from sidecar.config import tables as config_tables
from sidecar.core.errors import MESSAGE_MAX_CHARS, RETRYABLE
from sidecar.core.request_state import TOTAL_MS
from sidecar.generation.timeouts import DEFAULT_TIMEOUTS, LONG_TIMEOUTS, PINGED_IDLE_SECONDS, ChatTimeouts
from sidecar.providers.kinds import PURPOSES, list_kinds
from sidecar.providers.rows import list_providers
from sidecar.providers.setup import Setup
from sidecar.server import dispatch, framing
from sidecar.server.actions import ACTIONS, TaskAction
from sidecar.wires import registry
from sidecar.wires.shared import draft
from tests.support import documents
from tests.support.documents import DOCUMENTS, ROOT, Block
from tests.support.source import nodes_of, program

PROTOCOL = "protocol/PROTOCOL.md"
DOCUMENT: dict[str, Any] = msgspec.json.decode(schema.PATH.read_bytes())
DEFS: dict[str, Any] = DOCUMENT["$defs"]

MARKS = {
    "json": {"run", "output", "request", "reply", *DEFS},
    "toml": {"config"},
    "console": {"", "worked example"},
    "js": {"host"},
    "sh": {"make"},
    "text": {""},
}
"""Every kind of block that a document may have, beside those of worked examples (`path=…`, `append=…`)."""


def strict(value: Any) -> Any:
    """Return a schema that takes no property beyond those it names: an example has no business with others."""
    if isinstance(value, dict):
        closed = {"additionalProperties": False} if isinstance(value.get("properties"), dict) else {}
        return {key: strict(each) for key, each in value.items()} | closed
    return [strict(each) for each in value] if isinstance(value, list) else value


REPLIES = [each for each in DOCUMENT["anyOf"] if each["$ref"] not in {"#/$defs/Request", "#/$defs/Line"}]
ANY_LINE = {"anyOf": [*REPLIES, {"$ref": "#/$defs/Failed"}, {"$ref": "#/$defs/Event"}]}
"""Any line with the `data` of some action: the schema's `Line` leaves that open."""

STRICT_DEFS = strict(DEFS) | {"AnyLine": ANY_LINE}


def check(value: Any, name: str) -> None:
    """Assert that *value* is a *name* of the schema."""
    Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": STRICT_DEFS}).validate(value)


def id_of(block: Block) -> str:
    return str(block)


# --- examples --------------------------------------------------------------------------------


def test_every_block_has_a_known_kind() -> None:
    """Ours: a block without a mark would be an example that nobody checks."""
    found = [block for document in DOCUMENTS for block in documents.blocks(document)]
    unknown = [f"{block}: {block.info}" for block in found if not _is_known(block)]
    assert len(found) > 30
    assert not unknown


def _is_known(block: Block) -> bool:
    return block.mark.startswith(("path=", "append=", "patch")) or block.mark in MARKS.get(block.language, ())


@pytest.mark.spawns
@pytest.mark.parametrize(("before", "after"), documents.pairs("json", "run"), ids=id_of)
def test_what_is_run_gives_what_is_shown(before: Block, after: Block, tmp_path: Path) -> None:
    """Protocol. After a change that is meant: `python -m tests.support.documents`."""
    assert after.info == "json output"
    output = documents.run(before.text, tmp_path)
    assert documents.settled(output) == documents.settled(after.text)
    for line in output.splitlines():
        check(msgspec.json.decode(line), "AnyLine")


@pytest.mark.parametrize("block", documents.all_blocks("json", "request"), ids=id_of)
def test_a_request_is_one_by_the_schema_and_for_the_program(block: Block) -> None:
    for line in block.lines:
        check(msgspec.json.decode(line), "Request")
        envelope = framing.decode_envelope(line.encode())
        framing.decode_params(envelope.params, PARAMS[envelope.action])


@pytest.mark.parametrize("block", documents.all_blocks("json", "reply"), ids=id_of)
def test_a_reply_is_one_by_the_schema(block: Block) -> None:
    for line in block.lines:
        check(msgspec.json.decode(line), "AnyLine")


@pytest.mark.parametrize("block", [b for b in documents.all_blocks("json") if b.mark in DEFS], ids=id_of)
def test_an_object_is_what_its_block_says(block: Block) -> None:
    for line in block.lines:
        check(msgspec.json.decode(line), block.mark)


@pytest.mark.parametrize("block", documents.all_blocks("toml", "config"), ids=id_of)
def test_a_configuration_is_taken(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(block.text, encoding="utf-8")
    loaded = loader.load(path=str(file), env={})
    assert list_providers(Setup(loaded)).keys() >= loaded.providers.keys()
    assert loaded.providers


@pytest.mark.spawns
@pytest.mark.parametrize("block", documents.all_blocks("console", ""), ids=id_of)
def test_a_command_prints_what_is_shown(block: Block, tmp_path: Path) -> None:
    for command, shown in documents.commands(block):
        printed = documents.sh(command, tmp_path)
        if printed.startswith("{"):
            assert documents.settled(printed) == documents.settled(shown)
        else:
            assert printed.strip() == shown.strip()


@pytest.mark.spawns
@pytest.mark.parametrize("block", documents.all_blocks("js", "host"), ids=id_of)
@pytest.mark.skipif(shutil.which("node") is None, reason="the example is for node")
def test_the_host_in_another_language_works(block: Block, tmp_path: Path) -> None:
    following = {str(before): after for before, after in documents.pairs("js", "host")}
    (tmp_path / "host.mjs").write_text(block.text, encoding="utf-8")
    assert documents.sh("node host.mjs", tmp_path) == following[str(block)].text


# --- names -----------------------------------------------------------------------------------


def words(document: str) -> set[str]:
    """Return every word that *document* sets as code."""
    text = re.sub(r"^```.*?^```$", "", documents.read(document), flags=re.MULTILINE | re.DOTALL)
    return {word for span in re.findall(r"`([^`]+)`", text) for word in re.findall(r"[\w.-]+", span)}


def table(heading: str) -> dict[str, list[str]]:
    """Return the rows of the first table of PROTOCOL.md whose first column is called *heading*, by that column."""
    lines = documents.read(PROTOCOL).splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows: dict[str, list[str]] = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        first, *rest = (cell.strip() for cell in line.strip("|").split(" | "))
        rows |= dict.fromkeys(re.findall(r"`(\w+)`", first), rest)
    return rows


def test_every_field_of_the_schema_is_described() -> None:
    """Ours: a field that the protocol does not explain is one that no host can use."""
    fields = {field for each in DEFS.values() for field in each.get("properties", {})}
    assert not sorted(fields - words(PROTOCOL))


def test_every_action_has_its_section() -> None:
    assert not sorted(set(PARAMS) - documents.headings(PROTOCOL))


def test_the_contents_name_every_action() -> None:
    (contents,) = (line for line in documents.read(PROTOCOL).splitlines() if line.startswith("- [Actions]"))
    assert set(re.findall(r"\(#(\w+)\)", contents)) == set(PARAMS) | {"actions"}
    assert list(table("action")) == list(PARAMS)


def test_every_chunk_has_its_section() -> None:
    chunks = DEFS["Chunk"]["discriminator"]["mapping"]
    assert not sorted(set(chunks) - documents.headings(PROTOCOL))
    assert set(table("chunk type")) == set(chunks)


def test_the_table_of_codes_is_that_of_the_program() -> None:
    rows = table("code")
    assert set(rows) == set(get_args(ErrorCode))
    assert {code for code, cells in rows.items() if cells[-1] == "yes"} == RETRYABLE
    assert {cells[-1] for cells in rows.values()} == {"yes", "no"}


def test_every_value_that_a_field_may_have_is_described() -> None:
    values = {value for each in _walk(DEFS) for value in each.get("enum", ()) if isinstance(value, str)}
    assert not sorted(values - words(PROTOCOL))
    assert set(get_args(Phase)) <= values


def _walk(value: Any) -> list[dict[str, Any]]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict) and isinstance(value.get("enum", ()), list) else []
    return own + [found for each in inner for found in _walk(each)]


@pytest.mark.long
def test_every_reason_that_the_program_gives_is_described() -> None:
    given = keywords({"SidecarError", "invalid_request", "with_fields"}, "reason")
    assert {"duplicate_id", "line_too_long", "redirect"} <= given
    assert not sorted(given - set(table("reason")))


def test_the_reasons_of_an_unknown_cost_are_those_of_the_program() -> None:
    source = "".join((ROOT / file).read_text(encoding="utf-8") for file in program())
    described = set(table("reason of a null"))
    assert described == set(re.findall(r"\bmake_unknown\(\"(\w+)\"", source))
    assert set(re.findall(r'"usd":null,"reason":"(\w+)"', documents.read(PROTOCOL))) <= described


def test_the_table_of_done_says_what_an_attempt_has() -> None:
    (row,) = (line for line in documents.read(PROTOCOL).splitlines() if line.startswith("| `attempts` | list |"))
    assert set(re.findall(r"`(\w+)`", row)) >= set(Attempt.__struct_fields__)


def test_what_is_said_to_be_missing_is_missing() -> None:
    """Ours: whoever makes the program send these takes the sentence away."""
    source = "".join((ROOT / file).read_text(encoding="utf-8") for file in program())
    assert ("This version does not send it yet" in documents.read(PROTOCOL)) is (" Status(" not in source)
    assert ("This version has none to send yet" in documents.read(PROTOCOL)) is (".warn(" not in source)


def test_the_limits_that_are_named_are_those_of_the_program() -> None:
    text = documents.read(PROTOCOL)
    for limit in (
        f"{framing.MAX_LINE_BYTES // 2**20} MiB",
        f"1 to {MAX_TIMEOUT_MS},",
        f"At most {dispatch.MAX_OPEN} requests",
        f"at most {draft.MAX_PIECE_CHARS // 1024} Ki characters",
        f"at most {MESSAGE_MAX_CHARS} characters",
    ):
        assert limit in text


def test_the_limits_of_time_are_those_of_the_program() -> None:
    text, rows = documents.read(PROTOCOL), []
    for name in ChatTimeouts.__struct_fields__:
        usual, long = (round(getattr(each, name) * 1000) for each in (DEFAULT_TIMEOUTS, LONG_TIMEOUTS))
        option = name.replace("_seconds", "_ms")
        rows.append(f"`{option}`{', `timeout`' * (option == 'total_ms')} | {usual} | {long} |")
    login = ACTIONS["authenticate"]
    assert isinstance(login, TaskAction)
    for limit in (
        *rows,
        f"{PINGED_IDLE_SECONDS * 1000:.0f} where the provider pings",
        f"Null or absent: {TOTAL_MS};",
        f"for `authenticate` {login.total_ms}.",
        f"Default {Initialize().heartbeat_ms}.",
    ):
        assert limit in text


@pytest.mark.parametrize("name", registry.list_names())
def test_a_wire_has_the_five_things_that_are_asked_of_it(name: str) -> None:
    """CONTRIBUTING.md."""
    wire = registry.load(name)
    assert not [
        thing for thing in ("CODEC", "encode", "Decoder", "decode_whole", "classify") if not hasattr(wire, thing)
    ]
    assert wire.CODEC in CODECS
    assert list((ROOT / "fixtures" / name).glob("*/call.json"))


@pytest.mark.long
def test_every_warning_that_the_program_gives_is_described() -> None:
    given = keywords({"Warn"}, "code")
    assert "option_left_out" in given
    assert set(table("warning")) == given


def keywords(functions: set[str], name: str) -> set[str]:
    """Return the strings that the program writes down for the keyword *name* of calls of these *functions*."""
    calls = (
        node
        for file in program()
        for node in nodes_of(file)
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in functions
    )
    values = (keyword.value for call in calls for keyword in call.keywords if keyword.arg == name)
    constants = (node.value for value in values for node in ast.walk(value) if isinstance(node, ast.Constant))
    return {each for each in constants if isinstance(each, str)}


# --- the user's side -------------------------------------------------------------------------


def test_every_flag_is_described() -> None:
    flags = {flag for each in commands.serve.params for flag in each.opts} | {"--version", "--help"}
    assert len(flags) > 5
    assert not sorted(flags - words("README.md"))


@pytest.mark.spawns
def test_the_example_of_the_help_works(tmp_path: Path) -> None:
    command = next(line for line in commands.SERVE_EXAMPLE.splitlines() if "| sidecar" in line)
    lines = documents.sh(command, tmp_path).splitlines()
    assert msgspec.json.decode(lines[-1])["data"]["type"] == "done"


def test_every_variable_of_the_program_is_described() -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "sidecar/config").glob("*.py"))
    read = set(re.findall(r"SIDECAR_[A-Z]+(?:_[A-Z]+)*\b", source))
    assert "SIDECAR_CONFIG" in read
    assert not sorted(read - words("CONFIGURATION.md"))


def test_every_key_of_the_configuration_is_described() -> None:
    tables = vars(config_tables).values()
    models = [
        each for each in tables if isinstance(each, type) and issubclass(each, BaseModel) and each is not BaseModel
    ]
    keys = {key for model in models for key in model.model_fields}
    assert {"api_key_env", "base_url", "level"} <= keys
    assert not sorted(keys - words("CONFIGURATION.md") - words(PROTOCOL))


def test_the_readme_names_every_built_in_provider_that_works_and_no_other() -> None:
    """Ours: a row of the table of providers is a promise once its scheme is there, and its wire with its fixtures."""
    schemes = {path.stem for path in (ROOT / "sidecar/auth/schemes").glob("*.py")} | {"none"}
    known = {name for name in registry.list_names() if list((ROOT / "fixtures" / name).glob("*/call.json"))}
    known |= {"from_model", provider_rows.NO_CHAT}
    rows = provider_rows.read_providers()
    working = {name for name, row in rows.items() if row.wire in known and row.auth.scheme in schemes}
    section = documents.read("README.md").partition("## Providers")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([\w-]+)`", section))
    assert sorted(named & set(rows)) == sorted(working)
    ours = {name: list_kinds(row) for name, row in rows.items() if row.transport == "http"}
    by_kind = {word: sorted(name for name in ours if kind in ours[name]) for kind, word in PURPOSES.items()}
    lines = re.findall(r"^\| (\w+) \| (`.*) \|$", section, re.MULTILINE)
    told = {word: re.findall(r"`([\w-]+)`", names) for word, names in lines}
    assert told == {word: names for word, names in by_kind.items() if names}


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = {
        name for document in DOCUMENTS for name in re.findall(r"(?m)(?:^|`)make ([a-z]+)", documents.read(document))
    }
    assert {"run", "test"} <= named
    assert not sorted(named - targets)


def test_the_version_heads_the_changelog() -> None:
    versions = re.findall(r"^## \[?([\w.]+)\]?(?: - Unreleased)?", documents.read("CHANGELOG.md"), re.MULTILINE)
    assert sidecar.__version__ in versions[:2]


@pytest.mark.parametrize(("document", "limit"), [("README.md", 150), ("ARCHITECTURE.md", 250)])
def test_a_document_is_short(document: str, limit: int) -> None:
    assert len(documents.read(document).splitlines()) <= limit
