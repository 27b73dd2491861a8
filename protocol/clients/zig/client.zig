//! A client of the sidecar: starts it, sends requests, and hands each reply to its request. README.md shows its use.

const std = @import("std");
const Allocator = std.mem.Allocator;
const Io = std.Io;
pub const json = @import("json.zig");
pub const types = @import("types.zig");
const Core = @import("core.zig").Core;
const Queue = @import("process.zig").Queue;

/// What concerns no request. The texts live until the function returns.
pub const Event = union(enum) {
    /// The sidecar has answered `initialize`, again after each restart: JSON of `types.Initialized`.
    ready: []const u8,
    /// A warning that belongs to no request: JSON of `types.Warn`.
    warning: []const u8,
    exit: Exit,
    /// The sidecar cannot be used, and is not restarted: JSON of an error, whose message is for the user.
    refused: []const u8,
    /// A line that belongs to no request: a mistake, of the host's or the sidecar's.
    problem: []const u8,
};

/// The end of a process.
pub const Exit = struct {
    /// Null if a signal has ended it.
    code: ?u8,
    restarting: bool,
    /// The last 8 KiB of what it wrote for people.
    stderr: []const u8,
};

pub const Options = struct {
    /// The program and its arguments: `findCommand` knows.
    command: []const []const u8,
    /// The parameters of `initialize`, which is sent to each new process.
    initialize: types.Initialize = .{},
    /// How long to wait before the first restart; twice as long before each one in a row.
    backoff_ms: u64 = 1000,
    max_backoff_ms: u64 = 30_000,
    /// How long to wait for each step of an orderly end, and for the end of a cancelled request.
    grace_ms: u64 = 2000,
    /// How long a process may take to answer `initialize`.
    start_ms: u64 = 30_000,
    /// Called in the task of the client, with `context`: it must not wait.
    onEvent: *const fn (context: ?*anyopaque, event: Event) void = ignore,
    context: ?*anyopaque = null,

    fn ignore(_: ?*anyopaque, _: Event) void {}
};

/// Return the path in the variable SIDECAR, or else `sidecar`.
pub fn findCommand(environ: *const std.process.Environ.Map) []const u8 {
    const path = environ.get("SIDECAR") orelse "";
    return if (path.len > 0) path else "sidecar";
}

/// Returns the result of a call, which `arena` may hold; an error's name is told to the model.
pub const Tool = struct {
    name: []const u8,
    run: *const fn (arena: Allocator, arguments: std.json.ObjectMap) anyerror![]const u8,
};

/// What a request may have besides its parameters.
pub const RequestOptions = struct {
    provider: ?[]const u8 = null,
    /// The most time until the reply. After that the request fails with `timeout` and is cancelled.
    deadline_ms: ?u64 = null,
    /// With `tool_loop`: what runs the calls, each in a task of its own. They must outlive the request.
    tools: []const Tool = &.{},
};

/// What comes for a request, as it came.
pub const Reply = union(enum) {
    chunk: []u8,
    done: []u8,
    failed: []u8,

    pub fn text(reply: Reply) []u8 {
        return switch (reply) {
            inline else => |own| own,
        };
    }
};

/// A request on its way. `deinit` when it is not needed any more, also before its end: it is cancelled then.
pub const Call = struct {
    /// Its id in the lines.
    id: u64,
    core: *Core,
    replies: Queue(Reply) = .{},
    last: ?Reply = null,
    /// The host, and the client until the end of the request.
    holders: std.atomic.Value(u8) = .init(2),

    /// Wait for what comes; after `done` or `failed` that comes again. The text lives until the next call.
    pub fn next(call: *Call) Io.Cancelable!Reply {
        if (call.last) |last| {
            if (last != .chunk) return last;
            call.core.gpa.free(last.chunk);
            call.last = null;
        }
        call.last = (try call.replies.get(call.core.io, .none)).?;
        return call.last.?;
    }

    /// End the request, which fails with `cancelled` unless it has just ended. The client sends on no chunk after this.
    pub fn cancel(call: *Call) void {
        call.core.put(.{ .cancel = call.id });
    }

    pub fn deinit(call: *Call) void {
        call.cancel();
        call.release();
    }

    pub fn release(call: *Call) void {
        if (call.holders.fetchSub(1, .acq_rel) > 1) return;
        const gpa = call.core.gpa;
        if (call.last) |last| gpa.free(last.text());
        for (call.replies.items.items[call.replies.first..]) |reply| gpa.free(reply.text());
        call.replies.items.deinit(gpa);
        gpa.destroy(call);
    }
};

