"""Comments in lines of bounded length. [pure]"""

WIDTH = 120


def wrap(text: str, prefix: str) -> list[str]:
    """Return *text* in lines that begin with *prefix*, none longer than `WIDTH` unless a word is; none if empty."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(prefix + word)
    return lines
