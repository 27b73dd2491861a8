"""`sidecar chat`: one question, or a conversation."""

from typing import Any

import msgspec

from sidecar.cli.client import Client, FailedError, InterruptedRequestError
from sidecar.cli.failures import CommandError, explain_failure
from sidecar.cli.terminal import Terminal

WAITING = "waiting for the model"

FINISHED = ("stop", "tool_calls")
"""Reasons for an end of which nothing need be said."""


class ChatChoices(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says of a chat."""

    model: str | None = None
    prompt: str | None = None
    system: str | None = None
    options: dict[str, Any] = {}
    shows_json: bool = False
    is_quiet: bool = False


def chat(client: Client, terminal: Terminal, choices: ChatChoices) -> int:
    """Answer the prompt, with what is piped in below it; without either, talk. Returns the exit code."""
    model = choices.model or _find_default_model(client)
    piped = "" if terminal.is_input else terminal.read_all()
    prompt = "\n\n".join(part for part in (choices.prompt or "", piped) if part.strip())
    messages = [{"role": "system", "content": choices.system}] if choices.system else []
    if prompt:
        messages.append({"role": "user", "content": prompt})
        _answer(client, terminal, choices, model, messages)
        return 0
    if not terminal.is_input:
        raise CommandError("There is no prompt: standard input is empty.", "echo 'What is a sidecar?' | sidecar chat")
    return _talk(client, terminal, choices, model, messages)


def _find_default_model(client: Client) -> str:
    config = client.config
    if config.task_model:
        return config.task_model
    if config.route.get("models"):
        return "auto"
    raise CommandError(
        "No model is named, and the configuration has no default.",
        "name one: sidecar chat replay/text 'Hello'; `sidecar models` lists yours",
    )


def _talk(client: Client, terminal: Terminal, choices: ChatChoices, model: str, messages: list[dict[str, Any]]) -> int:
    terminal.say(f"Talking to {model}. Ctrl-D ends.")
    while True:
        try:
            text = terminal.ask("> ")
        except EOFError:
            terminal.say("")
            return 0
        if not text.strip():
            continue
        messages.append({"role": "user", "content": text})
        try:
            messages.append(_answer(client, terminal, choices, model, messages))
        except FailedError as error:
            # The conversation goes on without the question that has no answer.
            messages.pop()
            for line in explain_failure(client, error.body):
                terminal.say(line)


def _answer(
    client: Client, terminal: Terminal, choices: ChatChoices, model: str, messages: list[dict[str, Any]]
) -> dict[str, Any]:
    """Stream one answer to stdout, and return it as a message."""
    ends_line = True

    def take(chunk: dict[str, Any]) -> None:
        nonlocal ends_line
        if chunk["type"] == "content" and not choices.shows_json:
            terminal.write(chunk["content"])
            ends_line = chunk["content"].endswith("\n")

    params = {"model": model, "messages": messages, "options": choices.options}
    try:
        done = client.stream("stream_chat", params, take, waiting=WAITING)
    except (FailedError, InterruptedRequestError) as error:
        if not ends_line:
            terminal.write("\n")
        if error.body.get("usage") and not choices.is_quiet:
            terminal.say(describe_usage(error.body))
        raise
    if choices.shows_json:
        terminal.write(msgspec.json.encode(done).decode() + "\n")
    elif not ends_line:
        terminal.write("\n")
    _say_end(terminal, choices, done)
    message: dict[str, Any] = done["message"]
    return message


def _say_end(terminal: Terminal, choices: ChatChoices, done: dict[str, Any]) -> None:
    for warning in done["warnings"]:
        terminal.say(f"sidecar: {warning['message']}")
    if done["finish_reason"] not in FINISHED:
        terminal.say(f"sidecar: the answer ended early: {done['finish_reason']}")
    if not choices.is_quiet and not choices.shows_json:
        terminal.say(describe_usage(done))


def describe_usage(end: dict[str, Any]) -> str:
    """Return the tokens, the cost, the time and the model of a `done` or an error, as one line."""
    usage, cost = end.get("usage") or {}, end.get("cost") or {}
    tokens = [
        f"{usage[name]} tokens {word}"
        for name, word in (("input_tokens", "in"), ("output_tokens", "out"))
        if usage.get(name) is not None
    ]
    about = "about " if usage.get("estimated") else ""
    spent = f"${cost['usd']}" if cost.get("usd") is not None else "cost unknown"
    ms = (end.get("timings") or {}).get("total_ms", end.get("elapsed_ms"))
    seconds = [] if ms is None else [f"{ms / 1000:.1f} s"]
    names = [f"{end['provider']}/{end['model']}"] if end.get("provider") and end.get("model") else []
    return f"[{about}{', '.join([*tokens, spent, *seconds, *names])}]"
