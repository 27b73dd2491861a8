// Where the program of this platform is. A host spawns `path` itself, with no process between the two.
const name = `sidecar-stdio-${process.platform}-${process.arch}`;
const program = process.platform === "win32" ? "sidecar.exe" : "sidecar";

function find() {
  try {
    return require.resolve(`${name}/sidecar/${program}`);
  } catch {
    throw new Error(`sidecar-stdio: ${name} is not installed. Install again without --omit=optional.`);
  }
}

module.exports = { get path() { return find(); } };
