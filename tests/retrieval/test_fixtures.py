"""Every folder under `fixtures/embeddings/` is a test: of the request that is sent, and the lines that come out."""

import json
from pathlib import Path

import pytest

from tests.support import embeddings

CASES = embeddings.list_cases()


@pytest.mark.parametrize("name", CASES)
def test_a_case_sends_its_request_and_gives_its_lines(name: str, tmp_path: Path) -> None:
    request, lines = embeddings.play(name, tmp_path)
    assert request == embeddings.read(name, "request.json")
    expected = (embeddings.ROOT / name / "lines.ndjson").read_text(encoding="utf-8").splitlines()
    assert lines == [json.loads(line) for line in expected]
