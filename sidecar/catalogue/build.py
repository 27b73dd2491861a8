"""Make `models.json` from a file of collected facts: `python -m sidecar.catalogue.build FACTS.json [OUT.json]`.

A maintainer's tool; the running program reads only what it makes. The facts are a list of objects
`{provider, id, name, …}`, one for each model at each provider, collected from models.dev, genai-prices,
litellm, catwalk, the SDKs' own lists and the providers' pages (November 2026); a field that is not known
here is an error, so that no new fact is lost in silence. What the facts do not say, such as which wire a
model needs, is in the tables of rules below, each with its source.

The same facts always make the same bytes: providers and models sorted, one model a line.
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
    """A value for the models of some providers whose id matches; the first rule that matches counts."""

    providers: tuple[str, ...]
    """Empty: every provider."""
    ids: str
    """A regular expression that is searched for in the id."""
    value: T
    reasoning: bool = False
    """Only for models that are known to reason."""


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
"""Hosts of OpenAI's models that speak OpenAI's own wires."""

CLAUDE_HOSTS = ("anthropic", "azure", "bedrock", "copilot", "vertex")
"""Hosts of Claude that pass options on unchanged; gateways filter them."""

CLAUDE_ADAPTIVE = r"claude-(fable|mythos)|claude-[a-z]+-(4[.-][6-9]|[5-9])(?!\d)"
"""Claude 4.6 and later."""

CLAUDE_WITHOUT_SAMPLING = r"claude-(fable|mythos)|claude-[a-z]+-(4[.-][7-9]|[5-9])(?!\d)"
"""Claude 4.7 and later."""

THINKING: tuple[Rule[Literal["adaptive", "budget"]], ...] = (
    # AWS, "Adaptive thinking" (2026): Claude 4.6 takes both ways and deprecates the budget, later ones refuse it,
    # older ones take nothing else.
    Rule((), CLAUDE_ADAPTIVE, "adaptive", reasoning=True),
    Rule((), r"claude-3[.-]7|claude-[a-z]+-4(?!\d)|claude-4-", "budget", reasoning=True),
    # ai.google.dev thinking guide: `thinkingBudget` belongs to the 2.5 family, `thinkingLevel` to its successors.
    Rule(("gemini", "vertex"), r"^gemini-2\.5-", "budget", reasoning=True),
)

WIRES: tuple[Rule[str], ...] = (
    # The search models are made for Chat Completions (`web_search_options`; docs.litellm.ai, 2026).
    Rule(OPENAI_HOSTS, r"^gpt-5-search-api", "openai_chat"),
    # opencode's rule for Copilot (`shouldUseCopilotResponsesApi`): GPT-5 and later but gpt-5-mini.
    Rule(("copilot",), r"^gpt-5-mini", "openai_chat"),
    Rule(OPENAI_HOSTS, r"^(chatgpt-4o|gpt-35-turbo|gpt-3\.5-turbo|gpt-4)", "openai_chat"),
    # OpenAI's deployment checklist (2026-11): Responses for anything new; gpt-6-astra and gpt-6.1-sol take tools
    # nowhere else, gpt-6-sol and gpt-6-luna only without reasoning. openai 3.52.0 `types/shared/responses_model.py`
    # lists those that have no Chat Completions at all.
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
    # platform.claude.com migration guide (2026-10-21): 4.7 and later take only the defaults. It is the model that
    # refuses, so a host's row that says otherwise is wrong.
    Rule(CLAUDE_HOSTS, CLAUDE_WITHOUT_SAMPLING, value=False),
)
"""Corrections of the facts."""

IN_REGION: tuple[Rule[Decimal], ...] = (
    # A bare id of Claude 4.5 and later is served in the region alone, which costs a tenth more than the global
    # profile (AWS, Bedrock pricing, 2026-11); litellm's row of such an id shows the global price.
    Rule(
        ("bedrock",),
        r"^anthropic\.claude-(fable-5$|(haiku|sonnet|opus)-4-[5-8](?!-v1$)|opus-4-6-v1$|mythos-5)",
        Decimal("1.1"),
    ),
)
"""Factors on prices of litellm's."""

