"""`sidecar providers` and `sidecar models`: what there is to ask."""

from collections.abc import Mapping
from typing import Any

import msgspec

from sidecar.cli.client import Client
from sidecar.cli.failures import format_problem
from sidecar.cli.tables import Column, draw_table
from sidecar.cli.terminal import Terminal

READY, NOT_READY = "ready", "no key"
PROBLEM = "problem"

PROVIDER_COLUMNS = (
    Column("PROVIDER", keeps_width=True),
    Column("NAME"),
    Column("STATE", styles={READY: "green", PROBLEM: "red", NOT_READY: "dim"}, keeps_width=True),
    Column("CREDENTIAL"),
    Column("TO GET READY"),
)

MODEL_COLUMNS = (
    Column("MODEL"),
    Column("CONTEXT", "right", keeps_width=True),
    Column("OUTPUT", "right", keeps_width=True),
    Column("$ IN/M", "right", keeps_width=True),
    Column("$ OUT/M", "right", keeps_width=True),
    Column("STATUS", styles={"deprecated": "yellow", "retired": "red"}),
)


def show_providers(client: Client, terminal: Terminal, *, shows_json: bool) -> int:
    """Print the providers, and where the credential of each comes from. Returns the exit code."""
    providers = client.ask("list_providers")["providers"]
    if shows_json:
        terminal.write(msgspec.json.encode(providers).decode() + "\n")
        return 0
    # Those that can be asked come first.
    ordered = sorted(providers, key=lambda each: (not each["ready"], each["id"]))
    terminal.write_drawn(draw_table(terminal, PROVIDER_COLUMNS, [_make_provider_row(each) for each in ordered]))
    return 0


def _make_provider_row(provider: Mapping[str, Any]) -> tuple[str, ...]:
    state = READY if provider["ready"] else PROBLEM if "problem" in provider else NOT_READY
    credential = " from ".join(
        filter(None, [str(provider["method"] or "").replace("_", " "), provider["credential_source"]])
    )
    todo = provider.get("problem", "")
    if state == NOT_READY:
        todo = " or ".join(filter(None, [f"sidecar login {provider['id']}", next(iter(provider["env"]), "")]))
    return provider["id"], provider["name"], state, credential, todo


def show_models(client: Client, terminal: Terminal, provider: str | None, *, refreshes: bool, shows_json: bool) -> int:
    """Print the models of a *provider*, or of all that are ready, with limits and prices. Returns the exit code.

    A list that failed is a line on stderr; with all lists failed the code is 1.
    """
    models: list[dict[str, Any]] = []
    failed: list[tuple[str, str]] = []

    def take(chunk: dict[str, Any]) -> None:
        if chunk["type"] == "models":
            models.extend(chunk["models"])
        elif chunk["type"] == "models_failed":
            failed.append((chunk["provider"], chunk["error"]["message"]))

    params = {"refresh": refreshes}
    end = client.stream("list_models", params, take, provider=provider, waiting=f"asking {provider or 'all providers'}")
    models += end.get("models", [])
    for name, message in failed:
        terminal.say("\n".join(format_problem(f"{name}: {message}", f"sidecar doctor {name}")))
    for warning in end["warnings"]:
        terminal.say(f"sidecar: {warning['message']}")
    if shows_json:
        terminal.write(msgspec.json.encode(models).decode() + "\n")
    elif models:
        ordered = sorted(models, key=lambda each: (each["provider"], each["id"]))
        terminal.write_drawn(draw_table(terminal, MODEL_COLUMNS, [_make_model_row(each) for each in ordered]))
    elif not failed:
        remedy = "" if provider else "`sidecar providers` says what each provider needs"
        terminal.say("\n".join(format_problem("There are no models.", remedy)))
    return 1 if failed and not models else 0


def _make_model_row(model: Mapping[str, Any]) -> tuple[str, ...]:
    cost = model.get("cost") or {}
    return (
        f"{model['provider']}/{model['id']}",
        format_tokens(model.get("context_length")),
        format_tokens(model.get("max_output")),
        cost.get("input", ""),
        cost.get("output", ""),
        " ".join(filter(None, [_describe_kind(model), model.get("retires_on", "")])),
    )


def _describe_kind(model: Mapping[str, Any]) -> str:
    status = model.get("status", "")
    kind = model.get("kind", "chat")
    return " ".join(filter(None, ["" if status == "active" else status, "" if kind == "chat" else kind]))


def format_tokens(tokens: int | None) -> str:
    """Return a number of *tokens* as people say it, such as 200K; empty if it is unknown."""
    if tokens is None:
        return ""
    for size, unit in ((1_000_000, "M"), (1000, "K")):
        if tokens >= size:
            return f"{tokens / size:.1f}".removesuffix(".0") + unit
    return str(tokens)
