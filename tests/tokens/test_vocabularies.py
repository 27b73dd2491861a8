"""The vocabularies that come with the program: identical to the published ones, and loaded without a network."""

import base64
import hashlib
import importlib.metadata
import platform
import socket
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken_ext import openai_public  # type: ignore[import-untyped]

from sidecar.tokens import vocabularies
from tests.tokens.test_build import published

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(vocabularies.load_table())

TEXTS = (
    "Hello, world! don't we'LL\n\n\tdef f(x):\n        return x+1  # 12345\r\n",
    "naïve façade — ein Größenwahn \u4f60\u597d\uff0c\u4e16\u754c\u3002 こんにちは 🛵👩‍💻 <|endoftext|>",
    " " * 500 + "x" + "\t" * 70 + "\n" * 9 + "a" * 700,
    "",
)


@cache
def loaded(name: str) -> tiktoken.Encoding:
    return vocabularies.load(name)


@pytest.mark.parametrize("name", NAMES)
def test_ours_is_the_published_vocabulary(name: str) -> None:
    made = published(name)
    assert len(made) == vocabularies.load_table()[name].published_bytes
    assert hashlib.sha256(made).hexdigest() == vocabularies.load_table()[name].published_sha256


def test_the_published_ones_are_those_that_tiktoken_would_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: dict[str, str] = {}

    def note(url: str, expected_hash: str) -> dict[bytes, int]:
        wanted[url.rpartition("/")[2].removesuffix(".tiktoken")] = expected_hash
        return {}

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", note)
    for name in NAMES:
        assert getattr(openai_public, name)()["pat_str"] == vocabularies.load_table()[name].pattern
        assert wanted[name] == vocabularies.load_table()[name].published_sha256
    # Harmony's is the same file with more special tokens, of which no text has any.
    assert openai_public.o200k_harmony()["pat_str"] == vocabularies.load_table()["o200k_base"].pattern
    assert vocabularies.resolve_name("o200k_harmony") == "o200k_base"
    assert {vocabularies.resolve_name(name) for name in NAMES} == set(NAMES)


@cache
def theirs(name: str) -> tiktoken.Encoding:
    """Return what tiktoken makes of the published file."""
    lines = (line.split() for line in published(name).splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    return tiktoken.Encoding(
        name, pat_str=vocabularies.load_table()[name].pattern, mergeable_ranks=ranks, special_tokens={}
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_text_has_the_tokens_that_tiktoken_finds(name: str) -> None:
    for text in TEXTS:
        assert loaded(name).encode_ordinary(text) == theirs(name).encode_ordinary(text)


@given(text=st.text(max_size=200))
@settings(max_examples=200)
def test_any_text_has_the_tokens_that_tiktoken_finds(text: str) -> None:
    for name in NAMES:
        assert loaded(name).encode_ordinary(text) == theirs(name).encode_ordinary(text)


def test_a_known_text_has_its_known_tokens() -> None:
    assert loaded("o200k_base").encode_ordinary("hello world") == [24912, 2375]
    assert loaded("cl100k_base").encode_ordinary("hello world") == [15339, 1917]


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the network was touched")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    assert len(vocabularies.load("cl100k_base").encode_ordinary("hello world")) == 2


@pytest.mark.spawns
def test_loading_imports_no_http_client_and_writes_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from sidecar.tokens import vocabularies; vocabularies.load('cl100k_base')\n"
        "print(*sorted({'requests', 'httpx2', 'urllib3', 'ssl'} & set(sys.modules)))"
    )
    env = {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
    assert list(tmp_path.iterdir()) == []


FAULTS = """
import resource, threading
from tiktoken import core
from sidecar.tokens import vocabularies

build, faults = core._tiktoken.CoreBPE, []

def noted(*arguments):
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    made = build(*arguments)
    faults.append(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)
    return made

core._tiktoken.CoreBPE = noted
thread = threading.Thread(target=vocabularies.load, args=["{}"])
thread.start()
thread.join()
print(*faults)
"""


@pytest.mark.spawns
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
@pytest.mark.parametrize("name", NAMES)
def test_nothing_waits_for_pages_of_memory_while_an_encoding_is_built(name: str) -> None:
    """The one native call in which no other thread may run: of ten thousand pages next to none is mapped in it."""
    script = FAULTS.format(name)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) < 1000


def test_the_licence_beside_the_files_is_their_publishers() -> None:
    """Ours: the vocabularies are data of tiktoken's makers."""
    theirs = importlib.metadata.distribution("tiktoken").files or []
    (licence,) = [file for file in theirs if file.name == "LICENSE"]
    assert (vocabularies.FOLDER / "LICENSE").read_text(encoding="utf-8") == licence.read_text()


def test_a_damaged_or_missing_file_is_reported(tmp_path: Path) -> None:
    good = (vocabularies.FOLDER / "cl100k_base.zlib").read_bytes()
    file = tmp_path / "cl100k_base.zlib"
    changed = bytearray(zlib.decompress(good))
    changed[-1] ^= 1
    for bad in (b"", good[:-100], b"no zlib", zlib.compress(bytes(changed))):
        file.write_bytes(bad)
        with pytest.raises(vocabularies.VocabularyError):
            vocabularies.load("cl100k_base", tmp_path)
    file.unlink()
    with pytest.raises(vocabularies.VocabularyError):
        vocabularies.load("cl100k_base", tmp_path)
