"""The table of codecs: it names every codec, and every wire names one of them."""

from pathlib import Path

import pytest

import sidecar.codecs
from sidecar.codecs.registry import CODECS, make_codec
from sidecar.wires import registry

HELPERS = {"__init__", "frame", "registry"}


def test_every_codec_is_in_the_table() -> None:
    modules = {path.stem for path in Path(str(sidecar.codecs.__file__)).parent.glob("*.py")}
    assert modules - HELPERS == set(CODECS)


@pytest.mark.parametrize("name", CODECS)
def test_each_stream_gets_a_codec_of_its_own(name: str) -> None:
    codec = make_codec(name)
    assert codec.finish() == []
    assert make_codec(name) is not codec


@pytest.mark.parametrize("wire", registry.list_names())
def test_every_wire_names_a_codec_of_the_table(wire: str) -> None:
    assert registry.load(wire).CODEC in CODECS
