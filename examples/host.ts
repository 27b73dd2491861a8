// A host over the client in TypeScript: it streams, runs a tool, cancels, and outlives its sidecar.
// Put a real provider in place of `replay` and nothing else changes.

import { Sidecar, type Call, type Chat, type SidecarError } from "../protocol/clients/typescript/client.ts";

const ask = (model: string): Chat => ({
  model,
  messages: [{ role: "user", content: "Hello" }],
  options: { tool_loop: {} },
});

const sidecar = new Sidecar({ onExit: (end) => console.log(`[ended, restarting: ${end.restarting}]`) });
sidecar.start();

const chat = sidecar.request("stream_chat", ask("replay/tool_call"), {
  on: { content: (chunk) => process.stdout.write(chunk.content) },
  tools: { weather: ({ city }) => `4 degrees in ${city}` },
});
const done = await chat.reply;
console.log(`\n[${done.finish_reason}, rounds: ${done.rounds?.length}]`);

for (const stop of [(call: Call<any>) => call.cancel(), () => sidecar.kill()]) {
  const options = { on: { content: () => stop(call) } };
  const call: Call<"stream_chat"> = sidecar.request("stream_chat", ask("replay/slow"), options);
  await call.reply.catch((error: SidecarError) => console.log(`[${error.code}]`));
}
console.log(await sidecar.request("ping", {}, { deadlineMs: 10_000 }).reply);
await sidecar.close();
