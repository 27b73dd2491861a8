// The client: starts a sidecar, sends requests, and hands each reply to the request that it belongs to.
// It needs Node and nothing else. README.md shows its use.

import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { makeSplitter } from "./lines.ts";
import { runTool, type Tools } from "./tools.ts";
import { PROTOCOL_VERSION } from "./types.ts";
import type { Actions, Cancelled, ErrorBody, Initialize, Initialized, ToolCall, Warn } from "./types.ts";

export type * from "./types.ts";

export interface SidecarOptions {
  /** The program and its arguments. Default: the path in the variable SIDECAR, or else `sidecar`. */
  command?: readonly string[];
  env?: NodeJS.ProcessEnv;
  /** The parameters of `initialize`, which is sent to each new process. */
  initialize?: Initialize;
  /** How long to wait before the first restart, in milliseconds; twice as long before each one in a row. */
  backoffMs?: number;
  maxBackoffMs?: number;
  /** How long to wait for each step of an orderly end, and for the end of a cancelled request. */
  graceMs?: number;
  /** How long a process may take to answer `initialize`. */
  startMs?: number;
  onReady?(initialized: Initialized): void;
  /** A warning that belongs to no request. */
  onEvent?(warning: Warn): void;
  onExit?(exit: Exit): unknown;
  /** The sidecar cannot be used, and is not restarted: show the message to the user. */
  onRefused?(error: Failure): void;
  /** A line that belongs to no request, or a handler that has thrown: a mistake, of the host's or the sidecar's. */
  onProblem?(problem: string): void;
}

/** The end of a process. */
export interface Exit {
  /** Null if a signal has ended it. */
  code: number | null;
  restarting: boolean;
  /** The last 8 KiB of what it wrote for people. */
  stderr: string;
}

/** An error of the sidecar's, or of the client's own: `sidecar_exited`, `spawn_failed`, `protocol_version`. */
export type Failure = Pick<ErrorBody, "code" | "message"> & Partial<ErrorBody>;

/** Why a request has failed. */
export class SidecarError extends Error {
  readonly code: string;
  readonly body: Failure;

  constructor(body: Failure) {
    super(body.message);
    this.name = "SidecarError";
    this.code = body.code;
    this.body = body;
  }
}

type Chunk<A extends keyof Actions> = Actions[A]["chunk"];
type Json = Record<string, any>;

export interface RequestOptions<A extends keyof Actions> {
  provider?: string;
  /** The most time until the reply, in milliseconds. After that the request fails with `timeout` and is cancelled. */
  deadlineMs?: number;
  /** Cancels the request. */
  signal?: AbortSignal;
  /** A handler for each type of chunk. */
  on?: { [T in Chunk<A>["type"]]?: (chunk: Extract<Chunk<A>, { type: T }>) => void };
  /** Gets every chunk but the last one, also those of types that are not known. */
  onChunk?(chunk: Chunk<A>): void;
  /** With `tool_loop`: the tools by their names. What they return, or throw, is the result of a call. */
  tools?: Tools;
}

/** A request on its way. */
export interface Call<A extends keyof Actions> {
  /** Its id in the lines, as `tool_result` needs it. */
  readonly id: number;
  /** The data of the terminal line. Rejects with a `SidecarError`. */
  readonly reply: Promise<Actions[A]["reply"]>;
  /** Ends the request, which fails with `cancelled` unless it has just ended. No chunk comes after this. */
  cancel(): void;
}

interface Entry {
  line: string;
  sent: boolean;
  /** `sent`: the sidecar does not know yet. `found`: it does, and no success comes any more. */
  cancelled?: "sent" | "found";
  chunks: number;
  onChunk(chunk: Json): void;
  resolve(data: any): void;
  reject(error: SidecarError): void;
  timers: NodeJS.Timeout[];
}

const STDERR_BYTES = 8192;
const STEADY_MS = 60_000;
const MUTE_MS = 200;
const DRAIN_MS = 1000;

export class Sidecar {
  #options: SidecarOptions;
  #child: ChildProcessWithoutNullStreams | undefined;
  #ready = false;
  #readyAt = 0;
  #refused: Failure | undefined;
  #closing: Promise<void> | undefined;
  #entries = new Map<number, Entry>();
  #lastId = 0;
  #restarts = 0;
  #restart: NodeJS.Timeout | undefined;
  #stderr = Buffer.alloc(0);

  constructor(options: SidecarOptions = {}) {
    this.#options = options;
  }

