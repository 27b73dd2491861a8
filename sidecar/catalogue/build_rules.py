"""What the collected facts do not say, or say wrongly, as tables of rules with their sources.

Of `build.py`, a maintainer's tool. The running program never reads this.
"""

from datetime import date
from decimal import Decimal
from typing import Generic, Literal, TypeVar

import msgspec

from sidecar.catalogue.models import ModelKind

T = TypeVar("T")


class Rule(msgspec.Struct, Generic[T], frozen=True):
    """A value for the models of some providers whose id matches. The first rule that matches wins."""

    providers: tuple[str, ...]
    """Empty: every provider."""
    ids: str
    """A regular expression that is searched in the id."""
    value: T
    reasoning: bool = False
    """Whether it is only for models that are known to reason."""


PROVIDERS = {
    "amazon-bedrock": "bedrock",
    "anthropic": "anthropic",
    "azure": "azure",
    "cerebras": "cerebras",
    "cloudflare-workers-ai": "cloudflare",
    "deepseek": "deepseek",
    "github-copilot": "copilot",
    "google": "gemini",
    "google-vertex": "vertex",
    "groq": "groq",
    "mistral": "mistral",
    "ollama": "ollama",
    "openai": "openai",
    "openrouter": "openrouter",
    "vercel": "vercel",
    "xai": "xai",
}
"""The facts' name of a provider → ours."""

OPENAI_HOSTS = ("azure", "copilot", "openai")
"""Hosts of OpenAI's models that use OpenAI's own wires."""

CLAUDE_HOSTS = ("anthropic", "azure", "bedrock", "copilot", "vertex")
"""Hosts of Claude that pass options on unchanged. Gateways filter them."""

CLAUDE_ADAPTIVE = r"claude-(fable|mythos)|claude-[a-z]+-(4[.-][6-9]|[5-9])(?!\d)"
"""Claude 4.6 and later."""

CLAUDE_WITHOUT_SAMPLING = r"claude-(fable|mythos)|claude-[a-z]+-(4[.-][7-9]|[5-9])(?!\d)"
"""Claude 4.7 and later."""

THINKING: tuple[Rule[Literal["adaptive", "budget"]], ...] = (
    # AWS, "Adaptive thinking" (2026): Claude 4.6 accepts both and deprecates the budget. Later models refuse the
    # budget, and older ones accept nothing else.
    Rule((), CLAUDE_ADAPTIVE, "adaptive", reasoning=True),
    Rule((), r"claude-3[.-]7|claude-[a-z]+-4(?!\d)|claude-4-", "budget", reasoning=True),
    # ai.google.dev thinking guide: `thinkingBudget` belongs to the 2.5 family, `thinkingLevel` to its successors.
    Rule(("gemini", "vertex"), r"^gemini-2\.5-", "budget", reasoning=True),
)

WIRES: tuple[Rule[str], ...] = (
    # The search models are made for Chat Completions (`web_search_options`; docs.litellm.ai, 2026).
    Rule(OPENAI_HOSTS, r"^gpt-5-search-api", "openai_chat"),
    # opencode's rule for Copilot (`shouldUseCopilotResponsesApi`): GPT-5 and later, except gpt-5-mini.
    Rule(("copilot",), r"^gpt-5-mini", "openai_chat"),
    Rule(OPENAI_HOSTS, r"^(chatgpt-4o|gpt-35-turbo|gpt-3\.5-turbo|gpt-4)", "openai_chat"),
    # OpenAI's deployment checklist (2026-11): Responses for anything new. Elsewhere gpt-6-astra and gpt-6.1-sol accept
    # no tools, and gpt-6-sol and gpt-6-luna accept them only without reasoning. openai 3.52.0
    # `types/shared/responses_model.py` lists models without any Chat Completions.
    Rule(
        OPENAI_HOSTS,
        r"^(chat-latest|codex-|computer-use|(gpt-)?daybreak-|gpt-chat-latest|gpt-rosalind-|gpt-[5-9]|o[1-9])",
        "openai_responses",
    ),
    # anthropic 2.11.0 `lib/foundry.py`, `lib/vertex/_client.py`: Claude is served in its own format there.
    Rule(("azure", "vertex"), r"^claude-", "anthropic_messages"),
    # Google, "Call MaaS APIs for open models" (2026): ids `publisher/model` on `endpoints/openapi`.
    Rule(("vertex",), r"/", "openai_chat"),
    Rule(("vertex",), r"^gemini-", "gemini"),
    # docs.x.ai, limitations of multi-agent (2026-08): Chat Completions answers that such requests "are not allowed".
    Rule(("xai",), r"-multi-agent", "openai_responses"),
)

