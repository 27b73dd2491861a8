// Plays the editor to the extension of `examples/vscode`, and prints what happens, as JSON.

import * as vscode from "vscode";
import { activate, deactivate } from "../../examples/vscode/extension.ts";

const context: vscode.ExtensionContext = { subscriptions: [] };
activate(context);
const seen: Record<string, unknown> = {};

const chat = new vscode.TextDocument("What is a sidecar?");
vscode.window.activeTextEditor = { document: chat };
await vscode.registered.get("assistant.ask")!();
seen["answered"] = chat.text;
seen["pieces"] = chat.versions.length;

vscode.settings["chatModel"] = "replay/slow";
const slow = new vscode.TextDocument("Again");
vscode.window.activeTextEditor = { document: slow };
const asked = vscode.registered.get("assistant.ask")!();
while (slow.versions.length < 2) await new Promise((resolve) => setImmediate(resolve));
vscode.progressSource.cancel();
await asked;
seen["cancelled"] = slow.text;
seen["errors_after_cancel"] = [...vscode.errors];

const code = new vscode.TextDocument("def area(r):\n    return \n\nprint(area(2))\n");
const position = new vscode.Position(code.text.indexOf("\n\n"));
const complete = (source: vscode.CancellationTokenSource) =>
  vscode.providers[0]!.provideInlineCompletionItems(code, position, {}, source.token);
const [stale, fresh] = [new vscode.CancellationTokenSource(), new vscode.CancellationTokenSource()];
const dropped = complete(stale);
stale.cancel();
seen["completed"] = (await complete(fresh)).map((item) => [item.insertText, item.range.start.offset]);
seen["dropped"] = await dropped;
seen["listeners"] = stale.listeners + fresh.listeners + vscode.progressSource.listeners;

vscode.settings["chatModel"] = "replay/overloaded";
await vscode.registered.get("assistant.ask")!();
seen["errors"] = vscode.errors;

for (const subscription of context.subscriptions) subscription.dispose();
await deactivate();
seen["registered"] = vscode.registered.size + vscode.providers.length;
console.log(JSON.stringify(seen));
