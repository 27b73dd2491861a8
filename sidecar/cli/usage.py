"""`sidecar usage` and `sidecar count`: what was spent, and how much a prompt is."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from sidecar.cli.client import Client
from sidecar.cli.failures import CommandError
from sidecar.cli.lists import format_tokens
from sidecar.cli.tables import Column, draw_bar, draw_table
from sidecar.cli.terminal import Terminal

DAYS = 30
"""How many days a report has unless it is told."""

MAX_BARS = 62
"""How many days a chart has at most."""

FIGURES = tuple(Column(title, "right", keeps_width=True) for title in ("REQUESTS", "FAILED", "IN", "OUT", "$"))
CHART = (Column("DAY", keeps_width=True), Column("REQUESTS", "right"), Column("$", "right"), Column(""))


class UsageChoices(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says of a report."""

    by: Sequence[str] = ()
    since: str | None = None
    until: str | None = None
    provider: str | None = None
    shows_json: bool = False


def show_usage(client: Client, terminal: Terminal, choices: UsageChoices) -> int:
    """Print what was asked, and what it cost: by provider and model unless it is told, and day by day."""
    by = list(choices.by or ("provider", "model"))
    since = choices.since or (datetime.now(UTC).date() - timedelta(days=DAYS - 1)).isoformat()
    period = {"since": since, "until": choices.until, "provider": choices.provider}
    report = client.ask("usage_report", {"by": by, **period}, waiting="reading the ledger")
    if choices.shows_json:
        terminal.write(msgspec.json.encode(report).decode() + "\n")
        return 0
    if not report["totals"]["requests"] and choices.provider:
        # One that does not exist has an error that suggests another.
        client.ask("authenticate", {"op": "status"}, provider=choices.provider)
    if not report["totals"]["requests"]:
        terminal.say(f"Nothing was asked since {since}.")
        return 0
    columns = [*(Column(word.upper().replace("_", " ")) for word in by), *FIGURES]
    rows = [(*(str(row["group"].get(word) or "") for word in by), *_list_figures(row)) for row in report["rows"]]
    rows.append(("total", *("" for _ in by[1:]), *_list_figures(report["totals"])))
    terminal.write_drawn(draw_table(terminal, columns, rows))
    if report["totals"]["unpriced"]:
        terminal.say(f"The cost of {report['totals']['unpriced']} requests is unknown and not in the sum.")
    if report["truncated"]:
        terminal.say("There are more rows; --since, --until and --provider leave some out.")
    if "day" not in by:
        daily = client.ask("usage_report", {"by": ["day"], **period})["rows"]
        terminal.write_drawn("\n" + draw_table(terminal, CHART, make_chart(daily)))
    return 0


def _list_figures(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(row["requests"]),
        str(row["requests"] - row["succeeded"] or ""),
        format_tokens(row["input_tokens"]),
        format_tokens(row["output_tokens"]),
        format_usd(row["cost_usd"]),
    )


def make_chart(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row for each day from the first to the last of *rows*, with a bar for its cost, or for its requests."""
    by_day = {date.fromisoformat(row["group"]["day"]): row for row in rows}
    if not by_day:
        return []
    costs = {day: float(row["cost_usd"]) for day, row in by_day.items()}
    values = costs if any(costs.values()) else {day: float(row["requests"]) for day, row in by_day.items()}
    last, largest = max(by_day), max(values.values())
    first = max(min(by_day), last - timedelta(days=MAX_BARS - 1))
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [
        (
            day.isoformat(),
            str(by_day[day]["requests"]) if day in by_day else "",
            format_usd(by_day[day]["cost_usd"]) if day in by_day else "",
            draw_bar(values.get(day, 0), largest),
        )
        for day in days
    ]


def format_usd(usd: str) -> str:
    """Return US dollars with two places; with more where that would be nothing."""
    amount = Decimal(usd)
    return f"{amount:.2f}" if amount == 0 or amount >= Decimal("0.01") else f"{amount:.2g}"


def count(client: Client, terminal: Terminal, model: str, text: str | None, *, is_exact: bool, shows_json: bool) -> int:
    """Print how many tokens a text has, or what is piped in. Returns the exit code."""
    if text is None and terminal.is_input:
        raise CommandError("There is no text.", f"sidecar count {model} 'Hello', or pipe a file in")
    params = {"model": model, "text": terminal.read_all() if text is None else text, "exact": is_exact}
    counted = client.ask("count_tokens", params, waiting="counting")
    if shows_json:
        terminal.write(msgspec.json.encode(counted).decode() + "\n")
        return 0
    for warning in counted["warnings"]:
        terminal.say(f"sidecar: {warning['message']}")
    terminal.write(f"{counted['tokens']}\n")
    if not counted["exact"]:
        terminal.say(f"An estimate, up to {counted.get('error_band_pct', 100)} % off ({counted.get('basis', 'size')}).")
    return 0
