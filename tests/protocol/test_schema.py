"""`protocol/schema.json`: fresh, valid, complete, and of one mind with the structs."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from protocol import results, schema
from protocol.emitters.names import camel
from protocol.requests import ACTIONS, PARAMS
from sidecar.core.errors import SidecarError
from sidecar.server import actions
from sidecar.server.framing import decode_envelope, decode_params
from tests.support import fixtures

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT: dict[str, Any] = msgspec.json.decode(schema.PATH.read_bytes())
DEFS: dict[str, Any] = DOCUMENT["$defs"]


def is_valid(value: Any, name: str) -> bool:
    """Return whether *value* is a *name* of the schema."""
    return bool(Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": DEFS}).is_valid(value))


def is_taken(value: Any) -> bool:
    """Return whether the program takes *value* as a request."""
    try:
        envelope = decode_envelope(msgspec.json.encode(value))
        decode_params(envelope.params, PARAMS[envelope.action])
    except (SidecarError, KeyError):
        return False
    return True


# --- the file --------------------------------------------------------------------------------


def test_every_generated_file_is_fresh() -> None:
    """Ours: after a change of the structs, `make schema`."""
    rendered = schema.render()
    assert {name: (schema.PATH.parent / name).read_text(encoding="utf-8") for name in rendered} == rendered


@pytest.mark.spawns
def test_the_file_does_not_depend_on_chance_or_on_the_order_of_hashing() -> None:
    script = "from protocol import schema; print(*schema.render().values(), sep='', end='')"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert done.stdout.decode() == "".join(schema.render().values())


@pytest.mark.long
def test_the_schema_is_one_of_draft_2020_12() -> None:
    Draft202012Validator.check_schema(DOCUMENT)
    assert DOCUMENT["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


@pytest.mark.long
def test_a_stale_file_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(schema, "PATH", tmp_path / "schema.json")
    assert schema.main(["--check"]) == 1
    assert schema.main([]) == 0
    assert schema.main(["--check"]) == 0
    assert capsys.readouterr().err.startswith("schema.json, methods.json, ")
    for stale in ("methods.json", "schema.json"):
        with (tmp_path / stale).open("a", encoding="utf-8") as file:
            file.write(" ")
    assert schema.main(["--check"]) == 1
    assert capsys.readouterr().err == "schema.json, methods.json: stale, run `make schema` and commit what it writes\n"


def test_an_unknown_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert schema.main(["--chekc"]) == 2
    assert capsys.readouterr().err.startswith("usage:")


# --- completeness ----------------------------------------------------------------------------


def test_every_action_has_a_request_and_an_answer() -> None:
    """Ours: one list of actions, wherever it is written down."""
    assert list(PARAMS) == list(ACTIONS) == list(actions.ACTIONS)
    assert {*results.ANSWERS, *schema.STREAMS} == set(PARAMS)
    for action in PARAMS:
        assert DEFS[f"{camel(action)}Request"]["properties"]["action"] == {"enum": [action]}


def test_every_struct_of_the_protocol_is_in_the_schema() -> None:
    modules = [importlib.import_module(f"protocol.{name}") for name in ("errors", "messages", "replies", "requests")]
    structs = {
        name
        for module in modules
        for name, each in vars(module).items()
        if isinstance(each, type) and issubclass(each, msgspec.Struct) and each is not msgspec.Struct
    }
    # The envelope is there once for each action; a reply likewise.
    assert structs - {"Envelope", "Reply"} <= DEFS.keys()


def test_every_reference_leads_to_a_definition() -> None:
    references = set(_references(DOCUMENT))
    assert references <= {f"#/$defs/{name}" for name in DEFS}
    assert len(references) > 30


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for each in value.values() for found in _references(each)]
    return [found for each in value for found in _references(each)] if isinstance(value, list) else []


def test_what_is_said_of_a_field_in_the_source_is_said_in_the_schema() -> None:
    described = DEFS["ErrorBody"]["properties"]["param"]["description"]
    assert described == "JSON path of the field at fault, such as `params.messages[0].role`."
    assert all(each["description"].strip() for each in DEFS.values())
    assert not [name for name, each in DEFS.items() if "\n" in each["description"] or "  " in each["description"]]


# --- agreement with the program --------------------------------------------------------------

CHAT = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


def chat(**more: Any) -> dict[str, Any]:
    """Return a request for a chat with *more* params."""
    return {"id": 1, "action": "stream_chat", "params": CHAT | more}


REQUESTS: list[tuple[dict[str, Any], bool]] = [
    ({"action": "ping"}, True),
    ({"id": "", "action": "ping", "params": {}}, True),
    ({"id": "x" * 128, "action": "ping"}, True),
    ({"id": "x" * 129, "action": "ping"}, False),
    ({"id": 2**63 - 1, "action": "ping"}, True),
    ({"id": 2**63, "action": "ping"}, False),
    ({"id": True, "action": "ping"}, False),
    ({"id": 1.5, "action": "ping"}, False),
    ({"id": None, "action": "ping"}, False),
    ({"id": 1}, False),
    ({"id": 1, "action": "dance"}, False),
    ({"id": 1, "action": "ping", "timeout": 0}, False),
    ({"id": 1, "action": "ping", "timeout": None}, True),
    ({"id": 1, "action": "ping", "timeout": 86_400_001}, False),
    ({"id": 1, "action": "ping", "provider": "no blanks"}, False),
    ({"id": 1, "action": "ping", "unknown": {"is": "ignored"}}, True),
    ({"id": 1, "action": "cancel"}, False),
    ({"id": 1, "action": "cancel", "params": {"id": "x"}}, True),
    ({"id": 1, "action": "initialize", "params": {"events": ["status"]}}, True),
    ({"id": 1, "action": "initialize", "params": {"events": ["everything"]}}, False),
    ({"id": 1, "action": "stream_chat"}, False),
    (chat(), True),
    (chat(messages=[]), False),
    (chat(model=""), False),
    (chat(messages=[{"role": "robot", "content": "x"}]), False),
    (chat(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}]}]), True),
    (chat(messages=[{"role": "user", "content": [{"type": "smell"}]}]), False),
    (chat(messages=[{"role": "user", "content": [{"text": "x"}]}]), False),
    (chat(options={"temperature": 2.5}), False),
    (chat(options={"temperature": 1}), True),
    (chat(options={"tool_choice": {"name": "f"}}), True),
    (chat(options={"tool_choice": "sometimes"}), False),
    (chat(options={"tools": [{"name": "f"}]}), True),
    (chat(options={"tools": [{"name": "f g"}]}), False),
    (chat(options={"reasoning": {"effort": "none"}}), True),
]


@pytest.mark.parametrize(("request_line", "good"), REQUESTS)
def test_schema_and_program_take_and_refuse_the_same_requests(request_line: dict[str, Any], good: bool) -> None:
    assert is_taken(request_line) is good
    assert is_valid(request_line, "Request") is good


@pytest.mark.long
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in fixtures.cases()])
def test_every_recorded_call_and_all_its_chunks_are_of_the_schema(case: fixtures.Case) -> None:
    assert is_valid({"action": "stream_chat", "params": case.call["params"]}, "StreamChatRequest")
    for chunk in case.expected[:-1] if case.has_reply else ():
        line = {"id": 1, "success": True, "streaming": True, "seq": 0, "data": chunk}
        assert is_valid(line, "Streamed"), chunk


def walk(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in *schema*."""
    if isinstance(schema, dict):
        yield schema
    for each in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from walk(each)


