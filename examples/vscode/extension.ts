// An extension shaped as VS Code wants it, over the client: a command that streams an answer into the document, and
// inline completions. Bundle it as CommonJS, which most versions of the editor load:
//
//   npx esbuild examples/vscode/extension.ts --bundle --platform=node --format=cjs --external:vscode --outfile=extension.js
//
// and give its package.json `main`, `activationEvents` and the command `assistant.ask`. Put a real provider in place of
// `replay` and nothing else changes.

import * as vscode from "vscode";
import { Sidecar, SidecarError, type Message } from "../../protocol/clients/typescript/client.ts";

const CHARACTERS_BEFORE = 20_000;
const CHARACTERS_AFTER = 4_000;
const PAUSE_MS = 50;

let sidecar: Sidecar;

/** Return a signal that follows the editor's token, for as long as *use* runs. */
async function withSignal<T>(token: vscode.CancellationToken, use: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  if (token.isCancellationRequested) abort.abort();
  const subscription = token.onCancellationRequested(() => abort.abort());
  try {
    return await use(abort.signal);
  } finally {
    subscription.dispose();
  }
}

function showError(error: unknown): void {
  if (error instanceof SidecarError && error.code === "cancelled") return;
  void vscode.window.showErrorMessage(error instanceof Error ? error.message : String(error));
}

// --- the command -------------------------------------------------------------------------------

/** Return what writes texts at the end of *document*, one after the other; `finished` is kept when all are there. */
function makeWriter(document: vscode.TextDocument) {
  let waiting = "";
  let finished = Promise.resolve();
  async function write(): Promise<void> {
    // All that has come during the last edit goes into the next one.
    const text = waiting;
    waiting = "";
    if (text === "") return;
    const edit = new vscode.WorkspaceEdit();
    edit.insert(document.uri, document.positionAt(document.getText().length), text);
    if (!(await vscode.workspace.applyEdit(edit))) throw new Error("The document cannot be edited.");
  }
  return {
    add(text: string): void {
      waiting += text;
      finished = finished.then(write);
      finished.catch(() => {}); // Whoever awaits `finished` is told.
    },
    finished: () => finished,
  };
}

/** Ask with the text of the document, and write the answer below it as it comes. */
async function ask(): Promise<void> {
  const document = vscode.window.activeTextEditor?.document;
  if (!document) return;
  const model = vscode.workspace.getConfiguration("assistant").get("chatModel", "replay/text");
  const messages: Message[] = [{ role: "user", content: document.getText() }];
  const writer = makeWriter(document);
  const progress = { location: vscode.ProgressLocation.Notification, title: "Answering", cancellable: true };
  try {
    await vscode.window.withProgress(progress, (_, token) =>
      withSignal(token, async (signal) => {
        writer.add("\n\n");
        const on = { content: (chunk: { content: string }) => writer.add(chunk.content) };
        await sidecar.request("stream_chat", { model, messages }, { on, signal }).reply;
      }),
    );
  } catch (error) {
    showError(error);
  }
  await writer.finished().catch(showError);
}

// --- completions -------------------------------------------------------------------------------

const completions: vscode.InlineCompletionItemProvider = {
  async provideInlineCompletionItems(document, position, _context, token) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    if (token.isCancellationRequested) return [];
    const text = document.getText();
    const offset = document.offsetAt(position);
    const params = {
      model: vscode.workspace.getConfiguration("assistant").get("completionModel", "replay/completion"),
      prefix: text.slice(Math.max(0, offset - CHARACTERS_BEFORE), offset),
      suffix: text.slice(offset, offset + CHARACTERS_AFTER),
      path: vscode.workspace.asRelativePath(document.uri),
      language: document.languageId,
      slot: document.uri.toString().slice(-128), // A newer request in the document ends the older one.
    };
    try {
      const done = await withSignal(token, (signal) => sidecar.request("complete", params, { signal }).reply);
      const range = new vscode.Range(position, position);
      return done.items.filter((item) => item.text).map((item) => new vscode.InlineCompletionItem(item.text, range));
    } catch {
      return []; // Nobody has asked for it, so nobody is told that there is none.
    }
  },
};

export function activate(context: vscode.ExtensionContext): void {
  sidecar = new Sidecar({
    initialize: { client: { name: "assistant", version: vscode.version } },
    onRefused: (error) => void vscode.window.showErrorMessage(error.message),
  });
  sidecar.start();
  context.subscriptions.push(
    vscode.commands.registerCommand("assistant.ask", ask),
    vscode.languages.registerInlineCompletionItemProvider({ pattern: "**" }, completions),
  );
}

export async function deactivate(): Promise<void> {
  await sidecar.close();
}
