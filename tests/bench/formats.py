"""What it costs to look for files in an answer, and to place edits: CPU of this process, with nothing around it."""

import time
from collections.abc import Callable, Iterator
from typing import get_args

from protocol.files import FormatName
from protocol.outputs import FilesOutput
from protocol.replies import Content
from sidecar.formats.apply import apply_edits
from sidecar.formats.edits import make_edit
from sidecar.outputs.files import FileSink
from tests.bench.report import Bar, Figure
from tests.outputs.collecting import Collector

NONCE = "7f3a"
EVENT_CHARS = 4
REPEATS = 5

LINES = [f"{'    ' * (at % 3)}value_{at} = compute(alpha, {at})  # {at % 7}" for at in range(5000)]
BODY = "".join(f"{line}\n" for line in LINES[:1000])
PROSE = "This is an ordinary sentence of an answer, and the next one follows on a line of its own.\n" * 400

ANSWERS: dict[FormatName, str] = {
    "blocks": f"<<<< file {NONCE} a.py\n{BODY}>>>> file {NONCE}\n",
    "patch": f"*** Begin Patch\n*** Add File: a.py\n+{BODY.replace(chr(10), chr(10) + '+')}\n*** End Patch\n",
    "udiff": f"--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n+{BODY.replace(chr(10), chr(10) + '+')}\n",
    "heredoc": f"cat > a.py << 'EOF'\n{BODY}EOF\n",
    "artifact": f'<boltAction type="file" filePath="a.py">\n{BODY}</boltAction>\n',
}
FENCED = f"a.py\n```python\n{BODY}```\n"


def formats() -> Iterator[Figure]:
    """Measure each format on small events, in a file and in prose, and a hundred edits in five thousand lines."""
    for name in get_args(FormatName):
        prose, file = _event_us(name, PROSE), _event_us(name, ANSWERS.get(name, FENCED))
        what = f"CPU per event of {EVENT_CHARS} characters, {name}"
        yield Figure(what=what, value=file, unit="µs", beside={"prose": prose}, bars=(Bar(2),))
    for kind in ("exact", "further in", "missing"):
        yield Figure(what=f"100 edits in 5,000 lines, {kind}", value=_edits_ms(kind), unit="ms", bars=(Bar(50),))


def _least_s(deed: Callable[[], object]) -> float:
    """Return the least CPU time of *deed*: a busy machine only ever adds."""
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        deed()
        times.append(time.process_time() - began)
    return min(times)


def _event_us(name: FormatName, text: str) -> float:
    """Return what looking for files adds to an event on its way from a decoder to a sink."""
    pieces = [[Content(text[at : at + EVENT_CHARS])] for at in range(0, len(text), EVENT_CHARS)]

    def read() -> None:
        sink = FileSink(FilesOutput(format=name), Collector(), nonce=NONCE)
        for piece in pieces:
            sink.send(piece)

    return _least_s(read) / len(pieces) * 1e6


def _edits_ms(kind: str) -> float:
    mangle = {"exact": "{}\n", "further in": "  {}\n", "missing": "{} or not\n"}[kind]
    blocks = [LINES[at : at + 6] for at in range(0, len(LINES), 50)]
    texts = [("".join(map(mangle.format, block)), "".join(map(mangle.format, [*block[:3], "new"]))) for block in blocks]
    text = "".join(f"{line}\n" for line in LINES)
    edits = [make_edit(*pair) for pair in texts]
    outcome = apply_edits(text, edits)
    if len(outcome.failed if kind == "missing" else outcome.applied) != len(edits):
        raise AssertionError(f"the edits {kind} are not what they should be")
    return _least_s(lambda: apply_edits(text, edits)) * 1000
