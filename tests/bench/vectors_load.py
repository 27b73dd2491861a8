"""The texts of which vectors are made, and what a host does with a line of vectors, in Python and in Node."""

import base64
import json
import time
from array import array

TEXT = "def compute(alpha, beta): return alpha * beta  # the product of both\n" * 14
"""About a thousand characters: a usual piece of a file."""


def make_texts(count: int) -> list[str]:
    """Return so many texts. Each begins with its number."""
    return [f"{number} {TEXT}" for number in range(count)]


def read_line(line: bytes) -> list["array[float]"]:
    """Return the vectors of a line as a host has them: arrays of float32."""
    data = json.loads(line)["data"]
    if data["encoding"] == "float":
        return [array("f", vector) for vector in data["vectors"]]
    return [array("f", base64.b64decode(vector)) for vector in data["vectors"]]


def time_python(lines: list[bytes], repeats: int) -> float:
    """Return the CPU seconds that Python takes to read *lines* so often."""
    begun = time.process_time()
    for _ in range(repeats):
        for line in lines:
            read_line(line)
    return time.process_time() - begun


NODE = """
const [file, repeats] = process.argv.slice(1);
const lines = require('fs').readFileSync(file, 'utf8').trim().split('\\n');
const read = (line) => {
  const data = JSON.parse(line).data;
  if (data.encoding === 'float') return data.vectors.map((vector) => Float32Array.from(vector));
  return data.vectors.map((text) => {
    const bytes = Buffer.from(text, 'base64');
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  });
};
const run = () => { for (let at = 0; at < repeats; at++) for (const line of lines) read(line); };
run();
const begun = process.cpuUsage();
run();
const used = process.cpuUsage(begun);
console.log((used.user + used.system) / 1e6);
"""
"""The same in Node: arguments are a file of lines, and how often to read it. Prints CPU seconds."""
