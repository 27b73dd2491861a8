"""The table of formats, and the reader of the prose around files. [sans-IO]

`auto` tries all formats until one of them opens a file, and stays with that one.
"""

from protocol.files import FormatName
from sidecar.formats import artifact, blocks, fenced, heredoc, patch, paths, udiff
from sidecar.formats.code import closes_fence, read_opening_fence
from sidecar.formats.events import Writer
from sidecar.formats.lines import BLANKS, Decide, Format, Grammar, Lexer, State, begins_with_any

FORMATS: dict[FormatName, Format] = {
    "blocks": blocks.PLAIN,
    "patch": patch.PATCH,
    "udiff": udiff.UDIFF,
    "heredoc": heredoc.HEREDOC,
    "artifact": artifact.ARTIFACT,
    "whole": fenced.WHOLE,
    "fences": fenced.FENCES,
}
"""By name, in the order in which `auto` tries them."""


def make_lexer(name: FormatName, nonce: str | None = None, first: int = 0) -> Lexer:
    """Return a lexer of the format *name*, which counts files from *first* on.

    *nonce* is what the markers of `blocks` carry.
    """
    if name == "auto":
        # `fences` accepts everything that `whole` does.
        formats = (
            *((blocks.make_own_format(nonce),) if nonce else ()),
            *(each for each in FORMATS.values() if each != fenced.WHOLE),
        )
    else:
        formats = (blocks.make_own_format(nonce) if nonce and name == "blocks" else FORMATS[name],)
    return Lexer(lambda out: read_prose(out, formats), first)


def read_prose(out: Writer, formats: tuple[Format, ...]) -> Grammar:
    """Read prose, and the files that *formats* open in it."""
    state = _make_prose_state(formats)
    out.only = len(formats) == 1
    line: str | None = yield state
    while line:
        for format_ in formats:
            inside = format_.enter(out, line)
            if inside is False:
                continue
            line = None if inside is True else (yield from inside)
            if out.count > out.first and not out.only:
                out.only = True
                formats = (format_,)
                state = _make_prose_state(formats)
            break
        else:
            _add_to_prose(out, line, named_above=any(each.named_above for each in formats))
            line = None
        if line is None:
            line = yield state
    return line


def _make_prose_state(formats: tuple[Format, ...]) -> State:
    starts = begins_with_any("```", "~~~", *(start for each in formats for start in each.openers))
    find_tags = [each.find_tag for each in formats if each.find_tag]
    decide = _decide_by_either(starts, paths.may_name_file) if any(each.named_above for each in formats) else starts
    return State(line=decide, find_tag=find_tags[0] if find_tags else None)


def _decide_by_either(first: Decide, second: Decide) -> Decide:
    def decide(line: str) -> bool | None:
        verdict = first(line)
        return second(line) if verdict is False else verdict

    return decide


def _add_to_prose(out: Writer, line: str, *, named_above: bool) -> None:
    """Add a line that opens no file to the prose; one that may name the file below it waits."""
    if out.fence and closes_fence(line, out.fence):
        out.fence = None
        out.text(line)
    elif not out.fence and (fence := read_opening_fence(line)):
        out.fence = fence
        if out.held:
            out.hold(line)
        else:
            out.text(line)
    elif named_above and paths.find_path_in_line(line):
        out.settle()
        out.hold(line)
    elif named_above and not line.strip(BLANKS) and len(out.held) == 1:
        out.hold(line)
    else:
        out.text(line)