def test_nothing_stands_beside_a_reference_and_every_reference_leads_somewhere() -> None:
    references = [each for each in walk(DOCUMENT) if "$ref" in each]
    assert len(references) > 100
    assert all(len(each) == 1 and each["$ref"].removeprefix("#/$defs/") in DEFS for each in references)


@pytest.mark.parametrize("name", ["Id", "ReplyId", "Chunk", "LoginChunk", "Part", "FinishReason", "ErrorCode", "Role"])
def test_what_recurs_has_one_name(name: str) -> None:
    own = {key: value for key, value in DEFS[name].items() if key not in {"description", "title"}}
    assert {"$ref": f"#/$defs/{name}"} in list(walk(DOCUMENT))
    bare = [{k: v for k, v in each.items() if k not in {"description", "title"}} for each in walk(DOCUMENT)]
    same = [each for each, rest in zip(walk(DOCUMENT), bare, strict=True) if rest == own]
    assert same == [DEFS[name]]


def test_a_program_finds_the_types_of_each_action() -> None:
    actions = DOCUMENT["x-actions"]
    assert sorted(actions) == DEFS["Action"]["enum"] == sorted(PARAMS)
    assert all(path.removeprefix("#/$defs/") in DEFS for each in actions.values() for path in each.values())
    assert actions["stream_chat"] == {
        "params": "#/$defs/Chat",
        "request": "#/$defs/StreamChatRequest",
        "chunk": "#/$defs/Chunk",
        "done": "#/$defs/Done",
        "stream": "#/$defs/Streamed",
    }
    assert actions["authenticate"]["done"] == "#/$defs/LoggedIn"
    assert (DEFS["Request"]["title"], DEFS["Line"]["title"]) == ("Request", "Line")


