//! One process of the sidecar: its three pipes, each with a task of its own, and its end.

const std = @import("std");
const Allocator = std.mem.Allocator;
const Io = std.Io;
const posix = std.posix;

/// How much of what a process writes for people is kept.
const stderr_bytes = 8192;

/// Items from one task to another, in order.
pub fn Queue(comptime T: type) type {
    return struct {
        mutex: Io.Mutex = .init,
        ready: Io.Condition = .init,
        items: std.ArrayList(T) = .empty,
        first: usize = 0,

        pub fn put(queue: *@This(), io: Io, gpa: Allocator, item: T) void {
            queue.mutex.lockUncancelable(io);
            defer queue.mutex.unlock(io);
            queue.items.append(gpa, item) catch @panic("out of memory");
            queue.ready.signal(io);
        }

        /// Wait for an item; return null if none has come in time.
        pub fn get(queue: *@This(), io: Io, timeout: Io.Timeout) Io.Cancelable!?T {
            const deadline = timeout.toDeadline(io);
            try queue.mutex.lock(io);
            defer queue.mutex.unlock(io);
            while (queue.first == queue.items.items.len) {
                queue.ready.waitTimeout(io, &queue.mutex, deadline) catch |problem| switch (problem) {
                    error.Timeout => return null,
                    error.Canceled => return error.Canceled,
                };
            }
            const item = queue.items.items[queue.first];
            queue.first += 1;
            if (queue.first == queue.items.items.len) {
                queue.items.clearRetainingCapacity();
                queue.first = 0;
            }
            return item;
        }
    };
}

/// What comes out of a process; the bytes belong to who takes them. `lines` are whole, without the last LF.
pub const Output = union(enum) { lines: []u8, stderr: []u8, stdout_end, stderr_end };

/// Lines for stdin; null closes it.
const Input = Queue(?[]u8);

pub const Process = struct {
    gpa: Allocator,
    io: Io,
    id: posix.pid_t,
    input: *Input,
    is_closed: bool = false,
    stderr: std.ArrayList(u8) = .empty,
    stdout_ended: bool = false,
    stderr_ended: bool = false,

    /// Start the program. The tasks in `group` call `context.takeOutput(number, output)`.
    pub fn spawn(
        gpa: Allocator,
        io: Io,
        group: *Io.Group,
        command: []const []const u8,
        context: anytype,
        number: u64,
    ) !Process {
        const child = try std.process.spawn(io, .{ .argv = command, .stdin = .pipe, .stdout = .pipe, .stderr = .pipe });
        const input = try gpa.create(Input);
        input.* = .{};
        const Reports = @TypeOf(context);
        const Tasks = struct {
            fn write(own_gpa: Allocator, own_io: Io, pipe: Io.File, lines: *Input) Io.Cancelable!void {
                defer {
                    pipe.close(own_io);
                    for (lines.items.items[lines.first..]) |line| if (line) |bytes| own_gpa.free(bytes);
                    lines.items.deinit(own_gpa);
                    own_gpa.destroy(lines);
                }
                var works = true;
                while (try lines.get(own_io, .none)) |item| {
                    const line = item orelse return;
                    defer own_gpa.free(line);
                    // A write fails when the process has ended, which is reported.
                    if (works) pipe.writeStreamingAll(own_io, line) catch {
                        works = false;
                    };
                }
            }

            fn readLines(to: Reports, own_gpa: Allocator, own_io: Io, pipe: Io.File, of: u64) Io.Cancelable!void {
                defer pipe.close(own_io);
                defer to.takeOutput(of, .stdout_end);
                var rest: std.ArrayList(u8) = .empty;
                defer rest.deinit(own_gpa);
                var bytes: [1 << 16]u8 = undefined;
                while (true) {
                    const count = pipe.readStreaming(own_io, &.{&bytes}) catch return;
                    const end = std.mem.lastIndexOfScalar(u8, bytes[0..count], '\n') orelse {
                        rest.appendSlice(own_gpa, bytes[0..count]) catch @panic("out of memory");
                        continue;
                    };
                    rest.appendSlice(own_gpa, bytes[0..end]) catch @panic("out of memory");
                    to.takeOutput(of, .{ .lines = rest.toOwnedSlice(own_gpa) catch @panic("out of memory") });
                    rest.appendSlice(own_gpa, bytes[end + 1 .. count]) catch @panic("out of memory");
                }
            }

            fn readErrors(to: Reports, own_gpa: Allocator, own_io: Io, pipe: Io.File, of: u64) Io.Cancelable!void {
                defer pipe.close(own_io);
                defer to.takeOutput(of, .stderr_end);
                var bytes: [1 << 16]u8 = undefined;
                while (true) {
                    const count = pipe.readStreaming(own_io, &.{&bytes}) catch return;
                    to.takeOutput(of, .{ .stderr = own_gpa.dupe(u8, bytes[0..count]) catch @panic("out of memory") });
                }
            }
        };
        try group.concurrent(io, Tasks.write, .{ gpa, io, child.stdin.?, input });
        try group.concurrent(io, Tasks.readLines, .{ context, gpa, io, child.stdout.?, number });
        try group.concurrent(io, Tasks.readErrors, .{ context, gpa, io, child.stderr.?, number });
        return .{ .gpa = gpa, .io = io, .id = child.id.?, .input = input };
    }

    /// Hand over a line, which belongs to the process then; nothing happens if stdin is closed.
    pub fn write(process: *Process, line: []u8) void {
        if (process.is_closed) process.gpa.free(line) else process.input.put(process.io, process.gpa, line);
    }

    pub fn closeStdin(process: *Process) void {
        if (process.is_closed) return;
        process.is_closed = true;
        process.input.put(process.io, process.gpa, null);
    }

    pub fn keepStderr(process: *Process, bytes: []const u8) void {
        process.stderr.appendSlice(process.gpa, bytes) catch @panic("out of memory");
        const extra = process.stderr.items.len -| stderr_bytes;
        process.stderr.replaceRangeAssumeCapacity(0, extra, "");
    }

    /// Return how the process has ended, or null if it has not. It is waited for here alone, so that its number
    /// belongs to no other before.
    pub fn findEnd(process: *Process) ?std.process.Child.Term {
        var status: if (@import("builtin").link_libc) c_int else i32 = 0;
        const found = posix.system.waitpid(process.id, &status, posix.W.NOHANG);
        if (posix.errno(found) != .SUCCESS or found == 0) return null;
        const bits: u32 = @bitCast(status);
        return if (posix.W.IFEXITED(bits)) .{ .exited = posix.W.EXITSTATUS(bits) } else .{ .unknown = bits };
    }

    /// Send a signal. Only for a process whose end is not found yet.
    pub fn signal(process: *Process, which: posix.SIG) void {
        posix.kill(process.id, which) catch {};
    }
};