/// A request whose types are known.
pub fn TypedCall(comptime action: json.Action) type {
    return struct {
        call: *Call,

        /// Wait for a chunk, of which `arena` holds the texts; null: the stream has ended.
        pub fn next(self: @This(), arena: Allocator) !?action.Chunk {
            return switch (try self.call.next()) {
                .chunk => |chunk| try json.read(action.Chunk, arena, chunk),
                else => null,
            };
        }

        /// Wait for the data of the terminal line. `call.last` has the error if there is one.
        pub fn reply(self: @This(), arena: Allocator) !action.Reply {
            while (true) switch (try self.call.next()) {
                .chunk => {},
                .done => |data| return json.read(action.Reply, arena, data),
                .failed => return error.RequestFailed,
            };
        }

        /// Return the error of a request that has failed.
        pub fn failure(self: @This(), arena: Allocator) !Failure {
            return json.read(Failure, arena, self.call.last.?.text());
        }

        pub fn cancel(self: @This()) void {
            self.call.cancel();
        }

        pub fn deinit(self: @This()) void {
            self.call.deinit();
        }
    };
}

/// What every error has, the client's own as well; `types.ErrorBody` has what the sidecar's have.
pub const Failure = struct { code: []const u8, message: []const u8 = "", reason: ?[]const u8 = null };

/// A sidecar that is started again when it ends by itself. It can be shared between threads.
pub const Sidecar = struct {
    core: *Core,

    /// Make a client, which starts nothing yet.
    pub fn init(gpa: Allocator, io: Io, options: Options) !Sidecar {
        return .{ .core = try Core.create(gpa, io, options) };
    }

    /// Close the sidecar. Each call must have had its `deinit`.
    pub fn deinit(sidecar: Sidecar) void {
        sidecar.close();
        sidecar.core.destroy();
    }

    /// Start the sidecar, also again after it was refused. Requests that come before it is ready wait.
    pub fn start(sidecar: Sidecar) void {
        sidecar.core.put(.start);
    }

    /// Send a request of an action in `types.actions`. It fails at once if the sidecar cannot be used.
    pub fn request(
        sidecar: Sidecar,
        comptime action: json.Action,
        params: action.Params,
        options: RequestOptions,
    ) !TypedCall(action) {
        return .{ .call = try sidecar.send(action.name, params, options) };
    }

    /// Send a request of any action; `params` may be `json.Raw`.
    pub fn send(sidecar: Sidecar, action: []const u8, params: anytype, options: RequestOptions) !*Call {
        const core = sidecar.core;
        const id = core.takeId();
        const line = try Core.writeRequest(core.gpa, id, action, options.provider, params);
        errdefer core.gpa.free(line);
        const call = try core.gpa.create(Call);
        call.* = .{ .id = id, .core = core };
        core.put(.{ .request = .{
            .id = id,
            .deadline_ms = options.deadline_ms,
            .entry = .{ .line = line, .purpose = .{ .host = call }, .tools = options.tools },
        } });
        return call;
    }

    /// End the process, which is started again. For one that no longer answers, not even a `ping`.
    pub fn kill(sidecar: Sidecar) void {
        sidecar.core.put(.kill);
    }

    /// End the sidecar: by the end of its input, and by signals if that does not help. Open requests may finish.
    pub fn close(sidecar: Sidecar) void {
        sidecar.core.put(.close);
        sidecar.core.waitUntilClosed();
    }
};
