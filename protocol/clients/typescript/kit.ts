// The driver of the conformance kit (protocol/KIT.md): carries out operations, and reports what happens.

import { createInterface } from "node:readline";
import { Sidecar, SidecarError, type Call } from "./client.ts";

const report = (event: string, fields: object) => process.stdout.write(JSON.stringify({ event, ...fields }) + "\n");

const calls = new Map<string, Call<any>>();
const sidecar = new Sidecar({
  command: [process.env["SIDECAR_COMMAND"]!],
  backoffMs: Number(process.env["SIDECAR_BACKOFF_MS"] ?? 1000),
  initialize: { client: { name: "kit" }, events: ["status", "warnings"] },
  onReady: ({ protocol_version }) => report("ready", { protocol_version }),
  onEvent: (data) => report("unsolicited", { data }),
  onExit: (exit) => report("exit", exit),
  onRefused: (error) => report("refused", { reason: error.reason ?? error.code }),
  onProblem: (problem) => console.error(problem),
});

function request(id: unknown, op: any): void {
  const key = JSON.stringify(id);
  const call = sidecar.request<any>(op.action, op.params, {
    provider: op.provider,
    deadlineMs: op.deadline_ms,
    onChunk: (data: unknown) => report("chunk", { id, data }),
  });
  calls.set(key, call);
  const forget = () => calls.get(key) === call && calls.delete(key);
  call.reply.then(
    (data) => [forget(), report("done", { id, data })],
    (error) => [forget(), report("error", { id, error: (error as SidecarError).body })],
  );
}

async function close(): Promise<void> {
  await sidecar.close();
  process.stdout.write("", () => process.exit(0));
}

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const op = JSON.parse(line);
    if (op.op === "start") sidecar.start();
    else if (op.op === "request") request(op.id, op);
    else if (op.op === "cancel") calls.get(JSON.stringify(op.id))?.cancel();
    else void close();
  })
  .on("close", () => void close());
