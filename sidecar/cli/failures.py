"""Errors as a person reads them: what went wrong, and what to do, each on a line of stderr."""

from collections.abc import Mapping
from typing import Any

from sidecar.catalogue import models
from sidecar.cli.client import Client, FailedError
from sidecar.cli.remedies import SUGGESTIONS, describe_remedy, find_nearest, format_suggestions

EXIT_FAILED = 1
EXIT_MISUSED = 2
EXIT_INTERRUPTED = 130
"""128 and the number of the signal, as shells count."""

MISUSES = ("invalid_request", "unknown_provider", "model_not_found")
"""Codes of what another command line would mend."""


class CommandError(Exception):
    """What was typed cannot be done."""

    def __init__(self, message: str, remedy: str = "", code: int = EXIT_MISUSED) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.code = code


def format_problem(message: str, remedy: str = "") -> list[str]:
    """Return the lines that tell a person of a problem."""
    lines = [f"sidecar: {message}"]
    return [*lines, f"  try: {remedy}"] if remedy else lines


def explain_failure(client: Client, error: Mapping[str, Any]) -> list[str]:
    """Return the lines for the `error` object of a reply, with the nearest names where one is unknown."""
    provider, model = _find_names(client, error)
    variable = ""
    if error["code"] == "auth_required":
        variable = next(iter(_find_provider(client, provider).get("env", [])), "")
    remedy = describe_remedy({**error, "provider": provider}, variable)
    said, *todo = format_problem(str(error["message"]), remedy)
    suggestion = _suggest(client, error, provider, model)
    return [said, *([f"  {suggestion}"] if suggestion else []), *todo]


def find_exit_code(error: Mapping[str, Any]) -> int:
    """Return the exit code for the `error` object of a reply."""
    return EXIT_MISUSED if error.get("code") in MISUSES else EXIT_FAILED


def _find_names(client: Client, error: Mapping[str, Any]) -> tuple[str, str]:
    """Return the provider and the model that the failed request meant, each empty if it named none."""
    provider, model = str(error.get("provider") or ""), str(error.get("model") or "")
    if not provider and "/" in model:
        prefix, _, rest = model.partition("/")
        if _find_provider(client, prefix):
            return prefix, rest
    return provider, model


def _suggest(client: Client, error: Mapping[str, Any], provider: str, model: str) -> str:
    if error["code"] == "model_not_found" and provider and model:
        names = find_nearest(model, _list_models(client, provider))
        return format_suggestions(f"{provider}/{each}" for each in names)
    if error["code"] == "invalid_request" and error.get("param") == "provider" and model and "/" not in model:
        # Those that can be asked come first.
        providers = sorted(client.ask("list_providers")["providers"], key=lambda each: not each["ready"])
        known = [f"{each['id']}/{name}" for each in providers for name in models.list_names(each["id"])]
        exact = [name for name in known if name.partition("/")[2] == model]
        return format_suggestions((exact or find_nearest(model, known))[:SUGGESTIONS])
    return ""


def _list_models(client: Client, provider: str) -> list[str]:
    try:
        listed = client.ask("list_models", provider=provider, waiting="looking for similar models")
    except FailedError:
        # A list that cannot be had is no second problem.
        return models.list_names(provider)
    return [model["id"] for model in listed["models"]]


def _find_provider(client: Client, name: str) -> dict[str, Any]:
    providers: list[dict[str, Any]] = client.ask("list_providers")["providers"]
    return next((each for each in providers if each["id"] == name), {})
