"""A provider of vectors on this machine: `python -m tests.bench.vector_server`.

Prints its port. The model of a request carries the load: `ms=100,dims=1536` answers after 100 ms with vectors of that
length. `left=3` closes the fourth connection that asks, and all after it, half-way through the answer. A text's
vector begins with the number that the text begins with.
"""

import asyncio
import base64
import random
import re
import struct
import sys
from functools import cache

import msgspec

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Body(msgspec.Struct):
    """What is read of a request."""

    model: str
    input: list[str]
    encoding_format: str = "float"


_decode = msgspec.json.Decoder(Body).decode


@cache
def tail(dims: int) -> list[float]:
    """Return all numbers of a vector but the first."""
    chance = random.Random(7)
    return [struct.unpack("<f", struct.pack("<f", chance.gauss(0, 0.025)))[0] for _ in range(dims - 1)]


@cache
def written_tail(dims: int) -> str:
    """Return them as OpenAI writes them, to eight digits."""
    return "".join(f",{number:.8g}" for number in tail(dims))


@cache
def packed_tail(dims: int) -> bytes:
    """Return them as float32."""
    return struct.pack(f"<{dims - 1}f", *tail(dims))


def make_vector(text: str, dims: int, form: str) -> str:
    """Return the JSON of one vector."""
    number = int(text.partition(" ")[0])
    if form == "base64":
        return f'"{base64.b64encode(struct.pack("<f", number) + packed_tail(dims)).decode()}"'
    return f"[{number}{written_tail(dims)}]"


def make_answer(body: Body) -> tuple[bytes, dict[str, int]]:
    """Return the document that answers *body*, and the load."""
    load = {name: int(value) for name, _, value in (pair.partition("=") for pair in body.model.split(","))}
    vectors = (make_vector(text, load["dims"], body.encoding_format) for text in body.input)
    entries = ",".join(
        f'{{"object":"embedding","index":{at},"embedding":{vector}}}' for at, vector in enumerate(vectors)
    )
    count = len(body.input)
    document = f'{{"object":"list","data":[{entries}],"usage":{{"prompt_tokens":{count},"total_tokens":{count}}}}}'
    return document.encode(), load


class Provider:
    """The server."""

    def __init__(self) -> None:
        self.answered = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                assert length
                body, load = make_answer(_decode(await reader.readexactly(int(length[1]))))
                await asyncio.sleep(load["ms"] / 1000)
                self.answered += 1
                head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
                if load.get("left", self.answered) < self.answered:
                    writer.write(head + body[: len(body) // 2])
                    break
                writer.write(head + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def main() -> None:
    """Serve until the end of the process."""
    server = await asyncio.start_server(Provider().serve, "127.0.0.1", 0, limit=64 * 1024 * 1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
