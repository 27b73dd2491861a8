//! The lines that come, what the table of open requests knows of each, and the tools that it runs.

const std = @import("std");
const Allocator = std.mem.Allocator;
const client = @import("client.zig");
const json = @import("json.zig");
const types = @import("types.zig");
const Core = @import("core.zig").Core;
const Output = @import("process.zig").Output;

/// What happens.
pub const Input = union(enum) {
    start,
    request: struct { id: u64, deadline_ms: ?u64, entry: Entry },
    cancel: u64,
    kill,
    close,
    stop,
    /// Something of the process with this number.
    output: struct { number: u64, output: Output },
    /// A line of `tool_result` without its id.
    result: []u8,

    pub fn deinit(input: Input, gpa: Allocator) void {
        switch (input) {
            .output => |output| switch (output.output) {
                .lines, .stderr => |bytes| gpa.free(bytes),
                else => {},
            },
            .result => |line| gpa.free(line),
            else => {},
        }
    }
};

pub const cancelled = "{\"code\":\"cancelled\",\"message\":\"The request was cancelled.\"}";
pub const closed = "{\"code\":\"shutting_down\",\"message\":\"The client was closed.\"}";

pub const Line = struct {
    id: ?json.Raw = null,
    success: bool = false,
    streaming: bool = false,
    data: ?json.Raw = null,
    @"error": ?json.Raw = null,
    event: ?json.Raw = null,

    /// Return the id if it may be one of the client's, or else 0.
    pub fn readId(line: Line) u64 {
        const text = if (line.id) |id| id.text else "";
        return std.fmt.parseInt(u64, text, 10) catch 0;
    }

    pub fn isChunk(line: Line, arena: Allocator) bool {
        const data = line.data orelse return false;
        return line.streaming and !std.mem.eql(u8, readTag(arena, data.text), "done");
    }
};

fn readTag(arena: Allocator, text: []const u8) []const u8 {
    const Tag = struct { type: []const u8 = "" };
    return (json.read(Tag, arena, text) catch Tag{}).type;
}

/// What the table of open requests knows of one.
pub const Entry = struct {
    /// Null once it is sent.
    line: ?[]u8,
    purpose: Purpose,
    sent: bool = false,
    has_chunks: bool = false,
    /// `sent`: the sidecar does not know yet. `found`: it does, and no success comes any more.
    cancelling: enum { no, sent, found } = .no,
    tools: []const client.Tool = &.{},
    /// JSON of the calls that no round has asked for yet.
    calls: std.ArrayList([]u8) = .empty,

    /// Where the end of a request goes. `cancel`: it asks the sidecar to cancel the request with this id.
    pub const Purpose = union(enum) { host: *client.Call, initialize, cancel: u64, result };

    pub fn deinit(entry: *Entry, gpa: Allocator) void {
        if (entry.line) |line| gpa.free(line);
        for (entry.calls.items) |call| gpa.free(call);
        entry.calls.deinit(gpa);
    }
};

/// Take a line of stdout.
pub fn readLine(core: *Core, text: []const u8) void {
    if (std.mem.trim(u8, text, " \t\r").len == 0) return;
    var arena: std.heap.ArenaAllocator = .init(core.gpa);
    defer arena.deinit();
    const line = json.read(Line, arena.allocator(), text) catch {
        return core.report(.{ .problem = "The sidecar has written a line that cannot be read." });
    };
    const id = line.readId();
    const entry = core.open.getPtr(id) orelse return readStray(core, line, id);
    if (line.isChunk(arena.allocator())) {
        entry.has_chunks = true;
        if (entry.cancelling == .no) takeChunk(core, id, entry, line.data.?.text);
    } else if (line.success and entry.cancelling != .found) {
        core.settle(id, .{ .done = if (line.data) |data| data.text else "null" });
    } else {
        core.settle(id, .{ .failed = if (line.@"error") |body| body.text else cancelled });
    }
}

fn readStray(core: *Core, line: Line, id: u64) void {
    if (line.event != null) {
        core.report(.{ .warning = if (line.data) |data| data.text else "null" });
    } else if (id == 0 or id > core.last_id.load(.monotonic)) {
        // A request that has expired may still have lines on their way.
        core.report(.{ .problem = "A line of the sidecar's belongs to no request." });
    }
}

fn takeChunk(core: *Core, id: u64, entry: *Entry, text: []const u8) void {
    if (entry.tools.len > 0) runTools(core, id, entry, text);
    if (entry.purpose == .host) entry.purpose.host.replies.put(core.io, core.gpa, .{ .chunk = core.copy(text) });
}

/// Keep a call, or run those of a round, each in a task of its own.
fn runTools(core: *Core, id: u64, entry: *Entry, text: []const u8) void {
    var arena: std.heap.ArenaAllocator = .init(core.gpa);
    defer arena.deinit();
    const tag = readTag(arena.allocator(), text);
    if (std.mem.eql(u8, tag, "tool_call")) {
        const call = core.gpa.dupe(u8, text) catch @panic("out of memory");
        entry.calls.append(core.gpa, call) catch @panic("out of memory");
    } else if (std.mem.eql(u8, tag, "tool_round")) {
        // A round asks for all calls before it.
        for (entry.calls.items) |call| {
            core.tasks.concurrent(core.io, runTool, .{ core, id, entry.tools, call }) catch core.gpa.free(call);
        }
        entry.calls.clearRetainingCapacity();
    }
}

fn runTool(core: *Core, id: u64, tools: []const client.Tool, text: []u8) void {
    defer core.gpa.free(text);
    var arena: std.heap.ArenaAllocator = .init(core.gpa);
    defer arena.deinit();
    const chunk = json.read(types.ToolCallChunk, arena.allocator(), text) catch return;
    const call = chunk.tool_call;
    var is_error: ?bool = null;
    const content = findResult(arena.allocator(), tools, call) catch |problem| text: {
        is_error = true;
        break :text switch (problem) {
            error.NoSuchTool => "There is no such tool.",
            error.NoArguments => "The arguments are not a JSON object.",
            else => @errorName(problem),
        };
    };
    const result: types.ToolResult = .{ .id = call.id, .content = .{ .text = content }, .is_error = is_error };
    const params: types.SendToolResult = .{ .id = .{ .integer = @intCast(id) }, .results = &.{result} };
    core.put(.{ .result = json.write(core.gpa, params) catch @panic("out of memory") });
}

fn findResult(arena: Allocator, tools: []const client.Tool, call: types.ToolCall) anyerror![]const u8 {
    for (tools) |tool| {
        if (!std.mem.eql(u8, tool.name, call.name)) continue;
        const arguments = call.arguments orelse return error.NoArguments;
        return tool.run(arena, arguments.map);
    }
    return error.NoSuchTool;
}