NOT_CHAT: tuple[Rule[bool], ...] = (
    # litellm lists the code interpreter's container among the models.
    Rule(("azure",), r"^container$", value=True),
    # openai 3.52.0 `types/completion_create_params.py`: of the API before Chat Completions, which is no wire.
    Rule(OPENAI_HOSTS, r"^gpt-3\.5-turbo-instruct", value=True),
)
"""What the facts list and nobody can chat with."""

WITHOUT_PRICE: tuple[Rule[bool], ...] = (
    # What is known is the router's fee alone; the model that it picks is billed beside it.
    Rule(("azure",), r"^model[-_]router$", value=True),
    # What runs at the user's place is free; these run at the provider's (its list of cloud models, 2026-11).
    Rule(("ollama",), r"[:-]cloud$", value=True),
)

FREE: tuple[Rule[bool], ...] = (
    # What runs at the user's place, and the gateways' own names for what they give away.
    Rule(("ollama",), r"", value=True),
    Rule(("openrouter", "vercel"), r"[:/-]free$", value=True),
)
"""Models whose price is nothing. Elsewhere sources write 0 for what they do not know."""

PRICE_DATES: tuple[tuple[str, date | None], ...] = (
    ("genai-prices@0.2.3", date(2026, 11, 10)),
    ("litellm@1.109.1", date(2026, 11, 12)),
    ("models.dev@2026-07-01", date(2026, 7, 1)),
    ("catwalk@2026-08-21", date(2026, 8, 21)),
    ("docs", date(2026, 11, 20)),
    ("derived: ", date(2026, 11, 20)),
    ("local", None),
)
"""How a price's source begins → the day for which it holds."""


class _Rates(msgspec.Struct, forbid_unknown_fields=True):
    """Rates as the facts abbreviate them; the attributes are those of `Rates`."""

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
    """What was collected of one model at one provider."""

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
    return encode(table(msgspec.json.decode(facts, type=list[Fact])))


def table(facts: Iterable[Fact]) -> dict[str, dict[str, ModelRow]]:
    """Return the rows by our provider id and by model id."""
    rows: dict[str, dict[str, ModelRow]] = {}
    for fact in facts:
        provider = PROVIDERS.get(fact.provider)
        if provider is None:
            raise ValueError(f"{fact.provider}: no such provider in PROVIDERS.")
        if _first(NOT_CHAT, provider, fact):
            continue
        of_provider = rows.setdefault(provider, {})
        if fact.id in of_provider:
            raise ValueError(f"{provider}/{fact.id}: listed twice.")
        of_provider[fact.id] = _row(provider, fact)
    return rows


def encode(rows: dict[str, dict[str, ModelRow]]) -> bytes:
    """Return *rows* as JSON with one model a line, in order."""
    text = msgspec.json.Encoder(order="deterministic").encode
    tables = []
    for provider, of_provider in sorted(rows.items()):
        lines = [text(model) + b":" + text(row) for model, row in sorted(of_provider.items())]
        tables.append(text(provider) + b":{\n" + b",\n".join(lines) + b"\n}")
    return b"{\n" + b",\n".join(tables) + b"\n}\n"


def _row(provider: str, fact: Fact) -> ModelRow:
    return ModelRow(
        name=fact.name,
        family=fact.family,
        # No program treats an alpha otherwise than a beta.
        status="beta" if fact.status == "alpha" else fact.status,
        released=_day(fact.released),
        retires=fact.retires,
        cutoff=_day(fact.cutoff),
        context_length=fact.context,
        max_input=fact.max_input,
        max_output=_max_output(fact),
        cache_min_tokens=fact.cache_min_tokens,
        caps=_caps(provider, fact),
        efforts=fact.efforts,
        thinking=_first(THINKING, provider, fact),
        refuses=_first(REFUSES, provider, fact) or (),
        wire=_first(WIRES, provider, fact),
        premium_requests=fact.copilot_multiplier.annual_legacy if fact.copilot_multiplier else None,
        **_priced(provider, fact),
    )


