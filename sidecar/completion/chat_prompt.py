"""A completion asked in words: the chat, and the text inside of its answer. [pure]

The model reads the text with a mark at the cursor, and answers inside of one tag. What it writes outside is prose, and
is dropped.
"""

import msgspec

from protocol.completion import Complete
from protocol.messages import Message
from protocol.options import Options, ReasoningOptions
from protocol.requests import Chat
from sidecar.completion.cuts import Place, is_continued
from sidecar.completion.prompt import choose_temperature, make_place
from sidecar.wires.shared.types import ModelFacts

OPENING, CLOSING = "<COMPLETION>", "</COMPLETION>"

TAG_TOKENS = 24
"""Room for the tags."""

MARKS = ("<CURSOR/>", "<|CURSOR|>", "[[CURSOR]]", "@@CURSOR@@")

INSTRUCTIONS = """\
You complete text at the cursor of an editor. The text below has the mark {mark} where the cursor is. Write only what \
belongs in the place of the mark, exactly as it must stand there, between {opening} and {closing}, and nothing else. \
Do not repeat what stands before or after the mark, and do not use Markdown. {lines}

Example: for the text
total = price * {mark}
print(total)
the answer is
{opening}quantity{closing}

Example: for the text
function add(a, b) {{
  {mark}
}}
the answer is
{opening}return a + b;{closing}
"""

LINES = {True: "Write one line at most.", False: "Stop at the end of the statement or block."}


def make_chat(params: Complete, facts: ModelFacts) -> Chat:
    """Return the chat that asks for the text at the cursor of *params*."""
    mark = next((each for each in MARKS if each not in params.prefix + params.suffix), MARKS[0])
    is_one_line = make_place(params).wants_one_line
    parts = [INSTRUCTIONS.format(mark=mark, opening=OPENING, closing=CLOSING, lines=LINES[is_one_line])]
    parts += [f"The file {file.path}, for reference:\n{file.text}\n" for file in params.context]
    name = f" of the file {params.path}" if params.path else ""
    language = f" in {params.language}" if params.language else ""
    parts.append(f"The text{name}{language}:\n{params.prefix}{mark}{params.suffix}")
    options = Options(
        max_tokens=params.options.max_tokens + TAG_TOKENS,
        temperature=choose_temperature(params),
        seed=params.options.seed,
        stop=[CLOSING],
        reasoning=_choose_reasoning(facts),
        provider_options=params.options.provider_options,
    )
    return Chat(
        model=params.model,
        messages=[Message(role="user", content="\n".join(parts))],
        options=drop_unknown(options, facts),
        api_key=params.api_key,
        base_url=params.base_url,
        settings=params.settings,
    )


def _choose_reasoning(facts: ModelFacts) -> ReasoningOptions | None:
    """Return the least reasoning that the model has; None for one that is not known to reason."""
    if not facts.reasoning:
        return None
    least = facts.efforts[0] if facts.efforts and "none" not in facts.efforts else "none"
    return msgspec.convert({"effort": least}, ReasoningOptions)


def drop_unknown(options: Options, facts: ModelFacts) -> Options:
    """Return *options* without those that nobody has asked for and that the model refuses: a warning would be noise."""
    refused = {name: None for name in ("temperature", "stop") if name in facts.refuses}
    return msgspec.structs.replace(options, **refused) if refused else options


class TagReader:
    """The text inside of the tag, as the answer arrives."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._text = ""
        self._given = 0
        self._start: int | None = None
        """Where the text begins; None: not yet."""
        self.has_ended = False

    def feed(self, text: str) -> str:
        """Return what of the text inside of the tag *text* adds."""
        if self.has_ended:
            return ""
        self._text += text
        if self._start is None and not self._find_start():
            return ""
        start = self._start or 0
        end = self._text.find(CLOSING, start)
        if end >= 0:
            self.has_ended = True
        else:
            end = len(self._text) - _count_begun(self._text)
        piece = self._text[start + self._given : end]
        self._given += len(piece)
        return piece

    def _find_start(self) -> bool:
        at = self._text.find(OPENING)
        if at < 0 or len(self._text) == at + len(OPENING):
            return False
        at += len(OPENING)
        if self._text[at] == "\n" and not is_continued(self._place.head) and self._place.head.strip():
            # The model has put the tag on a line of its own.
            at += 1
        self._start = at
        return True


def _count_begun(text: str) -> int:
    """Return how many characters at the end of *text* may be the beginning of the closing tag."""
    return next((size for size in range(len(CLOSING) - 1, 0, -1) if text.endswith(CLOSING[:size])), 0)
