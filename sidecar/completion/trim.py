"""What of a model's text is given: the rules of `cuts` in their order, and what is safe to give early. [pure]

Must not know requests or providers.
"""

from sidecar.completion.cuts import (
    FENCE,
    MIN_LINE_CHARS,
    Cut,
    Place,
    count_overlap,
    count_repeating,
    cut_fence,
    find_end_of_lines,
    find_overlap,
    find_repeat,
    find_token,
    may_become,
)


def clean_start(text: str, place: Place) -> str:
    """Return *text* without what stands before the cursor already: indentation, a blank, the line's own beginning."""
    head = place.head
    if head and not head.strip():
        return text.removeprefix(head)
    if place.prefix.endswith("\n\n") and not place.suffix.strip() and text.startswith("\n"):
        return text[1:]
    begun = head.strip()
    if len(begun) >= MIN_LINE_CHARS and text.lstrip(" \t").startswith(begun):
        return text.lstrip(" \t")[len(begun) :].removeprefix(head[len(head.rstrip()) :])
    if head[-1:] in " \t" and head and text[:1] == " ":
        return text[1:]
    return text


def may_be_start(text: str, place: Place) -> bool:
    """Return whether *text* is so short that `clean_start` may still remove some of what it leaves now."""
    head = place.head
    return not text.strip() or (bool(head) and (head.startswith(text) or head.strip().startswith(text.lstrip(" \t"))))


def trim(text: str, place: Place, *, is_final: bool) -> Cut:
    """Return what of *text*, whose start is clean, is given. Unless *is_final*, more of it may come."""
    cut = _cut_lines(_cut_marks(text, place, is_final=is_final), place, is_final=is_final)
    return Cut(_clean_end(cut.text, place), cut.by) if is_final or cut.by else cut


def _cut_marks(text: str, place: Place, *, is_final: bool) -> Cut:
    at = find_token(text, place.tokens)
    cut = Cut(text) if at is None else Cut(text[:at], "token")
    if place.is_markdown:
        return cut
    fenced = cut_fence(cut.text, is_final=is_final or cut.by is not None)
    return fenced if fenced.by else Cut(fenced.text, cut.by)


def _cut_lines(cut: Cut, place: Place, *, is_final: bool) -> Cut:
    is_final = is_final or cut.by is not None
    at = find_end_of_lines(cut.text, place, is_final=is_final)
    if at is not None:
        cut, is_final = Cut(cut.text[:at], "line"), True
    at = find_overlap(cut.text, place, is_final=is_final)
    if at is not None:
        cut, is_final = Cut(cut.text[:at], "suffix_overlap"), True
    at = find_repeat(cut.text, place, is_final=is_final)
    return cut if at is None else Cut(cut.text[:at], "repeat")


def _clean_end(text: str, place: Place) -> str:
    """Return *text* without blanks at its end, where nothing follows on the line; a blank text is none."""
    if not text.strip():
        return ""
    return text if place.tail.strip() else text.rstrip()


def settle(text: str, place: Place) -> str:
    """Return as much of *text*, whose start is clean, as `trim` gives whatever follows."""
    if may_be_start(text, place) or (not place.is_markdown and FENCE.startswith(text.strip()[:3])):
        return ""
    cut = trim(text, place, is_final=False)
    if cut.by is not None:
        return cut.text
    lines = cut.text.split("\n")
    kept = lines if _is_settled(lines, place) else lines[:-1]
    if len(kept) < len(lines) or len(lines) > 1:
        whole = kept[:-1] if len(kept) == len(lines) else kept
        repeating = count_repeating(whole) if whole else 0
        if repeating:
            kept = whole[: len(whole) - repeating]
    settled = "\n".join(kept)
    return _hold_back(settled, cut.text, place).rstrip()


def _is_settled(lines: list[str], place: Place) -> bool:
    """Return whether no rule about whole lines may yet remove the last of *lines*."""
    last, others = lines[-1], lines[:-1]
    if not last.strip():
        return False
    if not others:
        return bool(place.head.strip()) or not may_become(last, [place.line_above])
    return not may_become(last, [place.line_below, *others[-2 * 8 :]])


def _hold_back(settled: str, text: str, place: Place) -> str:
    """Return *settled* without an end that may be the beginning of a token, a fence or the text after the cursor."""
    if settled != text:
        return settled
    held = max((count_overlap(settled, each) for each in (*place.tokens, "\n" + FENCE, place.suffix)), default=0)
    return settled[: len(settled) - held]
