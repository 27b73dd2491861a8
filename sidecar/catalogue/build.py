"""Make `models.json` from a file of collected facts: `python -m sidecar.catalogue.build FACTS.json [OUT.json]`.

A maintainer's tool; the running program reads only its result. The facts are a list of objects
`{provider, id, name, …}`, one for each model at each provider, collected from models.dev, genai-prices, litellm,
catwalk, the SDKs' own lists and the providers' pages (November 2026). An unknown field is an error, so that no new fact
is lost silently. What the facts do not say, such as the wire that a model needs, is in the tables of rules below, each
with its source.

The same facts always make the same bytes: providers and models are sorted, one model a line.
"""

import re
import sys
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import msgspec

from sidecar.catalogue import models
from sidecar.catalogue.models import Capabilities, Change, ModelRow, OffPeak, Rates, Tier

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


class _Rates(msgspec.Struct, forbid_unknown_fields=True):
    """Rates with the keys that the facts use, and the attributes of `Rates`."""

    input: Decimal = msgspec.field(name="in")
    output: Decimal | None = msgspec.field(name="out", default=None)
    cache_read: Decimal | None = msgspec.field(name="cr", default=None)
    cache_write: Decimal | None = msgspec.field(name="cw5", default=None)
    cache_write_1h: Decimal | None = msgspec.field(name="cw1h", default=None)
    audio_input: Decimal | None = msgspec.field(name="audio_in", default=None)
    audio_output: Decimal | None = msgspec.field(name="audio_out", default=None)
    reasoning: Decimal | None = None


class _Tier(_Rates, forbid_unknown_fields=True, kw_only=True):
    over: int


class _Change(msgspec.Struct, forbid_unknown_fields=True):
    since: date = msgspec.field(name="from")
    price: _Rates


class _OffPeak(msgspec.Struct, forbid_unknown_fields=True):
    price: _Rates
    peak_utc: tuple[str, ...]
    weekdays_only: bool
    excludes: str | None = None


class _PremiumRequests(msgspec.Struct, forbid_unknown_fields=True):
    annual_legacy: Decimal


