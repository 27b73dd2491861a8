"""A bare client for vectors: `python -m tests.bench.vector_client PORT MODEL COUNT BATCH PARALLEL FORM`.

It sends the batches that the sidecar sends, as many at once, and makes arrays of each answer, as a program
without the sidecar would. Prints the seconds, those of the CPU among them.
"""

import asyncio
import base64
import json
import sys
import time
from array import array

from tests.bench.vectors_load import make_texts


async def ask(queue: "asyncio.Queue[list[str]]", port: int, model: str, form: str) -> int:
    """Ask batches from *queue* over one connection until it is empty, and return how many vectors came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=64 * 1024 * 1024)
    vectors = 0
    while not queue.empty():
        body = json.dumps({"model": model, "input": queue.get_nowait(), "encoding_format": form}).encode()
        writer.write(b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        data = json.loads(await reader.readexactly(length))["data"]
        made = [
            array("f", base64.b64decode(each["embedding"]) if form == "base64" else each["embedding"]) for each in data
        ]
        vectors += len(made)
    writer.close()
    return vectors


async def main(port: int, model: str, count: int, batch: int, parallel: int, form: str) -> None:
    """Ask for *count* vectors in batches."""
    texts = make_texts(count)
    queue: asyncio.Queue[list[str]] = asyncio.Queue()
    for start in range(0, count, batch):
        queue.put_nowait(texts[start : start + batch])
    cpu, began_at = time.process_time(), time.monotonic()
    came = await asyncio.gather(*(ask(queue, port, model, form) for _ in range(parallel)))
    assert sum(came) == count
    print(json.dumps([time.monotonic() - began_at, time.process_time() - cpu]), flush=True)


if __name__ == "__main__":
    words = sys.argv[1:]
    asyncio.run(main(int(words[0]), words[1], int(words[2]), int(words[3]), int(words[4]), words[5]))
