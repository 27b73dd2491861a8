"""The command behind `make live`: every provider that has a credential is asked, through the process, for real.

`python -m tests.live [PROVIDER…]`. The model of chats is SIDECAR_LIVE_MODEL_<PROVIDER>, or the first choice of
`models.toml` that the provider lists. Exit code 1 when anything failed.
"""

import os
import sys

from tests.live import steps
from tests.live.host import Host, Object
from tests.live.steps import Asked, Outcome

NOT_SET_UP = frozenset({"auth_required", "invalid_request", "network_error"})
"""How a provider that may do without a credential of ours says that it is not there at all."""


def main(wanted: list[str]) -> int:
    """Ask and print the table; return the exit code."""
    with Host() as host:
        actions = host.ask("initialize")["data"]["actions"]
        listed = [each for each in host.ask("list_providers")["data"]["providers"] if each["auth"] != "none"]
        unknown = set(wanted) - {each["id"] for each in listed}
        if unknown:
            sys.stderr.write(f"live: there is no provider {', '.join(sorted(unknown))}\n")
            return 2
        rows = dict[tuple[str, str], dict[str, Outcome]]()
        for each in listed:
            if each["ready"] and (not wanted or each["id"] in wanted):
                model = os.environ.get(f"SIDECAR_LIVE_MODEL_{each['id'].upper()}")
                asked = Asked(host, actions, each["id"], model, each["kinds"])
                outcomes = steps.run(asked)
                if each["id"] in wanted or each["credential_source"] or not is_absent(outcomes["models"]):
                    rows[each["id"], asked.model or "-"] = outcomes
    if not rows:
        sys.stdout.write(nothing(listed))
        return 0
    sys.stdout.write(table(rows))
    return int(any(outcome.ok is False for row in rows.values() for outcome in row.values()))


def is_absent(listing: Outcome) -> bool:
    """Return whether a list was refused because the provider is not set up, or does not run, here."""
    return listing.ok is False and listing.note in NOT_SET_UP


def nothing(listed: list[Object]) -> str:
    """Return what is said when no provider has a credential."""
    lines = [f"  {each['id']:<12} {' or '.join(each['env']) or 'a login of its own tools'}\n" for each in listed]
    return "live: nothing was asked, for there is no credential. Looked for:\n" + "".join(lines)


def table(rows: dict[tuple[str, str], dict[str, Outcome]]) -> str:
    """Return the outcomes as a table, and beneath it what the failures said."""
    cells = [["provider", "model", *steps.STEPS]]
    cells += [[*names, *(outcome.cell for outcome in row.values())] for names, row in rows.items()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    for (provider, _), row in rows.items():
        lines += [f"{provider}: {name}: {each.message}" for name, each in row.items() if each.ok is False]
        if row["models"].ok and all(row[step].ok is None for step in ("chat", "complete", "embed", "rerank")):
            lines.append(f"{provider}: no model to ask: set SIDECAR_LIVE_MODEL_{provider.upper()}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
