"""Texts through lexers, whole and in pieces, and what must be true of whatever comes out."""

from collections.abc import Iterable
from itertools import pairwise

from protocol.files import FileChunk, FileStart, FormatName
from protocol.replies import Content
from sidecar.formats.auto import make_lexer
from sidecar.formats.events import Closed, Event

NONCE = "7f3a"


def lexed(name: FormatName, *pieces: str, nonce: str | None = NONCE, whole: bool = False) -> list[Event]:
    """Return the events of the text in *pieces*, adjacent ones merged."""
    reader = make_lexer(name, nonce)
    events = [event for piece in pieces for event in reader.feed(piece)]
    found = merged([*events, *reader.end(whole=whole)])
    check(found)
    return found


def merged(events: Iterable[Event]) -> list[Event]:
    """Return *events* with adjacent pieces of one thing as one."""
    out: list[Event] = []
    texts: list[str] = []
    for event in [*events, None]:
        last = out[-1] if out else None
        if isinstance(event, Content | FileChunk) and last is not None and _target(event) == _target(last):
            texts.append(event.content)
            continue
        if isinstance(last, Content):
            out[-1] = Content("".join(texts))
        elif isinstance(last, FileChunk):
            out[-1] = FileChunk(last.file, "".join(texts), last.edit, last.side)
        if event is not None:
            out.append(event)
            texts = [event.content] if isinstance(event, Content | FileChunk) else []
    return out


def _target(event: Event) -> object:
    if isinstance(event, FileChunk):
        return event.file, event.edit, event.side
    return Content if isinstance(event, Content) else None


def check(events: list[Event]) -> None:
    """Assert what is true of any answer: files in order, each ended once, its text what its chunks say."""
    opened: FileStart | None = None
    count = 0
    texts: list[str] = []
    for event in events:
        if isinstance(event, FileStart):
            assert opened is None, "a file begins within another"
            assert event.file == count
            opened, texts, count = event, [], count + 1
        elif isinstance(event, FileChunk):
            assert opened is not None
            assert event.file == opened.file
            assert event.content
            texts.append(event.content)
        elif isinstance(event, Closed):
            assert event.start is opened or event.start == opened
            if event.start.format != "search_replace":
                assert event.text == "".join(texts)
            opened = None
        elif isinstance(event, Content):
            assert opened is None, "prose within a file"
            assert event.content
    assert opened is None, "a file that never ends"


def cut(text: str, places: Iterable[int]) -> list[str]:
    """Return *text* in pieces, cut at *places*."""
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


def files(events: list[Event]) -> list[tuple[str, str, bool]]:
    """Return path, text and completeness of each file."""
    return [(each.start.path, each.text, each.complete) for each in events if isinstance(each, Closed)]


def prose(events: list[Event]) -> str:
    """Return the prose."""
    return "".join(each.content for each in events if isinstance(each, Content))
