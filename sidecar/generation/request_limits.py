"""The most that one request may use, in output tokens and in US dollars, watched while it streams. [pure]

Providers report usage at the end. Until then four characters count as a token, and whatever the provider does report
replaces the estimate. Must not know wires, or where prices come from.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from protocol.messages import Usage
from protocol.replies import Chunk, Content, Reasoning, ToolCallDelta, Warn
from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.tokens.prompts import estimate_prompt_tokens, limit_output_tokens

CHARS_PER_TOKEN = 4

_MILLION = 1_000_000

CalculateUsd = Callable[[Usage], Decimal | None]
"""Returns what a usage costs in US dollars, or None if the price is unknown."""


class LimitWatch:
    """Counts what an answer uses, against its request's `token_limit` and `budget_usd`."""

    def __init__(
        self, token_limit: int | None, budget_usd: Decimal | None, prompt_tokens: int, calculate_usd: CalculateUsd
    ) -> None:
        self._token_limit = token_limit
        self._budget_usd = budget_usd
        self._calculate_usd = calculate_usd
        self._usage = Usage(input_tokens=prompt_tokens)
        """The last report, or the estimate of the prompt."""
        self._chars = 0
        """The characters received since that report."""
        self._affordable_tokens = self._compute_affordable_tokens()
        self.has_ended_stream = False
        """Whether the stream was left because a limit was reached."""

    @property
    def output_tokens(self) -> int:
        """The output so far: the last report, and an estimate of the characters since."""
        return (self._usage.output_tokens or 0) + self._chars // CHARS_PER_TOKEN

    @property
    def usage(self) -> Usage:
        """The usage so far, with estimates where nothing is reported."""
        return msgspec.structs.replace(self._usage, output_tokens=self.output_tokens)

    def drop_stale_output_count(self, usage: Usage | None) -> Usage | None:
        """Return the provider's *usage* without an output count that is out of date."""
        return msgspec.structs.replace(usage, output_tokens=None) if usage and self._chars else usage

    def find_reached_limit(self, chunks: Iterable[Chunk], usage: Usage | None) -> str | None:
        """Count *chunks* and the reported *usage*, and return the option whose limit is reached, or None."""
        self._chars += sum(map(count_chars, chunks))
        if usage is not None:
            self._merge_report(usage)
        if self._token_limit is not None and self.output_tokens >= self._token_limit:
            return "token_limit"
        if self._affordable_tokens is not None and self.output_tokens >= self._affordable_tokens:
            return "budget_usd"
        return None

    def _merge_report(self, usage: Usage) -> None:
        if usage.output_tokens is not None and usage.output_tokens != self._usage.output_tokens:
            self._chars = 0
        reported = {name: value for name in usage.__struct_fields__ if (value := getattr(usage, name)) is not None}
        merged = msgspec.structs.replace(self._usage, **reported)
        if merged != self._usage:
            self._usage = merged
            self._affordable_tokens = self._compute_affordable_tokens()

    def _compute_affordable_tokens(self) -> int | None:
        """Return how many output tokens the budget pays for beside the prompt; None: any number."""
        prompt_usd = self._calculate_usd(msgspec.structs.replace(self._usage, output_tokens=0, reasoning_tokens=None))
        million_usd = self._calculate_usd(
            msgspec.structs.replace(self._usage, output_tokens=_MILLION, reasoning_tokens=None)
        )
        if self._budget_usd is None or prompt_usd is None or million_usd is None or million_usd == prompt_usd:
            return None
        return max(0, int((self._budget_usd - prompt_usd) * _MILLION / (million_usd - prompt_usd)))


def watch_limits(chat: Chat, calculate_usd: CalculateUsd) -> tuple[LimitWatch | None, list[Warn]]:
    """Return what watches the limits of *chat*, or None if it has none, and warnings.

    Raises: SidecarError `quota_exceeded` when the prompt alone costs more than the budget.
    """
    options = chat.options
    budget_usd = None if options.budget_usd is None else Decimal(str(options.budget_usd))
    if budget_usd is None and options.token_limit is None:
        return None, []
    tokens = estimate_prompt_tokens(chat)
    prompt_usd = calculate_usd(Usage(input_tokens=tokens, output_tokens=0)) if budget_usd is not None else None
    if budget_usd is not None and prompt_usd is not None and prompt_usd > budget_usd:
        raise SidecarError(
            "quota_exceeded",
            f"The prompt alone, about {tokens} tokens, costs more than `options.budget_usd`.",
            param="params.options.budget_usd",
            reason="budget_usd",
        )
    warnings = []
    if budget_usd is not None and prompt_usd is None:
        text = "The model's price is unknown, so its answer is not limited by the budget."
        warnings = [Warn(code="option_left_out", message=text, param="options.budget_usd")]
    return LimitWatch(options.token_limit, budget_usd, tokens, calculate_usd), warnings


def estimate_usd(chat: Chat, calculate_usd: CalculateUsd) -> Decimal | None:
    """Return the expected cost of *chat*, within its limits, or None if the price is unknown."""
    output_tokens = limit_output_tokens(chat.options)
    usd = calculate_usd(Usage(input_tokens=estimate_prompt_tokens(chat), output_tokens=output_tokens))
    if usd is None or chat.options.budget_usd is None:
        return usd
    return min(usd, Decimal(str(chat.options.budget_usd)))


def count_chars(chunk: Chunk) -> int:
    """Return how many characters of the answer *chunk* has."""
    if isinstance(chunk, Content | Reasoning):
        return len(chunk.content)
    return len(chunk.arguments_delta) if isinstance(chunk, ToolCallDelta) else 0
