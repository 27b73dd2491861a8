"""What counting costs: `python -m tests.bench.vocabulary`. Loading beside tiktoken's own, pings meanwhile, memory."""

import base64
import hashlib
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from sidecar import vocab
from tests.bench import processes, report
from tests.bench.host import hosting
from tests.bench.processes import EndedError
from tests.bench.report import Bar, Figure

NAMES = ("o200k_base", "cl100k_base")

URL = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
"""By whose digest tiktoken calls its local file; nobody is asked."""

RUNS = 7

LOAD = "import time; from tests.bench import vocabulary; print(vocabulary.{}('{}'))"

MEGABYTE = "The quick brown fox; it's 12345 jumps over the lazy dog — naïvely.\n" * 15_000


def ours(name: str) -> float:
    """Return the seconds until our encoding is there."""
    import tiktoken  # noqa: F401 - both have it imported before they begin

    start = time.perf_counter()
    vocab.load(name)
    return time.perf_counter() - start


def theirs(name: str) -> float:
    """Return the seconds until tiktoken has its own from its local file."""
    import tiktoken

    start = time.perf_counter()
    tiktoken.get_encoding(name)
    return time.perf_counter() - start


def loading() -> Iterator[Figure]:
    """Measure loading, each time in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            digest = hashlib.sha1(URL.format(name).encode(), usedforsecurity=False).hexdigest()
            (Path(folder) / digest).write_bytes(_published(name))
            seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
            for _ in range(RUNS):
                for who, taken in seconds.items():
                    taken.append(_run(LOAD.format(who, name), folder))
            size = (vocab.FOLDER / f"{name}.zlib").stat().st_size / 1e6
            yield Figure(
                what=f"loading {name}",
                value=median(seconds["ours"]) * 1e3,
                unit="ms",
                beside={"tiktoken": median(seconds["theirs"]) * 1e3},
                bars=(Bar(1.2, "tiktoken"),),
                note=f"{size:.2f} MB on disk",
            )


def _published(name: str) -> bytes:
    """Return the published vocabulary, made again of ours."""
    content = zlib.decompress((vocab.FOLDER / f"{name}.zlib").read_bytes())
    tokens = (token or vocab.SEPARATOR for token in content.split(vocab.SEPARATOR))
    return b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(tokens))


def _run(script: str, cache: str) -> float:
    process = processes.spawn("-c", f"import os; os.environ['TIKTOKEN_CACHE_DIR'] = {cache!r}\n{script}")
    try:
        assert process.stdout is not None
        return float(process.stdout.readline())
    finally:
        processes.end(process)


def pings() -> Iterator[Figure]:
    """Measure pings while the first count loads its vocabulary, and while a megabyte is counted; and memory."""
    with hosting() as host:
        host.ping()
        idle_mb = processes.memory_mb(host.pid)
        for what, text in (("loads the vocabulary", "Hi"), ("counts a megabyte", MEGABYTE)):
            params: dict[str, Any] = {"model": "gpt-6", "text": text}
            start = time.monotonic()
            last = host.send("count_tokens", provider="openai", params=params)
            taken, done = [], False
            while not done:
                ping, sent = host.send("ping"), time.monotonic()
                while True:
                    seen = list(host.read())
                    done = done or any(each.id == last for each in seen)
                    if any(each.kind == "failed" for each in seen):
                        raise EndedError(f"it ended in {seen[0].line[:200]!r}")
                    if any(each.id == ping for each in seen):
                        break
                taken.append(time.monotonic() - sent)
            yield Figure(what=f"the slowest ping while it {what}", value=max(taken) * 1e3, unit="ms", bars=(Bar(100),))
            yield Figure(what=f"… and how long it {what}", value=(time.monotonic() - start) * 1e3, unit="ms")
        yield Figure(what="memory added by a vocabulary", value=processes.memory_mb(host.pid) - idle_mb, unit="MB")


def main() -> None:
    """Measure and print."""
    sys.path.insert(0, os.fspath(processes.ROOT))
    import_module("sidecar.vocab")
    for figures in (loading(), pings()):
        for figure in report.attempt("vocabulary", figures):
            sys.stdout.write(report.line(figure) + "\n")


if __name__ == "__main__":
    main()