  /** Start the sidecar, also again after it was refused. Requests that come before it is ready wait. */
  start(): void {
    if (this.#child || this.#closing) return;
    clearTimeout(this.#restart);
    this.#refused = undefined;
    this.#spawn();
  }

  /** Send a request. It fails at once if the sidecar cannot be used. */
  request<A extends keyof Actions>(action: A, params: Actions[A]["params"], options: RequestOptions<A> = {}): Call<A> {
    const id = ++this.#lastId;
    const line = JSON.stringify({ id, action, provider: options.provider, params }) + "\n";
    let resolve!: Entry["resolve"];
    let reject!: Entry["reject"];
    const reply = new Promise<Actions[A]["reply"]>((yes, no) => ([resolve, reject] = [yes, no]));
    const onChunk = this.#makeReader(id, options);
    const entry: Entry = { line, sent: false, chunks: 0, onChunk, resolve, reject, timers: [] };
    this.#entries.set(id, entry);
    const cancel = () => this.#cancel(id);
    if (options.deadlineMs !== undefined) {
      const expire = () => this.#expire(id, options.deadlineMs!);
      entry.timers.push(setTimeout(expire, options.deadlineMs));
    }
    options.signal?.addEventListener("abort", cancel, { once: true });
    // A host that has cancelled a request need not look at its end.
    reply.catch(() => {}).finally(() => options.signal?.removeEventListener("abort", cancel));
    if (this.#refused) this.#fail(id, this.#refused);
    else if (this.#closing) this.#fail(id, { code: "shutting_down", message: "The client is closed." });
    else if (options.signal?.aborted) cancel();
    else if (this.#ready) this.#send(entry);
    return { id, reply, cancel };
  }

  /** End the process, which is started again. For one that no longer answers, not even a `ping`. */
  kill(): void {
    this.#child?.kill("SIGKILL");
  }

  /** End the sidecar: by the end of its input, and by signals if that does not help. Open requests may finish. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    clearTimeout(this.#restart);
    for (const [id, entry] of this.#entries) if (!entry.sent) this.#failClosed(id);
    const child = this.#child;
    if (!child) return;
    await new Promise<void>((resolve) => {
      const graceMs = this.#options.graceMs ?? 2000;
      const steps = (["SIGTERM", "SIGKILL"] as const).map((signal, step) =>
        setTimeout(() => child.kill(signal), graceMs * (step + 1)),
      );
      child.once("close", () => {
        steps.forEach(clearTimeout);
        resolve();
      });
      child.stdin.end();
    });
  }

  // --- the process ---------------------------------------------------------------------------

  #spawn(): void {
    const [program, ...args] = this.#options.command ?? [process.env["SIDECAR"] || "sidecar"];
    const child = spawn(program!, args, { env: this.#options.env ?? process.env, windowsHide: true });
    this.#child = child;
    this.#stderr = Buffer.alloc(0);
    const started = setTimeout(() => child.kill("SIGKILL"), this.#options.startMs ?? 30_000);
    let failure = "";
    child.once("error", (error) => (failure = error.message));
    child.stdin.on("error", () => {}); // The end of the process says more.
    child.stderr.on("data", (bytes: Buffer) => {
      this.#stderr = Buffer.concat([this.#stderr, bytes]).subarray(-STDERR_BYTES);
    });
    child.stdout.on("data", makeSplitter((lines) => this.#readLines(lines)));
    child.stdout.once("end", () => {
      // It can answer nothing any more, and may never end by itself.
      setTimeout(() => this.#closing || child.kill("SIGKILL"), MUTE_MS).unref();
    });
    child.once("exit", () => {
      // A child of the sidecar's own may hold the pipes open.
      setTimeout(() => [child.stdout, child.stderr].forEach((pipe) => pipe.destroy()), DRAIN_MS).unref();
    });
    child.once("close", (code) => {
      clearTimeout(started);
      this.#end(failure ? null : code, failure);
    });
    if (!child.pid) return;
    this.#initialize(started);
  }

  #initialize(started: NodeJS.Timeout): void {
    const params = { protocol_version: PROTOCOL_VERSION, ...this.#options.initialize };
    const id = ++this.#lastId;
    const line = JSON.stringify({ id, action: "initialize", params }) + "\n";
    const resolve = (initialized: Initialized) => {
      if (initialized.protocol_version !== PROTOCOL_VERSION) {
        const version = initialized.protocol_version;
        const message = `The sidecar speaks version ${version} of the protocol, not ${PROTOCOL_VERSION}.`;
        return this.#refuse({ code: "protocol_version", message });
      }
      clearTimeout(started);
      this.#ready = true;
      this.#readyAt = Date.now();
      this.#call(this.#options.onReady, initialized);
      for (const entry of this.#entries.values()) if (!entry.sent) this.#send(entry);
    };
    const reject = (error: SidecarError) => {
      if (error.code !== "sidecar_exited") this.#refuse(error.body);
    };
    const entry: Entry = { line, sent: false, chunks: 0, onChunk: () => {}, resolve, reject, timers: [] };
    this.#entries.set(id, entry);
    this.#send(entry);
  }

  #refuse(error: Failure): void {
    this.#refused = error;
    this.#call(this.#options.onRefused, error);
    for (const id of [...this.#entries.keys()]) this.#fail(id, error);
    const child = this.#child!;
    child.stdin.end();
    setTimeout(() => child.kill("SIGKILL"), this.#options.graceMs ?? 2000).unref();
  }

  #end(code: number | null, failure: string): void {
    if (this.#ready && Date.now() - this.#readyAt > STEADY_MS) this.#restarts = 0;
    this.#child = undefined;
    this.#ready = false;
    const stderr = this.#stderr.toString();
    const restarting = !this.#closing && !this.#refused && !failure && code !== 2;
    if (!restarting && !this.#closing) {
      const refused = { code: failure ? "spawn_failed" : "sidecar_exited", message: failure || stderr.trim() };
      this.#refused ??= refused as Failure;
    }
    const message = `The sidecar has ended (${code ?? "by a signal"}).`;
    for (const [id, entry] of [...this.#entries]) {
      if (entry.sent) this.#fail(id, { code: "sidecar_exited", message, retryable: true, partial: entry.chunks > 0 });
      else if (this.#closing) this.#failClosed(id);
      else if (!restarting) this.#fail(id, this.#refused!);
    }
    if (restarting) {
      const { backoffMs = 1000, maxBackoffMs = 30_000 } = this.#options;
      this.#restart = setTimeout(() => this.#spawn(), Math.min(backoffMs * 2 ** this.#restarts++, maxBackoffMs));
    }
    this.#call(this.#options.onExit, { code, restarting, stderr: failure || stderr });
  }

  // --- lines ---------------------------------------------------------------------------------

  #send(entry: Entry): void {
    entry.sent = true;
    this.#child!.stdin.write(entry.line);
    entry.line = "";
  }

  #readLines(lines: string[]): void {
    for (const text of lines) {
      let line: any;
      try {
        line = JSON.parse(text);
      } catch {
        if (text.trim()) this.#report("The sidecar has written a line that is no JSON.");
        continue;
      }
      const entry = this.#entries.get(line?.id);
      if (entry === undefined) this.#readStray(line);
      else if (line.streaming === true && line.data?.type !== "done") {
        entry.chunks++;
        if (entry.cancelled === undefined) entry.onChunk(line.data);
      } else if (line.success === true && entry.cancelled !== "found") this.#settle(line.id)?.resolve(line.data);
      else this.#fail(line.id, line.error ?? CANCELLED);
    }
  }

  #readStray(line: any): void {
    if (line?.event !== undefined) this.#call(this.#options.onEvent, line.data);
    // A request that has expired may still have lines on their way.
    else if (!(line?.id <= this.#lastId)) this.#report("A line of the sidecar's belongs to no request.");
  }

  // --- requests ------------------------------------------------------------------------------

  #settle(id: number): Entry | undefined {
    const entry = this.#entries.get(id);
    this.#entries.delete(id);
    entry?.timers.forEach(clearTimeout);
    return entry;
  }

  #fail(id: number, error: Failure): void {
    this.#settle(id)?.reject(new SidecarError(error));
  }

  #failClosed(id: number): void {
    this.#fail(id, { code: "shutting_down", message: "The client was closed." });
  }

  #cancel(id: number): void {
    const entry = this.#entries.get(id);
    if (!entry || entry.cancelled) return;
    if (!entry.sent) return this.#fail(id, CANCELLED);
    entry.cancelled = "sent";
    entry.timers.push(setTimeout(() => this.#fail(id, CANCELLED), this.#options.graceMs ?? 2000));
    this.#request("cancel", { id }, ({ found }: Cancelled) => {
      if (found) entry.cancelled = "found";
      else this.#fail(id, CANCELLED);
    });
  }

  #expire(id: number, deadlineMs: number): void {
    if (this.#entries.get(id)?.sent && this.#child) this.#request("cancel", { id }, () => {});
    this.#fail(id, { code: "timeout", message: `No answer in ${deadlineMs} ms.`, phase: "total" });
  }

  /** Send a request of the client's own, whose failure concerns nobody. */
  #request<A extends keyof Actions>(action: A, params: Actions[A]["params"], then: (reply: any) => void): void {
    this.request(action, params).reply.then(then, () => {});
  }

  /** Return what takes the chunks of a request: handlers by type, all chunks, and calls of tools. */
  #makeReader(id: number, options: RequestOptions<any>): (chunk: Json) => void {
    const { onChunk, tools } = options;
    const on = options.on as Record<string, ((chunk: any) => void) | undefined> | undefined;
    const calls = new Map<string, ToolCall>();
    return (chunk) => {
      const type: string = chunk["type"];
      this.#call(on?.[type], chunk);
      this.#call(onChunk, chunk);
      if (!tools) return;
      if (type === "tool_call") calls.set(chunk["tool_call"].id, chunk["tool_call"]);
      if (type === "tool_round") {
        for (const call of chunk["calls"] as string[]) {
          void runTool(tools, call, calls.get(call)).then((result) =>
            this.#request("tool_result", { id, results: [result] }, () => {}),
          );
        }
      }
    };
  }

  #call<T>(handler: ((argument: T) => unknown) | undefined, argument: T): void {
    if (handler === undefined) return;
    try {
      handler(argument);
    } catch (error) {
      this.#report(`A handler has thrown: ${error instanceof Error ? error.stack : String(error)}`);
    }
  }

  #report(problem: string): void {
    if (this.#options.onProblem) this.#options.onProblem(problem);
    else process.emitWarning(problem);
  }
}

const CANCELLED: Failure = { code: "cancelled", message: "The request was cancelled." };
