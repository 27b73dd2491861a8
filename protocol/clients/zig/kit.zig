//! The driver of the conformance kit (protocol/KIT.md): carries out operations, and reports what happens.

const std = @import("std");
const client = @import("client");
const json = client.json;

const Operation = struct {
    op: []const u8,
    id: json.Raw = .{ .text = "null" },
    action: []const u8 = "",
    provider: ?[]const u8 = null,
    params: json.Raw = .{ .text = "{}" },
    deadline_ms: ?u64 = null,
};

const Asked = struct { id: []const u8, call: *client.Call };

const Driver = struct {
    gpa: std.mem.Allocator,
    io: std.Io,
    mutex: std.Io.Mutex = .init,

    fn report(driver: *Driver, event: []const u8, fields: anytype) void {
        var line: std.ArrayList(u8) = .empty;
        defer line.deinit(driver.gpa);
        line.print(driver.gpa, "{{\"event\":\"{s}\"", .{event}) catch return;
        inline for (comptime std.meta.fieldNames(@TypeOf(fields))) |name| {
            const text = json.write(driver.gpa, @field(fields, name)) catch return;
            defer driver.gpa.free(text);
            line.print(driver.gpa, ",\"{s}\":{s}", .{ name, text }) catch return;
        }
        line.appendSlice(driver.gpa, "}\n") catch return;
        driver.mutex.lockUncancelable(driver.io);
        defer driver.mutex.unlock(driver.io);
        std.Io.File.stdout().writeStreamingAll(driver.io, line.items) catch {};
    }

    fn reportEvent(context: ?*anyopaque, event: client.Event) void {
        const driver: *Driver = @ptrCast(@alignCast(context));
        var arena: std.heap.ArenaAllocator = .init(driver.gpa);
        defer arena.deinit();
        switch (event) {
            .ready => |data| {
                const Initialized = struct { protocol_version: json.Raw };
                const initialized = json.read(Initialized, arena.allocator(), data) catch return;
                driver.report("ready", .{ .protocol_version = initialized.protocol_version });
            },
            .warning => |data| driver.report("unsolicited", .{ .data = json.Raw{ .text = data } }),
            .exit => |exit| driver.report("exit", exit),
            .refused => |body| {
                const failure = json.read(client.Failure, arena.allocator(), body) catch return;
                driver.report("refused", .{ .reason = failure.reason orelse failure.code });
            },
            .problem => |problem| std.debug.print("{s}\n", .{problem}),
        }
    }

    fn follow(driver: *Driver, asked: Asked) void {
        const id: json.Raw = .{ .text = asked.id };
        while (true) switch (asked.call.next() catch return) {
            .chunk => |data| driver.report("chunk", .{ .id = id, .data = json.Raw{ .text = data } }),
            .done => |data| return driver.report("done", .{ .id = id, .data = json.Raw{ .text = data } }),
            .failed => |body| return driver.report("error", .{ .id = id, .@"error" = json.Raw{ .text = body } }),
        };
    }
};

pub fn main(init: std.process.Init) !void {
    const io, const arena = .{ init.io, init.arena.allocator() };
    var driver: Driver = .{ .gpa = init.gpa, .io = io };
    const backoff = init.environ_map.get("SIDECAR_BACKOFF_MS") orelse "1000";
    const sidecar: client.Sidecar = try .init(init.gpa, io, .{
        .command = &.{init.environ_map.get("SIDECAR_COMMAND").?},
        .backoff_ms = try std.fmt.parseInt(u64, backoff, 10),
        .initialize = .{ .client = .{ .name = "kit" }, .events = &.{ .status, .warnings } },
        .onEvent = Driver.reportEvent,
        .context = &driver,
    });
    defer sidecar.deinit();
    var followers: std.Io.Group = .init;
    var all: std.ArrayList(Asked) = .empty;
    defer for (all.items) |asked| asked.call.deinit();
    const buffer = try arena.alloc(u8, 1 << 16);
    var stdin = std.Io.File.stdin().readerStreaming(io, buffer);
    while (true) {
        var line: std.Io.Writer.Allocating = .init(arena);
        _ = try stdin.interface.streamDelimiterEnding(&line.writer, '\n');
        if (stdin.interface.bufferedLen() > 0) stdin.interface.toss(1);
        if (line.written().len == 0) break;
        const op = try json.read(Operation, arena, line.written());
        if (std.mem.eql(u8, op.op, "start")) {
            sidecar.start();
        } else if (std.mem.eql(u8, op.op, "request")) {
            const options: client.RequestOptions = .{ .provider = op.provider, .deadline_ms = op.deadline_ms };
            const asked: Asked = .{ .id = op.id.text, .call = try sidecar.send(op.action, op.params, options) };
            try all.append(arena, asked);
            try followers.concurrent(io, Driver.follow, .{ &driver, asked });
        } else if (std.mem.eql(u8, op.op, "cancel")) {
            // The last request of this name is the one that may be open.
            var rest = std.mem.reverseIterator(all.items);
            while (rest.next()) |asked| if (std.mem.eql(u8, asked.id, op.id.text)) break asked.call.cancel();
        } else break;
    }
    sidecar.close();
    try followers.await(io);
}
