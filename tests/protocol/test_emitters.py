"""The table of types that the clients' types are made of, and the files that are made of it."""

import re
from typing import Any

import msgspec
import pytest

from protocol import schema
from protocol.emitters import lua, methods, names, python, text, types, typescript
from protocol.emitters.types import (
    Constant,
    Enumeration,
    Field,
    ListOf,
    MapOf,
    Mixed,
    Nullable,
    Ref,
    Scalar,
    Struct,
    Tagged,
    Type,
)
from protocol.requests import ACTIONS

TYPES = schema.build_types()
TABLE = types.read_table(1, schema.build(TYPES)["x-actions"], TYPES)


def struct(name: str) -> Struct:
    """Return the struct *name* of the protocol."""
    found = TABLE.types[name]
    assert isinstance(found, Struct)
    return found


def field(name: str, of: str) -> Field:
    """Return the field *name* of the struct *of*."""
    return next(each for each in struct(of).fields if each.name == name)


def inner(type_: Type) -> list[Type]:
    """Return *type_* and all that it is made of."""
    match type_:
        case ListOf(own) | MapOf(own) | Nullable(own):
            return [type_, *inner(own)]
    return [type_]


# --- the table -------------------------------------------------------------------------------


def test_every_type_that_is_referred_to_is_in_the_table() -> None:
    used = [own.type for each in TABLE.types.values() if isinstance(each, Struct) for own in each.fields]
    used += [own for each in TABLE.types.values() if isinstance(each, Mixed) for own in each.members]
    referred = {part.name for own in used for part in inner(own) if isinstance(part, Ref)}
    referred |= {name for each in TABLE.types.values() if isinstance(each, Tagged) for _, name in each.members}
    assert len(referred) > 80
    assert referred <= TABLE.types.keys()


def test_a_tag_tells_the_members_of_a_union_apart() -> None:
    unions = [each for each in TABLE.types.values() if isinstance(each, Tagged)]
    assert {"Chunk", "Part", "Output", "Request"} <= {each.name for each in unions}
    for union in unions:
        assert len({tag for tag, _ in union.members}) == len(union.members)
        for tag, name in union.members:
            assert field(union.tag, of=name).type == Constant(tag)


def test_members_of_other_unions_differ_in_their_type_of_json() -> None:
    json = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean"}

    def kind(type_: Type) -> str:
        match type_:
            case Scalar(name):
                return json[name]
            case Constant(value):
                return "string" if isinstance(value, str) else "boolean"
            case ListOf():
                return "array"
            case Ref(name) if isinstance(TABLE.types[name], Enumeration):
                return "string"
        return "object"

    unions = [each for each in TABLE.types.values() if isinstance(each, Mixed) and each.name != "Line"]
    assert len(unions) > 5
    for union in unions:
        assert len({kind(each) for each in union.members}) == len(union.members), union


def test_a_field_says_whether_it_may_be_absent_or_null() -> None:
    assert field("usage", of="Done")[1:4] == (Ref("Usage"), True, True)
    assert field("wait_ms", of="Status")[1:4] == (Scalar("integer"), False, True)
    assert field("structured", of="Done")[1:4] == (Ref("Structured"), False, False)
    assert field("value", of="Structured")[1:4] == (Scalar("any"), True, False)
    assert field("group", of="UsageGroup").type == MapOf(Nullable(Scalar("string")))
    assert field("messages", of="Chat").type == ListOf(Ref("Message"))


def test_a_field_keeps_its_description_and_default_beside_a_reference() -> None:
    assert field("tolerance", of="ApplyEdit").default == "elision"
    assert field("structured", of="Done").doc.startswith("Present only if `response_format`")
    assert field("structured", of="BranchDone").doc == field("structured", of="Done").doc


def test_a_type_says_who_writes_it() -> None:
    assert (struct("Chat").sent, struct("Chat").received) == (True, False)
    assert (struct("Done").sent, struct("Done").received) == (False, True)
    assert (struct("Message").sent, struct("Message").received) == (True, True)


def test_whole_lines_are_no_bodies() -> None:
    bodies = {each.name for each in TABLE.bodies()}
    assert {"Chunk", "Done", "Chat", "ErrorBody", "ErrorCode"} <= bodies
    assert bodies.isdisjoint({"Request", "Line", "PingRequest", "PingReply", "Streamed", "Failed", "Event"})


def test_an_action_names_its_types_and_says_whether_it_needs_parameters() -> None:
    assert [each.name for each in TABLE.actions] == list(ACTIONS)
    by_name = {each.name: each for each in TABLE.actions}
    assert by_name["compare"][2:] == ("Compare", True, "Compared", "CompareChunk", "CompareDone")
    assert by_name["ping"][2:] == ("Nothing", False, "Pong", None, None)


