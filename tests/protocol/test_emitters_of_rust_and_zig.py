"""The types in Rust and in Zig, which both have unions that take what is not listed."""

from typing import Any

import pytest

from protocol.emitters import rust, types, zig
from tests.protocol.test_emitters import TABLE


@pytest.mark.parametrize(
    "line",
    [
        "pub struct Content {",
        "    pub usage: Option<Usage>,",
        "    pub structured: Option<Structured>,",
        "    pub group: BTreeMap<String, Option<String>>,",
        "    pub r#type: ResponseFormatType,",
        '        RateLimited = "rate_limited",',
        '    Chunk by "type" {',
        '        ToolCallChunk = "tool_call",',
        "    List(Vec<Part>),",
        "    pub fn new(role: impl Into<Role>, content: impl Into<MessageContent>) -> Self {",
        "        type Reply = Either<Compared, CompareDone>;",
    ],
)
def test_rust_has_the_line(line: str) -> None:
    assert line in rust.emit(TABLE).splitlines()


def test_a_struct_in_rust_that_would_hold_itself_holds_it_in_a_box() -> None:
    line: dict[str, Any] = {"description": "", "anyOf": []}
    own = {"title": "S", "description": "", "properties": {"x": {"$ref": "#/$defs/S"}}}
    defs = {"S": own, "Request": line | {"title": "Request"}, "Line": line | {"title": "Line"}}
    assert "    pub x: Option<Box<S>>," in rust.emit(types.read_table(1, {}, defs)).splitlines()


@pytest.mark.parametrize(
    "line",
    [
        "pub const Content = struct {",
        "    usage: ?Usage = null,",
        "    content: []const u8,",
        "    group: std.json.ArrayHashMap(?[]const u8),",
        "    rate_limited,",
        '    @"models.dev",',
        "    tool_call: ToolCallChunk,",
        "    list: []const Part,",
        "    pub const jsonParse = json.Tagged(Chunk).jsonParse;",
    ],
)
def test_zig_has_the_line(line: str) -> None:
    assert line in zig.emit(TABLE).splitlines()
