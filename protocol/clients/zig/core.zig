//! The task of the client. It alone knows the process, the open requests and the timers: hosts, the readers of the
//! pipes and the tools send it what happens.

const std = @import("std");
const Allocator = std.mem.Allocator;
const Io = std.Io;
const client = @import("client.zig");
const entries = @import("entries.zig");
const json = @import("json.zig");
const timers = @import("timers.zig");
const types = @import("types.zig");
const Entry = entries.Entry;
const Input = entries.Input;
const Output = @import("process.zig").Output;
const Process = @import("process.zig").Process;
const Queue = @import("process.zig").Queue;

/// A process that works for so long is no failure in a row.
const steady_ms = 60_000;
/// How long a process may live on when its stdout has ended.
const mute_ms = 200;
/// How long what has inherited the pipes of a process may hold them open after its end.
const drain_ms = 1000;
pub const Core = struct {
    gpa: Allocator,
    io: Io,
    options: client.Options,
    inputs: Queue(Input) = .{},
    last_id: std.atomic.Value(u64) = .init(0),
    group: Io.Group = .init,
    tasks: Io.Group = .init,
    closed: Io.Event = .unset,

    // What follows belongs to the task of the client.
    process: ?Process = null,
    /// How many processes there were.
    number: u64 = 0,
    ready_at_ms: ?i64 = null,
    /// How the process has ended, whose output is still read.
    end: ?std.process.Child.Term = null,
    refused: ?[]u8 = null,
    closing: bool = false,
    open: std.array_hash_map.Auto(u64, Entry) = .empty,
    restarts: u6 = 0,
    timers: std.PriorityQueue(timers.Timer, void, timers.Timer.compare) = .empty,

    pub fn create(gpa: Allocator, io: Io, options: client.Options) !*Core {
        const core = try gpa.create(Core);
        errdefer gpa.destroy(core);
        core.* = .{ .gpa = gpa, .io = io, .options = options };
        try core.group.concurrent(io, run, .{core});
        return core;
    }

    /// End the task, and free what is left. The sidecar is closed before.
    pub fn destroy(core: *Core) void {
        core.put(.stop);
        core.group.await(core.io) catch {};
        core.tasks.cancel(core.io);
        for (core.inputs.items.items[core.inputs.first..]) |input| input.deinit(core.gpa);
        core.inputs.items.deinit(core.gpa);
        for (core.open.values()) |*entry| entry.deinit(core.gpa);
        core.open.deinit(core.gpa);
        core.timers.deinit(core.gpa);
        if (core.refused) |refused| core.gpa.free(refused);
        core.gpa.destroy(core);
    }

    pub fn put(core: *Core, input: Input) void {
        core.inputs.put(core.io, core.gpa, input);
    }

    pub fn takeOutput(core: *Core, number: u64, output: Output) void {
        core.put(.{ .output = .{ .number = number, .output = output } });
    }

    pub fn takeId(core: *Core) u64 {
        return core.last_id.fetchAdd(1, .monotonic) + 1;
    }

    pub fn waitUntilClosed(core: *Core) void {
        core.closed.waitUncancelable(core.io);
    }

    /// Return the line of a request, its LF included.
    pub fn writeRequest(gpa: Allocator, id: u64, action: []const u8, provider: ?[]const u8, params: anytype) ![]u8 {
        const line = try json.write(gpa, .{ .id = id, .action = action, .provider = provider, .params = params });
        defer gpa.free(line);
        return std.mem.concat(gpa, u8, &.{ line, "\n" });
    }

    fn run(core: *Core) void {
        while (true) {
            const input = core.inputs.get(core.io, timers.findWait(core)) catch return;
            if (input) |what| {
                if (what == .stop) return;
                core.take(what);
            }
            core.look();
            timers.expire(core);
            if (core.closing and core.process == null) core.closed.set(core.io);
        }
    }

    fn take(core: *Core, input: Input) void {
        switch (input) {
            .start => if (core.process == null and !core.closing) {
                core.setRefused(null);
                core.spawn();
            },
            .request => |request| core.add(request.id, request.deadline_ms, request.entry),
            .cancel => |id| core.cancel(id),
            .kill => if (core.end == null) if (core.process) |*process| process.signal(.KILL),
            .close => core.close(),
            .stop => {},
            .output => |output| {
                if (output.number == core.number) core.readOutput(output.output);
                input.deinit(core.gpa);
            },
            .result => |result| {
                defer core.gpa.free(result);
                core.sendOwn("tool_result", json.Raw{ .text = result }, .result);
            },
        }
    }

    fn close(core: *Core) void {
        if (core.closing) return;
        core.closing = true;
        core.failAll(.waiting, entries.closed);
        if (core.process) |*process| {
            process.closeStdin();
            core.setTimer(core.options.grace_ms, .terminate, core.number);
            core.setTimer(core.options.grace_ms * 2, .kill, core.number);
        }
    }

    // --- the process -------------------------------------------------------------------------

    pub fn spawn(core: *Core) void {
        core.number += 1;
        const command = core.options.command;
        core.process = Process.spawn(core.gpa, core.io, &core.tasks, command, core, core.number) catch |problem| {
            const message = core.print("{s}: {s}", .{ command[0], @errorName(problem) });
            defer core.gpa.free(message);
            core.setRefused(core.writeFailure(.{ .code = "spawn_failed", .message = message }));
            core.failAll(.any, core.refused.?);
            return core.report(.{ .exit = .{ .code = null, .restarting = false, .stderr = message } });
        };
        core.setTimer(core.options.start_ms, .kill, core.number);
        var params = core.options.initialize;
        params.protocol_version = params.protocol_version orelse types.protocol_version;
        core.sendOwn("initialize", params, .initialize);
    }

    fn readOutput(core: *Core, output: Output) void {
        const process = if (core.process) |*process| process else return;
        switch (output) {
            .lines => |lines| {
                var rest = std.mem.splitScalar(u8, lines, '\n');
                while (rest.next()) |line| entries.readLine(core, line);
            },
            .stderr => |bytes| process.keepStderr(bytes),
            .stderr_end => process.stderr_ended = true,
            .stdout_end => {
                process.stdout_ended = true;
                // It can answer nothing any more, and may never end by itself.
                if (!process.is_closed) core.setTimer(mute_ms, .kill_mute, core.number);
            },
        }
    }

    /// See whether the process has ended. Its output is read to the end, unless a child of its own holds the pipes.
    pub fn look(core: *Core) void {
        const process = if (core.process) |*process| process else return;
        if (core.end == null) {
            core.end = process.findEnd() orelse return;
            core.setTimer(drain_ms, .drained, core.number);
        }
        if (process.stdout_ended and process.stderr_ended) core.finish();
    }

    pub fn finish(core: *Core) void {
        var process = core.process.?;
        const code: ?u8 = if (core.end.? == .exited) core.end.?.exited else null;
        process.closeStdin();
        if (core.ready_at_ms) |since| if (core.now() - since > steady_ms) {
            core.restarts = 0;
        };
        core.process = null;
        core.end = null;
        core.ready_at_ms = null;
        const restarting = code != 2 and !core.closing and core.refused == null;
        const stderr = process.stderr.items;
        if (!restarting and !core.closing and core.refused == null) {
            const message = std.mem.trim(u8, stderr, " \r\n");
            core.setRefused(core.writeFailure(.{ .code = "sidecar_exited", .message = message }));
        }
        core.failSent(code);
        if (core.refused) |refused| core.failAll(.any, refused);
        if (restarting) {
            const delay_ms = @min(core.options.backoff_ms <<| core.restarts, core.options.max_backoff_ms);
            core.restarts +|= 1;
            core.setTimer(delay_ms, .restart, core.number);
        }
        core.report(.{ .exit = .{ .code = code, .restarting = restarting, .stderr = stderr } });
        process.stderr.deinit(core.gpa);
    }

    fn failSent(core: *Core, code: ?u8) void {
        const message = if (code) |number|
            core.print("The sidecar has ended ({d}).", .{number})
        else
            core.print("The sidecar has ended (by a signal).", .{});
        defer core.gpa.free(message);
        for ([_]bool{ false, true }) |partial| {
            const body = .{ .code = "sidecar_exited", .message = message, .retryable = true, .partial = partial };
            const failure = core.writeFailure(body);
            defer core.gpa.free(failure);
            core.failAll(if (partial) .begun else .silent, failure);
        }
    }

    // --- requests ----------------------------------------------------------------------------

    fn add(core: *Core, id: u64, deadline_ms: ?u64, entry: Entry) void {
        core.open.put(core.gpa, id, entry) catch @panic("out of memory");
        if (deadline_ms) |limit_ms| {
            core.setTimer(limit_ms, .deadline, id);
        }
        if (core.closing) {
            core.settle(id, .{ .failed = entries.closed });
        } else if (core.refused) |refused| {
            core.settle(id, .{ .failed = refused });
        } else if (core.ready_at_ms != null) core.send(id);
    }

    fn send(core: *Core, id: u64) void {
        const process = if (core.process) |*process| process else return;
        const entry = core.open.getPtr(id).?;
        entry.sent = true;
        process.write(entry.line.?);
        entry.line = null;
    }

    /// Send a request of the client's own.
    fn sendOwn(core: *Core, action: []const u8, params: anytype, purpose: Entry.Purpose) void {
        const id = core.takeId();
        const line = writeRequest(core.gpa, id, action, null, params) catch @panic("out of memory");
        core.open.put(core.gpa, id, .{ .line = line, .purpose = purpose }) catch @panic("out of memory");
        core.send(id);
    }

    const End = union(enum) { done: []const u8, failed: []const u8 };

    pub fn settle(core: *Core, id: u64, end: End) void {
        var removed = core.open.fetchSwapRemove(id) orelse return;
        const purpose = removed.value.purpose;
        removed.value.deinit(core.gpa);
        switch (purpose) {
            .host => |call| {
                call.replies.put(core.io, core.gpa, switch (end) {
                    .done => |data| .{ .done = core.copy(data) },
                    .failed => |body| .{ .failed = core.copy(body) },
                });
                call.release();
            },
            .initialize => core.takeInitialized(end),
            .cancel => |target| core.takeCancelled(target, end),
            .result => {},
        }
    }

    fn failAll(core: *Core, which: enum { any, waiting, silent, begun }, failure: []const u8) void {
        var ids = core.listIds();
        defer ids.deinit(core.gpa);
        for (ids.items) |id| {
            const entry = core.open.getPtr(id) orelse continue;
            const is_meant = switch (which) {
                .any => true,
                .waiting => !entry.sent,
                .silent => entry.sent and !entry.has_chunks,
                .begun => entry.sent and entry.has_chunks,
            };
            if (is_meant) core.settle(id, .{ .failed = failure });
        }
    }

    /// Return the ids of the open requests, the oldest first.
    fn listIds(core: *Core) std.ArrayList(u64) {
        var ids: std.ArrayList(u64) = .empty;
        ids.appendSlice(core.gpa, core.open.keys()) catch @panic("out of memory");
        std.mem.sort(u64, ids.items, {}, std.sort.asc(u64));
        return ids;
    }

    fn takeInitialized(core: *Core, end: End) void {
        var arena: std.heap.ArenaAllocator = .init(core.gpa);
        defer arena.deinit();
        switch (end) {
            .failed => |body| {
                const failure = json.read(client.Failure, arena.allocator(), body) catch client.Failure{ .code = "" };
                if (!std.mem.eql(u8, failure.code, "sidecar_exited")) core.refuse(core.copy(body));
            },
            .done => |data| {
                const Version = struct { protocol_version: i64 = 0 };
                const version = (json.read(Version, arena.allocator(), data) catch Version{}).protocol_version;
                if (version != types.protocol_version) {
                    const both = .{ version, types.protocol_version };
                    const message = core.print("The sidecar speaks version {d} of the protocol, not {d}.", both);
                    defer core.gpa.free(message);
                    return core.refuse(core.writeFailure(.{ .code = "protocol_version", .message = message }));
                }
                core.ready_at_ms = core.now();
                core.report(.{ .ready = data });
                var ids = core.listIds();
                defer ids.deinit(core.gpa);
                for (ids.items) |id| if (!core.open.getPtr(id).?.sent) core.send(id);
            },
        }
    }

    fn refuse(core: *Core, failure: []u8) void {
        core.setRefused(failure);
        core.report(.{ .refused = failure });
        core.failAll(.any, failure);
        if (core.process) |*process| process.closeStdin();
        core.setTimer(core.options.grace_ms, .kill, core.number);
    }

    fn cancel(core: *Core, id: u64) void {
        const entry = core.open.getPtr(id) orelse return;
        if (!entry.sent) return core.settle(id, .{ .failed = entries.cancelled });
        if (entry.cancelling != .no) return;
        entry.cancelling = .sent;
        core.setTimer(core.options.grace_ms, .cancelled, id);
        core.sendOwn("cancel", .{ .id = id }, .{ .cancel = id });
    }

    fn takeCancelled(core: *Core, target: u64, end: End) void {
        if (end == .failed) return;
        var arena: std.heap.ArenaAllocator = .init(core.gpa);
        defer arena.deinit();
        const Found = struct { found: bool = false };
        const found = (json.read(Found, arena.allocator(), end.done) catch Found{}).found;
        if (!found) return core.settle(target, .{ .failed = entries.cancelled });
        if (core.open.getPtr(target)) |entry| entry.cancelling = .found;
    }

    pub fn expire(core: *Core, id: u64, limit_ms: u64) void {
        const entry = core.open.getPtr(id) orelse return;
        if (entry.sent) core.sendOwn("cancel", .{ .id = id }, .{ .cancel = id });
        const message = core.print("No answer in {d} ms.", .{limit_ms});
        defer core.gpa.free(message);
        const failure = core.writeFailure(.{ .code = "timeout", .message = message, .phase = "total" });
        defer core.gpa.free(failure);
        core.settle(id, .{ .failed = failure });
    }

    // --- events ------------------------------------------------------------------------------

    pub fn now(core: *Core) i64 {
        return Io.Timestamp.now(core.io, .awake).toMilliseconds();
    }

    fn setTimer(core: *Core, delay_ms: u64, what: timers.Timer.What, of: u64) void {
        const at_ms = core.now() +| @as(i64, @intCast(delay_ms));
        const timer: timers.Timer = .{ .at_ms = at_ms, .of = of, .what = what, .delay_ms = delay_ms };
        core.timers.push(core.gpa, timer) catch @panic("out of memory");
    }

    pub fn report(core: *Core, event: client.Event) void {
        core.options.onEvent(core.options.context, event);
    }

    fn setRefused(core: *Core, failure: ?[]u8) void {
        if (core.refused) |old| core.gpa.free(old);
        core.refused = failure;
    }

    fn writeFailure(core: *Core, failure: anytype) []u8 {
        return json.write(core.gpa, failure) catch @panic("out of memory");
    }

    fn print(core: *Core, comptime format: []const u8, values: anytype) []u8 {
        return std.fmt.allocPrint(core.gpa, format, values) catch @panic("out of memory");
    }

    pub fn copy(core: *Core, text: []const u8) []u8 {
        return core.gpa.dupe(u8, text) catch @panic("out of memory");
    }
};
