"""`sidecar login` and `sidecar logout`: a key typed unseen, a code to enter in a browser, another program's login."""

from typing import Any

import msgspec

from sidecar.cli.client import Client, FailedError
from sidecar.cli.failures import CommandError
from sidecar.cli.terminal import Terminal

TRIES = 3
"""How often a person may type a key that the provider refuses."""

REFUSED = ("auth_failed", "invalid_request", "permission_denied")
"""Codes of a key that will not work later either."""

PLACES = {
    "keychain": "in the system's keychain",
    "file": "in a file that only you can read",
    "memory": "nowhere: neither the keychain nor the folder for it can be used",
}
"""Storage → where a credential is, in words."""


class LoginChoices(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says of a login."""

    provider: str
    uses_key: bool = False
    uses_existing: bool = False
    settings: dict[str, str] = {}


def log_in(client: Client, terminal: Terminal, choices: LoginChoices) -> int:
    """Store a credential of a provider. Returns the exit code.

    A key is tested before it is stored. What is piped in is the key.
    """
    status = client.ask("authenticate", {"op": "status"}, provider=choices.provider)
    logins = status["logins"]
    if not logins:
        raise CommandError(f"{choices.provider} needs no login, or has one that its own tools keep.")
    if choices.uses_existing or _accepts_existing(terminal, choices, status):
        return _finish(client, terminal, choices, {"existing": True})
    if "device" in logins and terminal.is_input and not choices.uses_key:
        return _finish(client, terminal, choices, {})
    if "api_key" not in logins:
        raise CommandError(f"{choices.provider} takes no key.", f"sidecar login {choices.provider}")
    settings = _ask_settings(terminal, choices, status.get("missing_settings", []))
    return _log_in_with_key(client, terminal, choices, {"settings": settings} if settings else {})


def _accepts_existing(terminal: Terminal, choices: LoginChoices, status: dict[str, Any]) -> bool:
    if "existing" not in status["logins"] or choices.uses_key or not terminal.is_input:
        return False
    account = status.get("existing_account")
    of = f" of {account}" if account else ""
    answer = terminal.ask(f"Another program has left a login{of}. Use it? [Y/n] ")
    return answer.strip().lower() in ("", "y", "yes")


def _ask_settings(terminal: Terminal, choices: LoginChoices, missing: list[str]) -> dict[str, str]:
    settings = dict(choices.settings)
    for name in missing:
        if name not in settings:
            if not terminal.is_input:
                raise CommandError(f"The setting `{name}` is missing.", f"add --setting {name}=VALUE")
            settings[name] = terminal.ask(f"{name}: ").strip()
    return settings


def _log_in_with_key(client: Client, terminal: Terminal, choices: LoginChoices, params: dict[str, Any]) -> int:
    for left in reversed(range(TRIES)):
        key = terminal.ask_hidden(f"Key for {choices.provider} (it is not shown): ")
        if not key:
            raise CommandError("There is no key.", f"sidecar login {choices.provider}")
        with_key = params | {"api_key": key}
        try:
            client.ask(
                "authenticate", {"op": "validate"} | with_key, provider=choices.provider, waiting="testing the key"
            )
        except FailedError as error:
            if error.body["code"] in REFUSED and error.body.get("param") != "params.op":
                if not left or not terminal.is_input:
                    raise
                terminal.say(f"sidecar: {error.body['message']} Try again.")
                continue
            # It may be right nevertheless: whoever is offline can log in.
            terminal.say(f"sidecar: the key was not tested: {error.body['message']}")
        return _finish(client, terminal, choices, with_key)
    raise AssertionError("the last try ends the loop")


def _finish(client: Client, terminal: Terminal, choices: LoginChoices, params: dict[str, Any]) -> int:
    def take(chunk: dict[str, Any]) -> None:
        if chunk["type"] == "device_flow":
            terminal.say(f"Open {chunk['verification_uri']} in a browser and enter the code {chunk['user_code']}")
            terminal.say(f"It is valid for {chunk['expires_in'] // 60} minutes. Ctrl-C gives up.")

    waiting = "waiting for you to enter the code"
    done = client.stream("authenticate", {"op": "login"} | params, take, provider=choices.provider, waiting=waiting)
    for warning in done["warnings"]:
        terminal.say(f"sidecar: {warning['message']}")
    whose = f" as {done['account']}" if done["account"] else ""
    terminal.say(f"Logged in to {done['provider']}{whose}. The credential is {PLACES[done['storage']]}.")
    return 1 if done["storage"] == "memory" else 0


def log_out(client: Client, terminal: Terminal, provider: str) -> int:
    """Remove the stored credential of a *provider*. Returns the exit code."""
    status = client.ask("authenticate", {"op": "logout"}, provider=provider)
    for warning in status.get("warnings", []):
        terminal.say(f"sidecar: {warning['message']}")
    name = status["provider"]
    terminal.say(f"Logged out of {name}." if status["removed"] else f"Nothing was stored for {name}.")
    if status["ready"] and status.get("source"):
        terminal.say(f"It still has a credential from the {status['source']}.")
    return 0
