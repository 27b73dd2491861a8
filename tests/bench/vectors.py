"""Vectors of ten thousand texts: throughput beside a bare client, memory, what a broken run keeps, a host's CPU."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from tests.bench import processes, vectors_load
from tests.bench.host import Host, hosting
from tests.bench.processes import EndedError
from tests.bench.report import Bar, Figure

COUNT = 10_000
DIMENSIONS = 1536
BATCHES = {"float": 113, "f32_base64": 256}
"""The batches of the sidecar at this length."""

FORMS = {"float": "float", "f32_base64": "base64"}
"""Encoding → what the provider is asked for."""

PARALLEL = 4
"""How many of them it has in flight."""

LATENCY_MS = 300
"""The pause before an answer: providers take some hundred milliseconds for such a batch."""

RUNS = 3
LONG_DIMENSIONS = 3072
READS = 20


class Line(msgspec.Struct):
    """What is read of a line."""

    data: dict[str, msgspec.Raw] = {}
    error: dict[str, Any] | None = None
    success: bool = True


_decode = msgspec.json.Decoder(Line).decode


def vectors() -> Iterator[Figure]:
    """Measure `embed`."""
    with _serving() as port:
        for encoding in BATCHES:
            yield from _throughput(port, encoding)
        yield _broken(port)
        yield from _reading(port)


@contextmanager
def _serving() -> Iterator[int]:
    process = processes.spawn("-m", "tests.bench.vector_server")
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        processes.end(process)


def _throughput(port: int, encoding: str) -> Iterator[Figure]:
    model, texts = f"ms={LATENCY_MS},dims={DIMENSIONS}", vectors_load.make_texts(COUNT)
    bare, ours, cpu, grown = [], [], [], []
    for _ in range(RUNS):
        bare.append(_run_bare(port, model, encoding))
        with hosting(port) as host:
            host.ping()
            host.wait(_send(host, port, model, texts[:1], encoding), "done")
            idle_mb, cpu_s = processes.memory_mb(host.pid), processes.cpu_s(host.pid)
            began_at = time.monotonic()
            _send(host, port, model, texts, encoding)
            _drain(host)
            ours.append(time.monotonic() - began_at)
            cpu.append(processes.cpu_s(host.pid) - cpu_s)
            grown.append(processes.memory_mb(host.pid, "VmHWM") - idle_mb)
    what = f"{COUNT} texts, {encoding}"
    # What else the machine does only adds to a time, so the best of several is the least wrong.
    beside = {"bare client": min(seconds for seconds, _ in bare)}
    yield Figure(what=f"{what}: time", value=min(ours), unit="s", beside=beside, bars=(Bar(1.1, "bare client"),))
    yield Figure(what=f"{what}: CPU", value=min(cpu), unit="s", beside={"bare client": min(used for _, used in bare)})
    yield Figure(what=f"{what}: memory over idle", value=max(grown), unit="MB", bars=(Bar(60),))


def _drain(host: Host) -> None:
    """Read to the end of the one stream as fast as it comes, and drop it: what a host does with it is not ours."""
    last = b""
    assert host.process.stdout is not None
    while b'"data":{"type":"done",' not in last:
        data = processes.read_some(host.process.stdout, 60)
        last = (last + data)[-4096:]
        if b'"success":false' in last:
            raise EndedError(f"it ended in {last[-300:]!r}")


def _run_bare(port: int, model: str, encoding: str) -> list[float]:
    words = (str(port), model, str(COUNT), str(BATCHES[encoding]), str(PARALLEL), FORMS[encoding])
    process = processes.spawn("-m", "tests.bench.vector_client", *words)
    assert process.stdout is not None
    found = msgspec.json.decode(process.stdout.read(), type=list[float])
    processes.end(process)
    return found


def _send(host: Host, port: int, model: str, texts: list[str], encoding: str, **params: Any) -> int:
    base = {"api_key": "k-test", "base_url": f"http://127.0.0.1:{port}/v1"}
    asked = base | {"model": model, "inputs": texts, "encoding": encoding} | params
    return host.send("embed", provider="openai", params=asked)


def _broken(port: int) -> Figure:
    """Let the provider hang up, go on where the error says, and count the vectors that are missing, wrong or double."""
    texts, found = vectors_load.make_texts(COUNT), list[tuple[int, int]]()
    offset, breaks = 0, 0
    with hosting(port) as host, _serving() as breaking:
        while True:
            at = breaking if breaks == 0 else port
            model = f"ms=1,dims=8{',left=20' if breaks == 0 else ''}"
            request_id = _send(host, at, model, texts, "float", offset=offset)
            end = _read(host, request_id, found)
            if end is None:
                break
            breaks, offset = breaks + 1, end["next_offset"]
            if offset != len(found):
                raise EndedError(f"{len(found)} vectors came, and next_offset is {offset}")
    wrong = sum(a + 1 != b for (a, _), (b, _) in pairwise(found)) + sum(at != number for at, number in found)
    lost = COUNT - len(found) + wrong
    return Figure(what="vectors lost when it breaks off", value=lost, unit="", bars=(Bar(0),), note=f"{breaks} break")


def _read(host: Host, request_id: int, found: list[tuple[int, int]]) -> dict[str, Any] | None:
    """Add the number of each input and the first number of its vector to *found*, and return the error, if any."""
    while True:
        for seen in host.read():
            if seen.id != request_id:
                continue
            if seen.kind == "vectors":
                data = seen.content["data"]
                found += [(data["offset"] + at, int(vector[0])) for at, vector in enumerate(data["vectors"])]
            elif seen.kind == "failed":
                error: dict[str, Any] = seen.content["error"]
                return error
            else:
                return None


def _reading(port: int) -> Iterator[Figure]:
    """Measure what a host pays to read vectors in each encoding."""
    model, texts = f"ms=1,dims={LONG_DIMENSIONS}", vectors_load.make_texts(50)
    lines: dict[str, list[bytes]] = {}
    with hosting(port) as host:
        for encoding in BATCHES:
            seen = host.finish({_send(host, port, model, texts, encoding)})
            lines[encoding] = [each.line for each in seen if each.kind == "vectors"]
    python = {name: min(vectors_load.time_python(each, READS) for _ in range(RUNS)) for name, each in lines.items()}
    yield _compare("Python", python, len(texts) * READS)
    if shutil.which("node"):
        node = {name: min(_time_node(each) for _ in range(RUNS)) for name, each in lines.items()}
        yield _compare("Node", node, len(texts) * READS)


def _compare(language: str, seconds: dict[str, float], count: int) -> Figure:
    micro = {name: value / count * 1e6 for name, value in seconds.items()}
    return Figure(
        what=f"{language} reads {LONG_DIMENSIONS} dimensions, f32_base64",
        value=micro["f32_base64"],
        unit="µs",
        beside={"float": micro["float"]},
        bars=(Bar(0.25, "float"),),
    )


def _time_node(lines: list[bytes]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lines"
        file.write_bytes(b"\n".join(lines) + b"\n")
        done = subprocess.run(
            ["node", "-e", vectors_load.NODE, "--", str(file), str(READS)],
            stdout=subprocess.PIPE,
            check=True,
            timeout=120,
        )
    return float(done.stdout)
