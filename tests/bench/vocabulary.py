"""What counting costs: loading a vocabulary beside tiktoken's own, in time and memory, and pings meanwhile."""

import base64
import hashlib
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from sidecar.tokens import vocabularies
from tests.bench import processes
from tests.bench.host import Host, hosting
from tests.bench.processes import EndedError
from tests.bench.report import Bar, Figure

NAMES = ("o200k_base", "cl100k_base")

URL = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
"""By whose digest tiktoken calls its local file; nobody is asked."""

RUNS = 7

HOSTS = 5

LOAD = "from tests.bench import vocabulary; print(*vocabulary.{}('{}'))"

MEGABYTE = "The quick brown fox; it's 12345 jumps over the lazy dog — naïvely.\n" * 15_000


def ours(name: str) -> tuple[float, float]:
    """Return the seconds until our encoding is there, and the megabytes that it keeps."""
    import tiktoken  # noqa: F401 - both have it imported before they begin

    return _cost(lambda: vocabularies.load(name))


def theirs(name: str) -> tuple[float, float]:
    """Return the seconds until tiktoken has its own from its local file, and the megabytes that it keeps."""
    import tiktoken

    return _cost(lambda: tiktoken.get_encoding(name))


def _cost(load: Callable[[], object]) -> tuple[float, float]:
    before_mb, start = processes.memory_mb(os.getpid()), time.perf_counter()
    kept = load()
    seconds = time.perf_counter() - start
    added_mb = processes.memory_mb(os.getpid()) - before_mb
    del kept
    return seconds, added_mb


def loading() -> Iterator[Figure]:
    """Time and memory of each vocabulary beside tiktoken's own from a local file, a process for each load."""
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            digest = hashlib.sha1(URL.format(name).encode(), usedforsecurity=False).hexdigest()
            (Path(folder) / digest).write_bytes(_published(name))
            runs: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
            for _ in range(RUNS):
                for who, costs in runs.items():
                    costs.append(_run(LOAD.format(who, name), folder))
            size = (vocabularies.FOLDER / f"{name}.zlib").stat().st_size / 1e6
            ms, mb = ({who: median(each[at] for each in costs) for who, costs in runs.items()} for at in (0, 1))
            yield Figure(
                what=f"loading {name}",
                value=ms["ours"] * 1e3,
                unit="ms",
                beside={"tiktoken": ms["theirs"] * 1e3},
                bars=(Bar(1.2, "tiktoken"),),
                note=f"{size:.2f} MB on disk",
            )
            yield Figure(
                what=f"memory of {name}",
                value=mb["ours"],
                unit="MB",
                beside={"tiktoken": mb["theirs"]},
                bars=(Bar(1.2, "tiktoken"),),
            )


def _published(name: str) -> bytes:
    """Return the published vocabulary, made again of ours."""
    content = zlib.decompress((vocabularies.FOLDER / f"{name}.zlib").read_bytes())
    tokens = (token or vocabularies.SEPARATOR for token in content.split(vocabularies.SEPARATOR))
    return b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(tokens))


def _run(script: str, cache: str) -> tuple[float, float]:
    process = processes.spawn("-c", f"import os; os.environ['TIKTOKEN_CACHE_DIR'] = {cache!r}\n{script}")
    try:
        assert process.stdout is not None
        seconds, megabytes = map(float, process.stdout.readline().split())
        return seconds, megabytes
    finally:
        processes.end(process)


def pings() -> Iterator[Figure]:
    """Measure pings while the first count loads its vocabulary, and while a megabyte is counted; and memory."""
    measured: dict[str, list[tuple[float, float]]] = {"loads the vocabulary": [], "counts a megabyte": []}
    added_mb = []
    for _ in range(HOSTS):
        with hosting() as host:
            host.ping()
            idle_mb = processes.memory_mb(host.pid)
            for (what, found), text in zip(measured.items(), ("Hi", MEGABYTE), strict=True):
                found.append(_while_counting(host, text, what))
            added_mb.append(processes.memory_mb(host.pid) - idle_mb)
    for what, found in measured.items():
        slowest, taken = (median(each[at] for each in found) * 1e3 for at in (0, 1))
        yield Figure(what=f"the slowest ping while it {what}", value=slowest, unit="ms", bars=(Bar(100),))
        yield Figure(what=f"… and how long it {what}", value=taken, unit="ms")
    yield Figure(what="memory added by a vocabulary", value=median(added_mb), unit="MB")


def _while_counting(host: Host, text: str, what: str) -> tuple[float, float]:
    """Return the seconds of the slowest ping while *text* is counted, and of the count."""
    start = time.monotonic()
    last = host.send("count_tokens", provider="openai", params={"model": "gpt-6", "text": text})
    slowest, done = 0.0, False
    while not done:
        ping, sent = host.send("ping"), time.monotonic()
        answered = False
        while not answered:
            seen = list(host.read())
            if failed := [each for each in seen if each.kind == "failed"]:
                raise EndedError(f"it {what}: {failed[0].line[:200]!r}")
            done = done or any(each.id == last for each in seen)
            answered = any(each.id == ping for each in seen)
        slowest = max(slowest, time.monotonic() - sent)
    return slowest, time.monotonic() - start


def vocabulary() -> Iterator[Figure]:
    """Vocabularies: loading them beside tiktoken, and pings while one is loaded and while a megabyte is counted."""
    yield from loading()
    yield from pings()