def test_a_type_without_a_name_is_refused() -> None:
    line: dict[str, Any] = {"description": "", "anyOf": []}
    own = {"title": "S", "description": "", "properties": {"x": {"enum": ["a", "b"]}}}
    defs = {"S": own, "Request": line | {"title": "Request"}, "Line": line | {"title": "Line"}}
    with pytest.raises(ValueError, match="a type without a name"):
        types.read_table(1, {}, defs)


def test_two_types_of_one_name_are_refused() -> None:
    word = {"enum": ["a", "b"]}
    own = {"title": "S", "description": "A struct.", "properties": {"x": word}}
    with pytest.raises(ValueError, match="two types are called S"):
        names.name_types({"S": own}, {"S": (word, "A word.")})


# --- methods.json ----------------------------------------------------------------------------


def test_the_methods_say_how_each_action_ends() -> None:
    rows = msgspec.json.decode(methods.emit(TABLE))["actions"]
    assert list(rows) == list(ACTIONS)
    assert rows["ping"] == {"params": "Nothing", "params_required": False, "terminal": ["line"], "answer": "Pong"}
    assert rows["stream_chat"]["terminal"] == ["stream"]
    assert {"start", "content", "done"} <= set(rows["stream_chat"]["chunks"])
    assert rows["list_models"]["terminal"] == ["line", "stream"]
    named = {row[key] for row in rows.values() for key in ("params", "answer", "chunk", "done") if key in row}
    assert named <= TABLE.types.keys()


# --- TypeScript ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "export interface Content {",
        '  type: "content";',
        "  usage: Usage | null;",
        "  structured?: Structured;",
        "  group: Record<string, string | null>;",
        "export type MessageContent = string | Part[];",
        "export type ReplyId = number | string | null;",
        '  | "rate_limited"',
        "  | (string & {});",
        'export type OptionsCache = "auto" | "off";',
        "  stream_chat: { params: Chat; chunk: Chunk; reply: Done };",
        "  compare: { params: Compare; chunk: CompareChunk; reply: Compared | CompareDone };",
        "  /** JSON path of the field at fault, such as `params.messages[0].role`. */",
    ],
)
def test_typescript_has_the_line(line: str) -> None:
    assert line in typescript.emit(TABLE).splitlines()


# --- Lua -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "---@class sidecar.Content",
        '---@field type "content"',
        "---@field usage sidecar.Usage|vim.NIL",
        "---@field code_omitted? true",
        "---@field found boolean False if no request with that id was open; its terminal line is already written.",
        "---@alias sidecar.MessageContent string|sidecar.Part[]",
        '---| "rate_limited"',
        "---| sidecar.ToolCallChunk",
        '---| "stream_chat"',
    ],
)
def test_lua_has_the_line(line: str) -> None:
    assert line in lua.emit(TABLE).splitlines()


# --- Python ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "class Content(TypedDict):",
        '    type: Literal["content"]',
        "    usage: Usage | None",
        "    structured: NotRequired[Structured]",
        "    wait_ms: NotRequired[int | None]",
        "    group: dict[str, str | None]",
        "MessageContent: TypeAlias = str | list[Part]",
        'OptionsCache: TypeAlias = Literal["auto", "off"]',
        '    "rate_limited",',
        '    """JSON path of the field at fault, such as `params.messages[0].role`."""',
    ],
)
def test_python_has_the_line(line: str) -> None:
    assert line in python.emit(TABLE).splitlines()


# --- all -------------------------------------------------------------------------------------


def test_no_language_leaves_a_type_out() -> None:
    """And none has one of whole lines, which the runtime of a client takes apart."""
    names_of_bodies = {each.name for each in TABLE.bodies()}
    defined = {
        typescript: r"^export (?:interface|type) (\w+)",
        lua: r"^---@(?:class|alias) sidecar\.(\w+)",
        python: r"^(?:class )?(\w+)(?:\(TypedDict\)|: TypeAlias)",
    }
    for emitter, pattern in defined.items():
        found = set(re.findall(pattern, emitter.emit(TABLE), re.MULTILINE))
        assert found - {"Actions", "AnyChunk"} == names_of_bodies, emitter.__name__


def test_a_comment_is_cut_between_words() -> None:
    lines = text.wrap("word " * 60, "  -- ")
    assert len(lines) == 3
    assert all(line.startswith("  -- word") and len(line) <= text.WIDTH for line in lines)
    assert text.wrap("", "# ") == []
    assert text.wrap("x" * 200, "# ") == ["# " + "x" * 200]
