"""The rules that say where a model's text ends for the host, each a function of the text and its place. [pure]

A rule returns where it cuts, or None. Unless a text is final, its last line may grow, so that a rule about lines waits
for the line break. Sources of the rules: continue d0a3c0b6 (`postprocessing/`, `streamTransforms/`), tabby 21b29048
(`postprocess/`), read 2026-11.
"""

from collections.abc import Iterable, Sequence

import msgspec

from protocol.completion import CutBy

FENCE = "```"

MIN_LINE_CHARS = 4
"""A shorter line, such as a lone bracket, may well occur twice."""

MIN_OVERLAP_CHARS = 4
"""A shorter overlap with the text after the cursor is cut only if brackets or quotes say so."""

MAX_OVERLAP_CHARS = 2000

MAX_BLOCK_LINES = 8
"""The longest block of lines whose repetition is looked for."""

CLOSERS = {")": "(", "]": "[", "}": "{"}
QUOTES = "\"'`"

OPENERS = (*"{([:,=+|\\.", "=>", "->", "&&", " do", " then", " else", " begin")
"""How a line ends that the next line continues."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a text goes, and what is wanted of it."""

    prefix: str
    suffix: str
    lines: str = "auto"
    """`params.options.lines`."""
    tokens: tuple[str, ...] = ()
    """Texts that end it: the model's own tokens, and the host's stops."""
    is_markdown: bool = False
    """Fences are a part of such a text."""

    @property
    def head(self) -> str:
        """The line of the cursor, before the cursor."""
        return self.prefix.rpartition("\n")[2]

    @property
    def tail(self) -> str:
        """The line of the cursor, after the cursor."""
        return self.suffix.partition("\n")[0]

    @property
    def line_above(self) -> str:
        """The last line with text above the cursor's, without the blanks around it."""
        return _find_text(reversed(self.prefix[-MAX_OVERLAP_CHARS:].split("\n")[:-1]))

    @property
    def line_below(self) -> str:
        """The first line with text below the cursor's, without the blanks around it."""
        return _find_text(self.suffix[:MAX_OVERLAP_CHARS].split("\n")[1:])

    @property
    def wants_one_line(self) -> bool:
        """Whether nothing after the line of the cursor is wanted, whatever the model writes."""
        return self.lines == "one" or (self.lines == "auto" and bool(self.tail.strip()))


def _find_text(lines: Iterable[str]) -> str:
    return next((line.strip() for line in lines if line.strip()), "")


class Cut(msgspec.Struct, frozen=True):
    """A text, and why it ends before the model's own end."""

    text: str
    by: CutBy | None = None


# --- tokens and fences -----------------------------------------------------------------------


def find_token(text: str, tokens: Sequence[str]) -> int | None:
    """Return where the first of *tokens* begins."""
    return min((at for token in tokens if (at := text.find(token)) >= 0), default=None)


def cut_fence(text: str, *, is_final: bool) -> Cut:
    """Return what is inside of a Markdown fence around *text*, or before one that follows the text."""
    body, by = text, None
    if text.lstrip().startswith(FENCE):
        opening, _, body = text.lstrip().partition("\n")
        by = "fence"
        if body == "" and not is_final:
            return Cut("", None)
        if opening.count(FENCE) > 1:
            # All of it on one line.
            return Cut(opening.removeprefix(FENCE).partition(FENCE)[0], "fence")
        if body.startswith(FENCE):
            return Cut("", "fence")
    at = body.find("\n" + FENCE)
    if at >= 0:
        return Cut(body[:at], "fence")
    # Without its end, more of it may come.
    return Cut(body, by if is_final else None)  # type: ignore[arg-type] # a word of CutBy


# --- lines -----------------------------------------------------------------------------------


def find_end_of_lines(text: str, place: Place, *, is_final: bool) -> int | None:
    """Return where the lines end that are wanted."""
    at = text.find("\n")
    if at < 0 or place.lines == "many":
        return None
    if place.wants_one_line:
        return at
    head = place.head
    if head.strip() and not is_continued(head + text[:at]):
        return at
    return _find_end_of_block(text, _count_indent(head), is_final=is_final)


def is_continued(line: str) -> bool:
    """Return whether the next line belongs to *line*."""
    return line.rstrip().endswith(OPENERS)


def _count_indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _find_end_of_block(text: str, indent: int, *, is_final: bool) -> int | None:
    """Return where a line is less indented than the cursor's, or not more after a blank line."""
    lines = text.split("\n")
    at, was_blank = len(lines[0]), not lines[0].strip() and len(lines) > 1 and bool(lines[0])
    blank_at = at
    for number, line in enumerate(lines[1:], 1):
        is_open = number == len(lines) - 1 and not is_final
        if line.strip():
            here = _count_indent(line)
            if here < indent or (was_blank and here <= indent):
                return blank_at if was_blank else at
            was_blank = False
        elif not is_open:
            blank_at = blank_at if was_blank else at
            was_blank = True
        at += 1 + len(line)
    return None


