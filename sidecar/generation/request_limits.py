"""The most that one request may use, in output tokens and in US dollars, watched while it streams. [pure]

Providers report usage at the end. Until then four characters count as one token. A report replaces the
estimate. Must not know wires, or where prices come from.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from protocol.messages import Usage
from protocol.replies import Chunk, Content, Reasoning, ToolCallDelta, Warn
from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.core.request_state import SharedBudget
from sidecar.tokens.prompts import estimate_prompt_tokens, limit_output_tokens

CHARS_PER_TOKEN = 4

_MILLION = 1_000_000

CalculateUsd = Callable[[Usage], Decimal | None]
"""Returns what a usage costs in US dollars, or None if the price is unknown."""


class LimitWatch:
    """Counts the usage of an answer against the `token_limit` and `budget_usd` of its request, and a shared budget."""

    def __init__(
        self,
        token_limit: int | None,
        budget_usd: Decimal | None,
        prompt_tokens: int,
        calculate_usd: CalculateUsd,
        shared: SharedBudget | None = None,
    ) -> None:
        self._token_limit = token_limit
        self._budget_usd = budget_usd
        self._shared = shared
        self._counted_usd = Decimal(0)
        """What this answer has added to the shared budget."""
        self._prompt_usd: Decimal | None = None
        self._million_usd: Decimal | None = None
        """What the prompt costs, and the prompt with a million tokens of output."""
        self._calculate_usd = calculate_usd
        self._usage = Usage(input_tokens=prompt_tokens)
        """The last report, or the estimate of the prompt."""
        self._chars = 0
        """The characters received since that report."""
        self._affordable_tokens = self._compute_affordable_tokens()
        self.has_ended_stream = False
        """Whether the stream was left because a limit was reached."""
        if shared is not None:
            # Answers that begin now must not spend what this prompt costs.
            self._is_shared_budget_spent(shared)

    def give_back(self) -> None:
        """Return the expected cost of the answer to the shared budget: there will be no answer."""
        if self._shared is not None:
            self._shared.spent_usd -= self._counted_usd
            self._counted_usd = Decimal(0)

    @property
    def output_tokens(self) -> int:
        """The output so far: the last report, and an estimate of the characters since."""
        return (self._usage.output_tokens or 0) + self._chars // CHARS_PER_TOKEN

    @property
    def usage(self) -> Usage:
        """The usage so far, with estimates where nothing is reported."""
        return msgspec.structs.replace(self._usage, output_tokens=self.output_tokens)

    def drop_stale_output_count(self, usage: Usage | None) -> Usage | None:
        """Return *usage* without its output count if content has arrived since the provider reported it."""
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
        if self._shared is not None and self._is_shared_budget_spent(self._shared):
            return "budget_usd"
        return None

    def _is_shared_budget_spent(self, shared: SharedBudget) -> bool:
        if self._prompt_usd is None or self._million_usd is None:
            return False
        usd = self._prompt_usd + (self._million_usd - self._prompt_usd) * self.output_tokens / _MILLION
        shared.spent_usd += usd - self._counted_usd
        self._counted_usd = usd
        return shared.spent_usd >= shared.usd

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
        self._prompt_usd, self._million_usd = prompt_usd, million_usd
        if self._budget_usd is None or prompt_usd is None or million_usd is None or million_usd == prompt_usd:
            return None
        return max(0, int((self._budget_usd - prompt_usd) * _MILLION / (million_usd - prompt_usd)))


def watch_limits(
    chat: Chat, calculate_usd: CalculateUsd, shared: SharedBudget | None = None
) -> tuple[LimitWatch | None, list[Warn]]:
    """Return a watch for the limits of *chat* and its *shared* budget, or None if there are none, and warnings.

    Raises: SidecarError `quota_exceeded` when the prompt alone costs more than a budget.
    """
    options = chat.options
    budget_usd = None if options.budget_usd is None else Decimal(str(options.budget_usd))
    if budget_usd is None and shared is None and options.token_limit is None:
        return None, []
    tokens, has_budget = estimate_prompt_tokens(chat), budget_usd is not None or shared is not None
    prompt_usd = calculate_usd(Usage(input_tokens=tokens, output_tokens=0)) if has_budget else None
    if budget_usd is not None and prompt_usd is not None and prompt_usd > budget_usd:
        raise _make_budget_error(tokens, "more than `options.budget_usd`", "params.options.budget_usd")
    if shared is not None and prompt_usd is not None and shared.spent_usd + prompt_usd > shared.usd:
        raise _make_budget_error(tokens, "more than is left of the budget for all models", shared.param)
    warnings = []
    if has_budget and prompt_usd is None:
        text = "The model's price is unknown, so its answer is not limited by the budget."
        param = "params.options.budget_usd" if budget_usd is not None else "params.budget_usd"
        warnings = [Warn(code="option_left_out", message=text, param=param)]
    return LimitWatch(options.token_limit, budget_usd, tokens, calculate_usd, shared), warnings


def _make_budget_error(tokens: int, comparison: str, param: str) -> SidecarError:
    text = f"The prompt alone, about {tokens} tokens, costs {comparison}."
    return SidecarError("quota_exceeded", text, param=param, reason="budget_usd")


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