def _priced(provider: str, fact: Fact) -> dict[str, Any]:
    """Return the columns of a price; none without one: what goes with a price says nothing alone."""
    price = _price(provider, fact)
    if price is None:
        return {}
    if (factor := _first(IN_REGION, provider, fact)) and (fact.price_from or "").startswith("litellm"):
        price = _scaled(price, factor)
    tiers = sorted(fact.tiers, key=lambda tier: tier.over)
    changes = sorted(fact.changes, key=lambda change: change.since)
    return {
        "price": price,
        "price_source": fact.price_from,
        "price_date": _price_date(fact),
        "tiers": tuple(Tier(over_tokens=tier.over, price=_rates(tier)) for tier in tiers),
        "changes": tuple(Change(since=change.since, price=_rates(change.price)) for change in changes),
        "off_peak": _off_peak(fact.off_peak),
        # A mode of which only a part is known prices nothing.
        "modes": {mode: _rates(rates) for mode, rates in fact.modes.items() if rates.output is not None},
        "multipliers": fact.multipliers,
    }


def _price(provider: str, fact: Fact) -> Rates | None:
    """Return the price of *fact*, or None where its source cannot mean what it says."""
    if fact.price is None or _first(WITHOUT_PRICE, provider, fact):
        return None
    price = _rates(fact.price)
    if not price.input and not price.output and not _first(FREE, provider, fact):
        return None
    # Nobody would cache what is cheaper to send again.
    return None if price.cache_read is not None and price.cache_read > price.input else price


def _first(rules: tuple[Rule[T], ...], provider: str, fact: Fact) -> T | None:
    """Return the value of the first rule that matches."""
    for rule in rules:
        if rule.providers and provider not in rule.providers:
            continue
        if rule.reasoning and not fact.caps.get("reasoning"):
            continue
        if re.search(rule.ids, fact.id):
            return rule.value
    return None


def _day(text: str | None) -> str | None:
    """Return *text*, or only its month where it names a day that does not exist, such as 2025-02-31."""
    if text is None:
        return None
    try:
        date.fromisoformat(text if len(text) == len("YYYY-MM-DD") else f"{text}-01")
    except ValueError:
        return text[: len("YYYY-MM")]
    return text


def _max_output(fact: Fact) -> int | None:
    # Sources disagree on some hosts; no answer is longer than the window, so the smaller limit is the safe one.
    limits = [limit for limit in (fact.max_output, fact.context) if limit is not None]
    return None if fact.max_output is None else min(limits)


def _caps(provider: str, fact: Fact) -> Capabilities:
    # The facts name the capability after one of its two options.
    caps = {"sampling" if name == "temperature" else name: known for name, known in fact.caps.items()}
    sampling = _first(SAMPLING, provider, fact)
    if sampling is not None:
        caps["sampling"] = sampling
    return msgspec.convert(caps, Capabilities)


def _rates(rates: _Rates) -> Rates:
    return Rates(**{name: getattr(rates, name) for name in Rates.__struct_fields__})


def _scaled(rates: Rates, factor: Decimal) -> Rates:
    known = {name: rate for name in Rates.__struct_fields__ if (rate := getattr(rates, name)) is not None}
    return Rates(**{name: (rate * factor).normalize() for name, rate in known.items()})


def _off_peak(off_peak: _OffPeak | None) -> OffPeak | None:
    if off_peak is None:
        return None
    return OffPeak(
        price=_rates(off_peak.price),
        peak_utc=off_peak.peak_utc,
        weekdays_only=off_peak.weekdays_only,
        excludes=off_peak.excludes,
    )


def _price_date(fact: Fact) -> date | None:
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