REFUSES: tuple[Rule[tuple[str, ...]], ...] = (
    # openai 3.52.0 `chat/completion_create_params.py`: `stop` is "not supported with latest reasoning models o3 and
    # o4-mini"; GPT-5 and its successors answer `unsupported_parameter` (huggingface/smolagents#1662, #1868, #1893).
    Rule(
        OPENAI_HOSTS,
        r"^(chat-latest|codex-|(gpt-)?daybreak-|gpt-chat-latest|gpt-rosalind-|gpt-[5-9]|o[3-9])",
        ("stop",),
        reasoning=True,
    ),
    # xAI's OpenAPI description (2026-09): reasoning models reject `stop`.
    Rule(("xai",), r"^grok-", ("stop",), reasoning=True),
)

SAMPLING: tuple[Rule[bool], ...] = (
    # platform.claude.com migration guide (2026-10-21): 4.7 and later accept only the defaults. The model refuses
    # others, so a host's row that says otherwise is wrong.
    Rule(CLAUDE_HOSTS, CLAUDE_WITHOUT_SAMPLING, value=False),
)
"""Corrections to the facts."""

IN_REGION: tuple[Rule[Decimal], ...] = (
    # A bare id of Claude 4.5 and later is served in the region alone, which costs 10 % more than the global profile
    # (AWS, Bedrock pricing, 2026-11). litellm's row of such an id has the global price.
    Rule(
        ("bedrock",),
        r"^anthropic\.claude-(fable-5$|(haiku|sonnet|opus)-4-[5-8](?!-v1$)|opus-4-6-v1$|mythos-5)",
        Decimal("1.1"),
    ),
)
"""Factors on prices from litellm."""

KINDS: tuple[Rule[ModelKind], ...] = (
    # GitHub's completion model, which its chat refuses (copilot-language-server 1.539.0, 2026-11).
    Rule(("copilot",), r"^gpt-41-copilot$", "completion"),
    # Mistral's model for its endpoint of fill in the middle alone (docs.mistral.ai, 2026-11).
    Rule(("mistral",), r"^mistral-code-fim-", "completion"),
)
"""Models of the facts that have no chat."""

NOT_CHAT: tuple[Rule[bool], ...] = (
    # litellm lists the code interpreter's container among the models.
    Rule(("azure",), r"^container$", value=True),
    # openai 3.52.0 `types/completion_create_params.py`: for the API before Chat Completions, which no wire speaks.
    Rule(OPENAI_HOSTS, r"^gpt-3\.5-turbo-instruct", value=True),
)
"""Entries of the facts that are not chat models."""

WITHOUT_PRICE: tuple[Rule[bool], ...] = (
    # Only the router's fee is known. The model that it picks is billed in addition.
    Rule(("azure",), r"^model[-_]router$", value=True),
    # Models on the user's own machine are free, but these run at the provider (its list of cloud models, 2026-11).
    Rule(("ollama",), r"[:-]cloud$", value=True),
)

FREE: tuple[Rule[bool], ...] = (
    # Models on the user's own machine, and those that the gateways mark as free.
    Rule(("ollama",), r"", value=True),
    Rule(("openrouter", "vercel"), r"[:/-]free$", value=True),
)
"""Models that are free. For others, sources write 0 if they do not know the price."""

OTHER_PRICES_FROM = "litellm@1.109.1"
"""The source of the prices in `other_models.toml`, where a row names no other."""

PRICE_DATES: tuple[tuple[str, date | None], ...] = (
    ("genai-prices@0.2.3", date(2026, 11, 10)),
    ("litellm@1.109.1", date(2026, 11, 12)),
    ("models.dev@2026-07-01", date(2026, 7, 1)),
    ("catwalk@2026-08-21", date(2026, 8, 21)),
    ("docs", date(2026, 11, 20)),
    ("derived: ", date(2026, 11, 20)),
    ("local", None),
)
"""How the source of a price begins → the day on which that price was correct."""
