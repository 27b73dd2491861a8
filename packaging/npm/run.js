#!/usr/bin/env node
// For people who type `sidecar`: the program gets this terminal, and its exit code is ours.
const { spawn } = require("node:child_process");

let program;
try {
  program = require("./index.js").path;
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
// Before the program starts: none of these must end this process alone.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
const child = spawn(program, process.argv.slice(2), { stdio: "inherit" });
child.on("error", (error) => {
  console.error(`sidecar-stdio: ${error.message}`);
  process.exit(1);
});
child.on("exit", (code, signal) => {
  if (signal === null) process.exit(code);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
