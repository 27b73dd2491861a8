//! What the generated types are made of: unions that std.json reads and writes, and JSON as it came.

const std = @import("std");
const Allocator = std.mem.Allocator;
const Options = std.json.ParseOptions;
const Value = std.json.Value;

pub const read_options: Options = .{
    .ignore_unknown_fields = true,
    .duplicate_field_behavior = .use_last,
    .allocate = .alloc_always,
};

/// Return the value of `text`. What it points to is of `arena`'s.
pub fn read(comptime T: type, arena: Allocator, text: []const u8) !T {
    return std.json.parseFromSliceLeaky(T, arena, text, read_options);
}

/// Return `value` as a line of JSON without its LF. Fields that are null are left out.
pub fn write(gpa: Allocator, value: anytype) ![]u8 {
    return std.json.Stringify.valueAlloc(gpa, value, .{ .emit_null_optional_fields = false });
}

/// An action with its types.
pub const Action = struct { name: []const u8, Params: type, Chunk: type, Reply: type };

/// JSON as it came: nothing is lost. It points into what was read.
pub const Raw = struct {
    text: []const u8,

    pub fn jsonParse(_: Allocator, source: anytype, _: Options) !Raw {
        _ = try source.peekNextTokenType();
        const start = source.cursor;
        try source.skipValue();
        return .{ .text = source.input[start..source.cursor] };
    }

    pub fn jsonStringify(self: Raw, writer: anytype) !void {
        try writer.print("{s}", .{self.text});
    }
};

/// The reply to an action that answers with one line or with a stream, as its parameters say.
pub fn Either(comptime Answer: type, comptime Done: type) type {
    return union(enum) {
        answer: Answer,
        /// The last chunk of a stream.
        done: Done,

        pub fn jsonParse(arena: Allocator, source: anytype, options: Options) !@This() {
            const value = try std.json.innerParse(Value, arena, source, options);
            return if (std.mem.eql(u8, readTag(value), "done"))
                .{ .done = try std.json.innerParseFromValue(Done, arena, value, options) }
            else
                .{ .answer = try std.json.innerParseFromValue(Answer, arena, value, options) };
        }
    };
}

/// Words; one that is not listed is kept as it came.
pub fn Words(comptime T: type) type {
    return struct {
        pub fn jsonParse(arena: Allocator, source: anytype, options: Options) !T {
            return find(try std.json.innerParse([]const u8, arena, source, options));
        }

        pub fn jsonParseFromValue(_: Allocator, source: Value, _: Options) !T {
            return if (source == .string) find(source.string) else error.UnexpectedToken;
        }

        fn find(text: []const u8) T {
            inline for (comptime std.meta.fieldNames(T)) |name| {
                if (comptime std.mem.eql(u8, name, "unlisted")) continue;
                if (std.mem.eql(u8, name, text)) return @unionInit(T, name, {});
            }
            return .{ .unlisted = text };
        }

        pub fn jsonStringify(self: T, writer: anytype) !void {
            try writer.write(switch (self) {
                .unlisted => |text| text,
                inline else => |_, tag| @as([]const u8, @tagName(tag)),
            });
        }
    };
}

/// A union whose members the field `type` tells apart; one whose tag is not listed is kept as it came.
pub fn Tagged(comptime T: type) type {
    return struct {
        pub fn jsonParse(arena: Allocator, source: anytype, options: Options) !T {
            const value = try std.json.innerParse(Value, arena, source, options);
            return jsonParseFromValue(arena, value, options);
        }

        pub fn jsonParseFromValue(arena: Allocator, source: Value, options: Options) !T {
            const tag = readTag(source);
            inline for (comptime std.meta.fieldNames(T)) |name| {
                if (comptime std.mem.eql(u8, name, "unlisted")) continue;
                if (std.mem.eql(u8, name, tag)) {
                    const Member = @FieldType(T, name);
                    return @unionInit(T, name, try std.json.innerParseFromValue(Member, arena, source, options));
                }
            }
            return .{ .unlisted = source };
        }

        pub fn jsonStringify(self: T, writer: anytype) !void {
            switch (self) {
                .unlisted => |value| try writer.write(value),
                inline else => |member, tag| {
                    try writer.beginObject();
                    try writer.objectField("type");
                    try writer.write(@tagName(tag));
                    inline for (comptime std.meta.fieldNames(@TypeOf(member))) |name| {
                        const field = @field(member, name);
                        const is_absent = @typeInfo(@TypeOf(field)) == .optional and field == null;
                        if (!is_absent) {
                            try writer.objectField(name);
                            try writer.write(field);
                        }
                    }
                    try writer.endObject();
                },
            }
        }
    };
}

/// A union whose members differ in their type of JSON.
pub fn Mixed(comptime T: type) type {
    return struct {
        pub fn jsonParse(arena: Allocator, source: anytype, options: Options) !T {
            const value = try std.json.innerParse(Value, arena, source, options);
            return jsonParseFromValue(arena, value, options);
        }

        pub fn jsonParseFromValue(arena: Allocator, source: Value, options: Options) !T {
            inline for (comptime std.meta.fieldNames(T)) |name| {
                if (comptime std.mem.eql(u8, name, "unlisted")) continue;
                if (holds(name, source)) {
                    const Member = @FieldType(T, name);
                    if (Member == void) return @unionInit(T, name, {});
                    return @unionInit(T, name, try std.json.innerParseFromValue(Member, arena, source, options));
                }
            }
            return .{ .unlisted = source };
        }

        fn holds(comptime name: []const u8, source: Value) bool {
            const of = enum { text, word, integer, number, flag, list, object, none };
            return switch (comptime std.meta.stringToEnum(of, name).?) {
                .text, .word => source == .string,
                .integer => source == .integer,
                .number => source == .float or source == .integer,
                .flag => source == .bool,
                .list => source == .array,
                .object => source == .object,
                .none => source == .null,
            };
        }

        pub fn jsonStringify(self: T, writer: anytype) !void {
            switch (self) {
                inline else => |member| try writer.write(if (@TypeOf(member) == void) null else member),
            }
        }
    };
}

fn readTag(value: Value) []const u8 {
    if (value != .object) return "";
    const tag = value.object.get("type") orelse return "";
    return if (tag == .string) tag.string else "";
}
