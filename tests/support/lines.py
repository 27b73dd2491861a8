"""The lines that come back: what each of them must be, and what those of one request must be together."""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from sidecar.core.json_values import has_big_integer
from tests.support.canaries import Secrets

CANARY = "sk-CANARY-5f2e7c90d1"
"""The key of every request. It must never be seen again."""

ABSENT = object()
"""The id of a request that has none."""

Id = Any
Object = dict[str, Any]

_MANY_DIGITS = re.compile(rb"\d{16}")
_CONTROLS = bytes([*range(32), 127])
_WIDE_CONTROLS = re.compile(b"\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]|\xef\xbb\xbf")
"""In UTF-8: C1, what some readers of lines take for line ends, and the byte order mark."""


class Line(NamedTuple):
    """One line of stdout, and when it was read."""

    at: float
    data: Object

    @property
    def id(self) -> Id:
        return self.data.get("id", ABSENT)

    @property
    def terminal(self) -> bool:
        """Whether it ends its request."""
        return "streaming" not in self.data or self.data["data"]["type"] == "done"

    @property
    def code(self) -> str | None:
        """The error code."""
        return None if self.data["success"] else str(self.data["error"]["code"])

    @property
    def refuses_duplicate(self) -> bool:
        """Whether it answers a second request under an id that was in use."""
        return self.code is not None and self.data["error"].get("reason") == "duplicate_id"


def read_line(at: float, raw: bytes, secrets: Secrets) -> Line:
    """Return a line without its LF, in which none of *secrets* may stand.

    Raises: ValueError for what no host should have to read.
    """
    data = json.loads(raw.decode(), parse_constant=_refuse)
    if not isinstance(data, dict) or not (isinstance(data.get("success"), bool) or "event" in data):
        raise ValueError("no reply")
    if len(raw.translate(None, _CONTROLS)) < len(raw) or (not raw.isascii() and _WIDE_CONTROLS.search(raw)):
        raise ValueError("a control character")
    if _MANY_DIGITS.search(raw) and has_big_integer({key: data[key] for key in data if key != "id"}, None):
        raise ValueError("an integer that many languages cannot hold")
    if secret := secrets.find_in(raw):
        raise ValueError(f"the secret {secret[:12]}")
    return Line(at, data)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def check_sequence(request_id: Id, lines: Sequence[Line]) -> bool:
    """Assert that `seq` has no gap, and return whether a stream was begun and not ended."""
    expected = 0
    for line in lines:
        if "streaming" in line.data:
            assert line.data["seq"] == expected, f"{request_id!r}: seq {line.data['seq']} after {expected - 1}"
            expected += 1
        if line.terminal and not line.refuses_duplicate:
            expected = 0
    return expected > 0


def text(lines: Sequence[Line]) -> str:
    """Return the text of a stream's chunks."""
    return "".join(
        line.data["data"]["content"]
        for line in lines
        if "streaming" in line.data and line.data["data"]["type"] == "content"
    )
