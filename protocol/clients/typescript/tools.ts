// The calls that a model makes.

import type { ToolCall, ToolResult } from "./types.ts";

/** The tools by their names. What one returns, or throws, is the result of a call. */
export type Tools = Record<string, (args: Record<string, any>, call: ToolCall) => unknown>;

/** Return the result of the call *id*: what the tool returns or throws, or why it was not run. */
export async function runTool(tools: Tools, id: string, call?: ToolCall): Promise<ToolResult> {
  try {
    const tool = call && Object.hasOwn(tools, call.name) ? tools[call.name] : undefined;
    if (!call || !tool) throw new Error("There is no such tool.");
    if (!call.arguments) throw new Error("The arguments are not a JSON object.");
    const result = await tool(call.arguments, call);
    return { id, content: typeof result === "string" ? result : (JSON.stringify(result) ?? "") };
  } catch (error) {
    return { id, content: error instanceof Error ? error.message : String(error), is_error: true };
  }
}
