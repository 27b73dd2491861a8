"""Finds the JSON in a text: the whole text, a fenced block, or the first in prose, with bounded work. [pure]

Knows the fences and the prose that models put around JSON. Must not know what the JSON is for.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from sidecar.core.json_values import is_too_deep

MAX_STARTS = 64
"""How many brackets in prose are tried as the beginning of JSON."""

MAX_READINGS = 4
"""How much of the text may be read for all tries, as a multiple of its length."""

_FENCED = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)

_START = re.compile(r"[{\[]")


def find_json(text: str) -> tuple[bool, Any]:
    """Return whether there is JSON in *text*, and its value: the whole text, a fenced part, or the first in prose."""
    for candidate in (text, *(match[1] for match in _FENCED.finditer(text)), *_find_json_in_prose(text)):
        try:
            if is_too_deep(candidate.encode()):
                # Shallower JSON inside it is not the answer.
                return False, None
            value = msgspec.json.decode(candidate)
            # A number of hundreds of digits can be read but not written to the host.
            msgspec.json.encode(value)
        except (ValueError, OverflowError, RecursionError):
            continue
        return True, value
    return False, None


def _find_json_in_prose(text: str) -> Iterator[str]:
    """Yield the parts of *text* from its first brackets on that may be JSON, with bounded work."""
    from json import JSONDecodeError, JSONDecoder  # Few answers need it.

    # It finds the end of JSON that is followed by prose. The value itself is read by msgspec, as everywhere.
    decoder = JSONDecoder()
    chars_left = MAX_READINGS * len(text)
    for match, _ in zip(_START.finditer(text), range(MAX_STARTS), strict=False):
        start = match.start()
        try:
            end = decoder.raw_decode(text, start)[1]
        except JSONDecodeError as error:
            chars_left -= error.pos - start
        except (ValueError, RecursionError):
            chars_left -= len(text) - start
        else:
            chars_left -= end - start
            yield text[start:end]
        if chars_left < 0:
            return
