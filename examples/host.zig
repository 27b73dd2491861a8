//! A host over the client in Zig: it streams, runs a tool, cancels, and outlives its sidecar.
const std = @import("std");
const client = @import("client");
const hello: client.types.Message = .{ .role = .user, .content = .{ .text = "Hello" } };
var io: std.Io = undefined;
fn ask(model: []const u8) client.types.Chat {
    return .{ .model = model, .messages = &.{hello}, .options = .{ .tool_loop = .{} } };
}
fn findWeather(arena: std.mem.Allocator, arguments: std.json.ObjectMap) ![]const u8 {
    return std.fmt.allocPrint(arena, "4 degrees in {s}", .{(arguments.get("city") orelse return error.NoCity).string});
}
fn say(comptime format: []const u8, values: anytype) void {
    var buffer: [4096]u8 = undefined;
    std.Io.File.stdout().writeStreamingAll(io, std.fmt.bufPrint(&buffer, format, values) catch return) catch {};
}
fn showEnd(_: ?*anyopaque, event: client.Event) void {
    if (event == .exit) say("[ended, restarting: {}]\n", .{event.exit.restarting});
}
pub fn main(init: std.process.Init) !void {
    io, const arena, const command = .{ init.io, init.arena.allocator(), client.findCommand(init.environ_map) };
    const sidecar: client.Sidecar = try .init(init.gpa, io, .{ .command = &.{command}, .onEvent = showEnd });
    defer sidecar.deinit();
    sidecar.start();
    const tool: client.Tool = .{ .name = "weather", .run = findWeather };
    const chat = try sidecar.request(client.types.actions.stream_chat, ask("replay/tool_call"), .{ .tools = &.{tool} });
    defer chat.deinit();
    while (try chat.next(arena)) |chunk| if (chunk == .content) say("{s}", .{chunk.content.content});
    const done = try chat.reply(arena);
    say("\n[{t}, rounds: {d}]\n", .{ done.finish_reason, done.rounds.?.len });
    for ([_]bool{ true, false }) |cancelled| {
        const call = try sidecar.request(client.types.actions.stream_chat, ask("replay/slow"), .{});
        defer call.deinit();
        while (try call.next(arena)) |chunk| if (chunk == .content) break;
        if (cancelled) call.cancel() else sidecar.kill();
        _ = call.reply(arena) catch say("[{s}]\n", .{(try call.failure(arena)).code});
    }
    const ping = try sidecar.request(client.types.actions.ping, .{}, .{ .deadline_ms = 10_000 });
    defer ping.deinit();
    say("{any}\n", .{try ping.reply(arena)});
}