class Fact(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The facts about one model at one provider."""

    provider: str
    id: str
    name: str
    family: str | None = None
    context: int | None = None
    max_input: int | None = None
    max_output: int | None = None
    price: _Rates | None = None
    price_from: str | None = None
    tiers: tuple[_Tier, ...] = ()
    changes: tuple[_Change, ...] = ()
    off_peak: _OffPeak | None = None
    modes: dict[Literal["batch", "fast", "flex", "priority"], _Rates] = {}
    multipliers: dict[str, Decimal] = {}
    caps: dict[str, bool] = {}
    efforts: tuple[str, ...] = ()
    cutoff: str | None = None
    released: str | None = None
    status: Literal["deprecated", "retired", "unlisted", "beta", "alpha"] | None = None
    retires: date | None = None
    copilot_multiplier: _PremiumRequests | None = None
    cache_min_tokens: int | None = None
    notes: Any = None
    sources: Any = None
    inherited: Any = None


def build(facts: bytes) -> bytes:
    """Return the bytes of `models.json` for *facts*, a JSON list.

    Raises: msgspec.ValidationError or ValueError for facts that this script does not understand.
    """
    return encode(make_table(msgspec.json.decode(facts, type=list[Fact])))


def make_table(facts: Iterable[Fact]) -> dict[str, dict[str, ModelRow]]:
    """Return the rows by our provider id and by model id."""
    rows: dict[str, dict[str, ModelRow]] = {}
    for fact in facts:
        provider = PROVIDERS.get(fact.provider)
        if provider is None:
            raise ValueError(f"{fact.provider}: no such provider in PROVIDERS.")
        if _apply_rules(NOT_CHAT, provider, fact):
            continue
        of_provider = rows.setdefault(provider, {})
        if fact.id in of_provider:
            raise ValueError(f"{provider}/{fact.id}: listed twice.")
        of_provider[fact.id] = _make_row(provider, fact)
    return rows


def encode(rows: dict[str, dict[str, ModelRow]]) -> bytes:
    """Return *rows* as JSON with one model a line, in order."""
    text = msgspec.json.Encoder(order="deterministic").encode
    tables = []
    for provider, of_provider in sorted(rows.items()):
        lines = [text(model) + b":" + text(row) for model, row in sorted(of_provider.items())]
        tables.append(text(provider) + b":{\n" + b",\n".join(lines) + b"\n}")
    return b"{\n" + b",\n".join(tables) + b"\n}\n"


def _make_row(provider: str, fact: Fact) -> ModelRow:
    return ModelRow(
        name=fact.name,
        family=fact.family,
        # No program treats an alpha differently from a beta.
        status="beta" if fact.status == "alpha" else fact.status,
        released=_check_day(fact.released),
        retires=fact.retires,
        cutoff=_check_day(fact.cutoff),
        context_length=fact.context,
        max_input=fact.max_input,
        max_output=_find_max_output(fact),
        cache_min_tokens=fact.cache_min_tokens,
        caps=_make_capabilities(provider, fact),
        efforts=fact.efforts,
        thinking=_apply_rules(THINKING, provider, fact),
        refuses=_apply_rules(REFUSES, provider, fact) or (),
        wire=_apply_rules(WIRES, provider, fact),
        premium_requests=fact.copilot_multiplier.annual_legacy if fact.copilot_multiplier else None,
        **_make_price_columns(provider, fact),
    )


def _make_price_columns(provider: str, fact: Fact) -> dict[str, Any]:
    """Return the price and the columns that change it. Empty without a price, as they mean nothing alone."""
    price = _check_price(provider, fact)
    if price is None:
        return {}
    if (factor := _apply_rules(IN_REGION, provider, fact)) and (fact.price_from or "").startswith("litellm"):
        price = _scale(price, factor)
    tiers = sorted(fact.tiers, key=lambda tier: tier.over)
    changes = sorted(fact.changes, key=lambda change: change.since)
    return {
        "price": price,
        "price_source": fact.price_from,
        "price_date": _find_price_date(fact),
        "tiers": tuple(Tier(over_tokens=tier.over, price=_make_rates(tier)) for tier in tiers),
        "changes": tuple(Change(since=change.since, price=_make_rates(change.price)) for change in changes),
        "off_peak": _make_off_peak(fact.off_peak),
        # A mode of which only a part is known has no price.
        "modes": {mode: _make_rates(rates) for mode, rates in fact.modes.items() if rates.output is not None},
        "multipliers": fact.multipliers,
    }


def _check_price(provider: str, fact: Fact) -> Rates | None:
    """Return the price of *fact*, or None if there is none or it cannot be right."""
    if fact.price is None or _apply_rules(WITHOUT_PRICE, provider, fact):
        return None
    price = _make_rates(fact.price)
    if not price.input and not price.output and not _apply_rules(FREE, provider, fact):
        return None
    # A cache that costs more than sending again would be of no use, so the price must be wrong.
    return None if price.cache_read is not None and price.cache_read > price.input else price


def _apply_rules(rules: tuple[Rule[T], ...], provider: str, fact: Fact) -> T | None:
    """Return the value of the first rule that matches, or None."""
    for rule in rules:
        if rule.providers and provider not in rule.providers:
            continue
        if rule.reasoning and not fact.caps.get("reasoning"):
            continue
        if re.search(rule.ids, fact.id):
            return rule.value
    return None


def _check_day(text: str | None) -> str | None:
    """Return *text*, or only its month if its day does not exist, such as 2025-02-31."""
    if text is None:
        return None
    try:
        date.fromisoformat(text if len(text) == len("YYYY-MM-DD") else f"{text}-01")
    except ValueError:
        return text[: len("YYYY-MM")]
    return text


def _find_max_output(fact: Fact) -> int | None:
    # Sources disagree about some hosts. No answer is longer than the window, so the smaller limit is the safe one.
    limits = [limit for limit in (fact.max_output, fact.context) if limit is not None]
    return None if fact.max_output is None else min(limits)


def _make_capabilities(provider: str, fact: Fact) -> Capabilities:
    # The facts call the capability by one of its two options.
    caps = {"sampling" if name == "temperature" else name: known for name, known in fact.caps.items()}
    sampling = _apply_rules(SAMPLING, provider, fact)
    if sampling is not None:
        caps["sampling"] = sampling
    return msgspec.convert(caps, Capabilities)


def _make_rates(rates: _Rates) -> Rates:
    return Rates(**{name: getattr(rates, name) for name in Rates.__struct_fields__})


def _scale(rates: Rates, factor: Decimal) -> Rates:
    known = {name: rate for name in Rates.__struct_fields__ if (rate := getattr(rates, name)) is not None}
    return Rates(**{name: (rate * factor).normalize() for name, rate in known.items()})


def _make_off_peak(off_peak: _OffPeak | None) -> OffPeak | None:
    if off_peak is None:
        return None
    return OffPeak(
        price=_make_rates(off_peak.price),
        peak_utc=off_peak.peak_utc,
        weekdays_only=off_peak.weekdays_only,
        excludes=off_peak.excludes,
    )


def _find_price_date(fact: Fact) -> date | None:
    for source, day in PRICE_DATES:
        if (fact.price_from or "").startswith(source):
            return day
    raise ValueError(f"{fact.provider}/{fact.id}: the date of its price is not in PRICE_DATES.")


def main(arguments: list[str]) -> None:
    """Write the table made from the facts that *arguments* name."""
    if len(arguments) not in (1, 2):
        raise SystemExit("usage: python -m sidecar.catalogue.build FACTS.json [OUT.json]")
    out = Path(arguments[1]) if len(arguments) == 2 else models.PATH
    out.write_bytes(build(Path(arguments[0]).read_bytes()))


if __name__ == "__main__":
    main(sys.argv[1:])
