//! What is due at some time.

const std = @import("std");
const Io = std.Io;
const Core = @import("core.zig").Core;
const entries = @import("entries.zig");

/// How often to look whether a process has ended: one that should end soon, and any.
const look_soon_ms = 10;
const look_ms = 1000;
/// With nothing to wait for, any time will do.
const idle_ms = 60_000;

/// What is due at some time: of a request by its id, or of a process by its number.
pub const Timer = struct {
    at_ms: i64,
    of: u64,
    what: What,
    delay_ms: u64,

    pub const What = enum { deadline, cancelled, restart, kill, kill_mute, terminate, drained };

    pub fn compare(_: void, a: Timer, b: Timer) std.math.Order {
        return std.math.order(a.at_ms, b.at_ms);
    }
};

pub fn findWait(core: *Core) Io.Timeout {
    var wait_ms: i64 = if (core.process) |*process|
        (if (process.stdout_ended or process.is_closed) look_soon_ms else look_ms)
    else
        idle_ms;
    if (core.timers.peek()) |timer| wait_ms = @min(wait_ms, @max(timer.at_ms - core.now(), 0));
    return .{ .duration = .{ .raw = .fromMilliseconds(wait_ms), .clock = .awake } };
}

/// Do what is due.
pub fn expire(core: *Core) void {
    while (core.timers.peek()) |timer| {
        if (timer.at_ms > core.now()) return;
        _ = core.timers.pop();
        switch (timer.what) {
            .deadline => core.expire(timer.of, timer.delay_ms),
            .cancelled => core.settle(timer.of, .{ .failed = entries.cancelled }),
            else => if (timer.of == core.number) expireProcess(core, timer),
        }
    }
}

fn expireProcess(core: *Core, timer: Timer) void {
    if (timer.what == .restart) {
        if (core.process == null and !core.closing) core.spawn();
        return;
    }
    const process = if (core.process) |*process| process else return;
    if (timer.what == .drained) return core.finish();
    if (core.end != null) return;
    const is_ending = core.closing or core.refused != null;
    switch (timer.what) {
        .kill => if (is_ending or core.ready_at_ms == null) process.signal(.KILL),
        .kill_mute => if (!core.closing) process.signal(.KILL),
        .terminate => process.signal(.TERM),
        else => unreachable,
    }
}