def test_every_type_has_its_name_for_a_title_and_is_described() -> None:
    assert [name for name, each in DEFS.items() if each["title"] != name or not each["description"]] == []


def test_no_union_and_no_enumeration_is_without_a_name() -> None:
    """A generator would make up a name of its own, another one for each place."""

    def is_named(each: dict[str, Any]) -> bool:
        members = [own for own in each.get("anyOf", each.get("oneOf", ())) if own != {"type": "null"}]
        return (len(each.get("enum", ())) < 2 and len(members) < 2) or "title" in each

    assert [each for each in walk(DOCUMENT) if not is_named(each)] == []


LINES: list[tuple[dict[str, Any], str]] = [
    (
        {"id": 1, "success": True, "streaming": True, "seq": 0, "data": {"type": "content", "content": "x"}},
        "SomeStreamed",
    ),
    ({"id": 1, "success": True, "data": {"pong": True, "in_flight": 0}}, "SomeReply"),
    (
        {
            "id": None,
            "success": False,
            "error": {"code": "timeout", "message": "", "retryable": True, "partial": False},
        },
        "Failed",
    ),
    ({"event": "warning", "data": {"code": "x", "message": "x"}}, "Event"),
]


@pytest.mark.parametrize(("line", "name"), LINES, ids=[name for _, name in LINES])
def test_of_the_shapes_of_a_line_exactly_one_fits(line: dict[str, Any], name: str) -> None:
    shapes = [each["$ref"].removeprefix("#/$defs/") for each in DEFS["Line"]["oneOf"]]
    assert [shape for shape in shapes if is_valid(line, shape)] == [name]
    assert is_valid(line, "Line")


def test_of_a_union_whose_members_have_types_exactly_one_fits() -> None:
    def find_unions(value: Any) -> list[dict[str, Any]]:
        if isinstance(value, list):
            return [each for entry in value for each in find_unions(entry)]
        if not isinstance(value, dict):
            return []
        return [value] * ("discriminator" in value) + find_unions([*value.values()])

    unions = find_unions(DOCUMENT)
    assert len(unions) >= 8
    for union in unions:
        assert "anyOf" not in union
        mapping = union["discriminator"]["mapping"]
        assert sorted(mapping.values()) == sorted(each["$ref"] for each in union["oneOf"])


@pytest.mark.spawns
def test_the_types_of_the_protocol_can_be_torn_down() -> None:
    """A mistake of msgspec's, met by a list beside a string with a pattern, ends an interpreter with a signal."""
    script = (
        "import msgspec\n"
        "from protocol.requests import PARAMS, Envelope\n"
        "from protocol.replies import Done, Start\n"
        "for kind in (*PARAMS.values(), Envelope, Done, Start):\n"
        "    try: msgspec.convert({}, kind)\n"
        "    except msgspec.ValidationError: pass\n"
    )
    env = os.environ | {"PYTHONMALLOC": "debug"}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, check=False, timeout=60)
    assert done.returncode == 0
