//! What the types do not list is kept, and what they have is written as it was read.

const std = @import("std");
const json = @import("json.zig");
const types = @import("types.zig");
const expect = std.testing.expect;
const expectEqualStrings = std.testing.expectEqualStrings;

fn expectRoundTrip(comptime T: type, text: []const u8) !T {
    var arena: std.heap.ArenaAllocator = .init(std.heap.page_allocator);
    const value = try json.read(T, arena.allocator(), text);
    try expectEqualStrings(text, try json.write(arena.allocator(), value));
    return value;
}

test "a chunk of a type that is not listed is kept" {
    const chunk = try expectRoundTrip(types.Chunk, "{\"type\":\"novel\",\"content\":[1,null]}");
    try expect(chunk == .unlisted);
}

test "a chunk with a field that is not listed is read" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    const text = "{\"type\":\"content\",\"content\":\"Hel\",\"novel\":1}";
    const chunk = try json.read(types.Chunk, arena.allocator(), text);
    try expectEqualStrings("Hel", chunk.content.content);
}

test "a known chunk with a field of a wrong type is an error" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    const read = json.read(types.Chunk, arena.allocator(), "{\"type\":\"content\",\"content\":1}");
    try std.testing.expectError(error.UnexpectedToken, read);
}

test "a word that is not listed is kept" {
    try expectEqualStrings("novel", (try expectRoundTrip(types.FinishReason, "\"novel\"")).unlisted);
    try expect(try expectRoundTrip(types.FinishReason, "\"other\"") == .other);
}

test "a message is written with its tags and without what is absent" {
    const text = "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Hello\"}]}]}";
    const chat = try expectRoundTrip(types.Chat, text);
    try expectEqualStrings("Hello", chat.messages.?[0].content.list[0].text.text);
}

test "a text and what no member fits are contents" {
    try expectEqualStrings("Hi", (try expectRoundTrip(types.MessageContent, "\"Hi\"")).text);
    try expect(try expectRoundTrip(types.MessageContent, "true") == .unlisted);
}

test "a reply is told from the last chunk of a stream" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    const Reply = json.Either([]const i64, types.TextPart);
    try expect((try json.read(Reply, arena.allocator(), "[1]")).answer[0] == 1);
    const done = try json.read(Reply, arena.allocator(), "{\"type\":\"done\",\"text\":\"Hi\"}");
    try expectEqualStrings("Hi", done.done.text);
}
