// As much of the API of VS Code as the extension of `examples/vscode` uses, with the editor's own names and shapes.

export const version = "1.100.0";
export const ProgressLocation = { Notification: 15 };

export interface Disposable {
  dispose(): void;
}
export interface ExtensionContext {
  subscriptions: Disposable[];
}
export interface CancellationToken {
  isCancellationRequested: boolean;
  onCancellationRequested(listener: () => void): Disposable;
}
export interface InlineCompletionItemProvider {
  provideInlineCompletionItems(
    document: TextDocument,
    position: Position,
    context: object,
    token: CancellationToken,
  ): Promise<InlineCompletionItem[]>;
}

export class CancellationTokenSource {
  #listeners = new Set<() => void>();
  token: CancellationToken = {
    isCancellationRequested: false,
    onCancellationRequested: (listener) => {
      this.#listeners.add(listener);
      return { dispose: () => this.#listeners.delete(listener) };
    },
  };
  get listeners(): number {
    return this.#listeners.size;
  }
  cancel(): void {
    this.token.isCancellationRequested = true;
    for (const listener of this.#listeners) listener();
  }
}

/** A place in a document of the fake: its offset is enough. */
export class Position {
  readonly offset: number;
  constructor(offset: number) {
    this.offset = offset;
  }
}
export class Range {
  readonly start: Position;
  readonly end: Position;
  constructor(start: Position, end: Position) {
    this.start = start;
    this.end = end;
  }
}
export class InlineCompletionItem {
  readonly insertText: string;
  readonly range: Range;
  constructor(insertText: string, range: Range) {
    this.insertText = insertText;
    this.range = range;
  }
}

export class TextDocument {
  uri = "file:///project/geo.py";
  languageId = "python";
  versions: string[] = [];
  text: string;
  constructor(text: string) {
    this.text = text;
  }
  getText = () => this.text;
  positionAt = (offset: number) => new Position(offset);
  offsetAt = (position: Position) => position.offset;
}

export class WorkspaceEdit {
  inserts: { position: Position; text: string }[] = [];
  insert(_uri: string, position: Position, text: string): void {
    this.inserts.push({ position, text });
  }
}

export const registered = new Map<string, () => Promise<void>>();
export const providers: InlineCompletionItemProvider[] = [];
export const errors: string[] = [];
export const settings: Record<string, string> = {};
export let progressSource = new CancellationTokenSource();

export const window = {
  activeTextEditor: undefined as { document: TextDocument } | undefined,
  showErrorMessage: async (message: string) => void errors.push(message),
  withProgress: async <T>(_options: object, task: (progress: object, token: CancellationToken) => Promise<T>) => {
    progressSource = new CancellationTokenSource();
    return await task({}, progressSource.token);
  },
};
export const workspace = {
  getConfiguration: (_section: string) => ({ get: (key: string, value: string) => settings[key] ?? value }),
  asRelativePath: (uri: string) => uri.replace("file:///project/", ""),
  applyEdit: async (edit: WorkspaceEdit) => {
    await new Promise((resolve) => setImmediate(resolve)); // As the editor, which is another process.
    const document = window.activeTextEditor!.document;
    for (const { position, text } of edit.inserts) {
      document.text = document.text.slice(0, position.offset) + text + document.text.slice(position.offset);
      document.versions.push(document.text);
    }
    return true;
  },
};
export const commands = {
  registerCommand: (name: string, run: () => Promise<void>): Disposable => {
    registered.set(name, run);
    return { dispose: () => registered.delete(name) };
  },
};
export const languages = {
  registerInlineCompletionItemProvider: (_selector: object, provider: InlineCompletionItemProvider): Disposable => {
    providers.push(provider);
    return { dispose: () => providers.splice(providers.indexOf(provider), 1) };
  },
};
