// Measures how much processor time a stream takes through the client, and through a bare loop of JSON.parse.

import { readFileSync } from "node:fs";
import { Sidecar } from "../../protocol/clients/typescript/client.ts";

const seconds = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

/** Return how long the parser takes. The lines are garbage afterwards, and no burden for the client. */
function measureParser(): number {
  const lines = readFileSync(process.env["CHUNKS"]!).toString().trimEnd().split("\n");
  const began = seconds();
  let count = 0;
  for (const line of lines) if (JSON.parse(line).data.type === "content") count++;
  return seconds() - began;
}

async function streamAll(): Promise<number> {
  let count = 0;
  const sidecar = new Sidecar({ command: [process.env["SIDECAR_COMMAND"]!] });
  sidecar.start();
  await sidecar.request("stream_chat", {}, { on: { content: () => count++ } }).reply;
  await sidecar.close();
  return count;
}

for (let round = 0; round < 3; round++) {
  const bare_s = measureParser();
  const began = seconds();
  const chunks = await streamAll();
  console.log(JSON.stringify({ bare_s, client_s: seconds() - began, chunks }));
}