# --- the text after the cursor ---------------------------------------------------------------


def find_overlap(text: str, place: Place, *, is_final: bool) -> int | None:
    """Return where the text after the cursor begins once more."""
    places = [_find_line_below(text, place, is_final=is_final)]
    size = count_overlap(text, place.suffix) if is_final else 0
    if size >= MIN_OVERLAP_CHARS or (size and _is_unbalanced(text, text[-size:])):
        places.append(len(text) - size)
    return min((at for at in places if at is not None), default=None)


def count_overlap(text: str, suffix: str) -> int:
    """Return how many characters at the end of *text* are the beginning of *suffix*, in linear time."""
    pattern, subject = suffix[:MAX_OVERLAP_CHARS], text[-MAX_OVERLAP_CHARS:]
    if not pattern or not subject:
        return 0
    borders = _list_borders(pattern)
    size = 0
    for at, char in enumerate(subject):
        while size and (size == len(pattern) or pattern[size] != char):
            size = borders[size - 1]
        if pattern[size] == char:
            size += 1
        if size == len(pattern) and at < len(subject) - 1:
            size = borders[size - 1]
    return size


def _list_borders(pattern: str) -> list[int]:
    """Return for each beginning of *pattern* the length of its longest end that is a beginning too."""
    borders, size = [0], 0
    for char in pattern[1:]:
        while size and pattern[size] != char:
            size = borders[size - 1]
        size += pattern[size] == char
        borders.append(size)
    return borders


def _is_unbalanced(text: str, ending: str) -> bool:
    """Return whether *ending*, the end of *text*, closes what the text has not opened."""
    closing = ending.strip()
    if not closing or any(char not in CLOSERS and char not in QUOTES and char not in ";, " for char in closing):
        return False
    return any(
        text.count(char) > text.count(CLOSERS[char]) if char in CLOSERS else text.count(char) % 2
        for char in closing
        if char in CLOSERS or char in QUOTES
    )


def _find_line_below(text: str, place: Place, *, is_final: bool) -> int | None:
    """Return where the line below the cursor's begins once more."""
    below = place.line_below
    if not below:
        return None
    lines = text.split("\n")
    at = len(lines[0])
    for number, line in enumerate(lines[1:], 1):
        is_whole = is_final or number < len(lines) - 1
        if is_whole and line.strip() == below:
            end = at + 1 + len(line)
            if len(below) >= MIN_LINE_CHARS or _is_unbalanced(text[:end], below):
                return at
        at += 1 + len(line)
    return None


# --- repetition ------------------------------------------------------------------------------


def find_repeat(text: str, place: Place, *, is_final: bool) -> int | None:
    """Return where the text repeats the line above the cursor's, or itself."""
    lines = text.split("\n")
    whole = lines if is_final else lines[:-1]
    first = _find_text(whole)
    if not place.head.strip() and len(first) >= MIN_LINE_CHARS and first == place.line_above:
        return 0
    start = find_repeated_block(whole)
    return None if start is None else len("\n".join(lines[:start]))


def find_repeated_block(lines: Sequence[str]) -> int | None:
    """Return the number of the first line that repeats what stands right above it: a line twice, or a block."""
    found: list[int] = []
    for size in range(1, min(MAX_BLOCK_LINES, len(lines) // 2) + 1):
        run = 0
        for number in range(size, len(lines)):
            run = run + 1 if lines[number].rstrip() == lines[number - size].rstrip() else 0
            block = lines[number - run + 1 : number + 1]
            if run >= max(size, 2) and any(len(line.strip()) >= MIN_LINE_CHARS for line in block):
                found.append(number - run + 1)
                break
    return min(found, default=None)


def count_repeating(lines: Sequence[str]) -> int:
    """Return how many of the last *lines* may be the beginning of a repetition."""
    longest = 0
    for size in range(1, min(MAX_BLOCK_LINES, len(lines) - 1) + 1):
        run = 0
        while run < len(lines) - size and lines[-1 - run].rstrip() == lines[-1 - run - size].rstrip():
            run += 1
        longest = max(longest, min(run, max(size, 2)))
    return longest


def may_become(line: str, others: Sequence[str]) -> bool:
    """Return whether *line*, which may grow, may become one of *others*."""
    begun = line.strip()
    return any(other.strip().startswith(begun) for other in others if other.strip())
