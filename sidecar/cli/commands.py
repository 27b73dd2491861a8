"""The commands: their arguments, options and help, and the function that each of them calls.

The only module that imports click, beside those that look at its table. A command imports its own code when it runs.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from sidecar import __version__
from sidecar.cli import completion
from sidecar.cli.failures import EXIT_FAILED, EXIT_INTERRUPTED
from sidecar.cli.session import Session, handle_signals, ignore_interrupts
from sidecar.cli.terminal import open_terminal
from sidecar.config.loader import read_environment

HELP = """Talk to every AI provider, from an editor or by hand.

With a pipe on its input, `sidecar` is the process that an editor spawns: it reads requests as lines of JSON and
writes replies as lines of JSON (protocol/PROTOCOL.md). The commands below are for people.

\b
Examples:
  sidecar chat replay/text 'What is a sidecar?'     plays a recorded answer: no key, no network
  sidecar login PROVIDER                            `sidecar providers` lists them
  git diff | sidecar chat PROVIDER/MODEL 'Write a commit message'
  sidecar doctor
  echo '{"id":1,"action":"ping"}' | sidecar
"""

EPILOG = "CONFIGURATION.md has the keys of the configuration and the variables that are read."

pass_session = click.make_pass_decorator(Session)


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every command takes."""

    def keep(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            context.find_object(Session).options[parameter.name or ""] = value  # type: ignore[union-attr]

    for name, metavar, text in (
        ("--log-level", "LEVEL", "debug, info, warn (default), error or off; the log goes to stderr."),
        ("--config", "FILE", "Read this configuration file instead of the user's own."),
    ):
        variable = {"--config": "path", "--log-level": "log_level"}[name]
        function = click.option(
            name, variable, metavar=metavar, help=text, expose_value=False, is_eager=True, callback=keep
        )(function)
    return function


def as_json(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option for programs that read the output."""
    return click.option("--json", "shows_json", is_flag=True, help="Print JSON, for programs.")(function)


SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(help=HELP, epilog=EPILOG, context_settings=SETTINGS)
@click.version_option(__version__, "-V", "--version", message="sidecar %(version)s")
def sidecar() -> None:
    """Hold the commands."""


SERVE_EXAMPLE = """\b
Example:
  echo '{"action":"stream_chat","params":{"model":"replay/default","messages":[{"role":"user","content":"Hi"}]}}' | sidecar
"""  # noqa: E501 - a command to copy


@sidecar.command(epilog=SERVE_EXAMPLE)
@click.option("--record", metavar="DIR", help="Record every exchange in DIR, for the provider `replay`.")
@click.option("--trace", metavar="FILE", help="Write every line in both directions to FILE, without credentials.")
@common
def serve(**_: str) -> None:
    r"""Serve an editor, also on a terminal.

    Reads JSON requests from stdin and writes JSON replies to stdout, one per line, until stdin ends. With a pipe on its
    input, `sidecar` alone does the same. The log is JSON lines on stderr.

    The user's configuration is ~/.config/sidecar/config.toml (macOS: ~/Library/Application Support/sidecar, Windows:
    %LOCALAPPDATA%\sidecar); SIDECAR_CONFIG and SIDECAR_HOME name others.
    """
    raise AssertionError("`sidecar.__main__` serves: it must not import what commands need")


@sidecar.command(epilog="Example: let an editor spawn `sidecar trace` and look at what it logs of stderr.")
@click.option("--record", metavar="DIR", help="As for `sidecar serve`.")
@click.option("--trace", metavar="FILE", help="As for `sidecar serve`.")
@common
def trace(**_: str) -> None:
    """Serve, and show every line in both directions on stderr.

    Each has its time, its direction, the id of its request and what it says, without credentials. On a terminal, type
    requests as lines of JSON.
    """
    raise AssertionError("`sidecar.__main__` serves")


@sidecar.command(epilog="Example: sidecar replay trace.ndjson")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json
@common
@pass_session
def replay(session: Session, /, *, file: Path, shows_json: bool) -> int:
    """Send the requests in FILE again, and show both directions.

    FILE is what `sidecar serve --trace FILE` has written, or has a request on each line. Credentials are not in a
    trace: your own are used. Ends with 1 if a request failed.
    """
    from sidecar.cli.trace import replay

    return replay(session.client, session.terminal, file, shows_json=shows_json)


@sidecar.command(epilog="Example: sidecar chat replay/text 'What is a sidecar?'")
@click.argument("model", required=False, shell_complete=completion.complete_model)
@click.argument("prompt", required=False)
@click.option("--system", metavar="TEXT", help="What the model is told beforehand.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="How long the answer may be.")
@click.option("--temperature", type=click.FloatRange(0, 2), metavar="X", help="0 for the likeliest words.")
@click.option("-q", "--quiet", is_flag=True, help="Do not print usage and cost.")
@as_json
@common
@pass_session
def chat(session: Session, /, **choices: Any) -> int:
    """Ask a model, and stream its answer.

    MODEL is PROVIDER/MODEL, as `sidecar models` lists them, or a preset of the configuration. What is piped in comes
    after PROMPT. With neither, it is a conversation. Usage and cost go to stderr.
    """
    from sidecar.cli.chat import ChatChoices, chat

    model, prompt = choices["model"], choices["prompt"]
    if model is not None and prompt is None and any(map(str.isspace, model)):
        # No model's name has a blank.
        model, prompt = None, model
    options = {name: choices[name] for name in ("max_tokens", "temperature") if choices[name] is not None}
    made = ChatChoices(
        model=model,
        prompt=prompt,
        system=choices["system"],
        options=options,
        shows_json=choices["shows_json"],
        is_quiet=choices["quiet"],
    )
    return chat(session.client, session.terminal, made)


@sidecar.command()
@as_json
@common
@pass_session
def providers(session: Session, /, *, shows_json: bool) -> int:
    """List the providers, and what each of them still needs."""
    from sidecar.cli.lists import show_providers

    return show_providers(session.client, session.terminal, shows_json=shows_json)


@sidecar.command()
@click.argument("provider", required=False, shell_complete=completion.complete_provider)
@click.option("--refresh", is_flag=True, help="Ask the provider even if there is a fresh list.")
@as_json
@common
@pass_session
def models(session: Session, /, *, provider: str | None, refresh: bool, shows_json: bool) -> int:
    """List models, with their limits and prices.

    Those of PROVIDER, or of all that have a credential. Prices are US dollars per million tokens.
    """
    from sidecar.cli.lists import show_models

    return show_models(session.client, session.terminal, provider, refreshes=refresh, shows_json=shows_json)


@sidecar.command(epilog="Examples: sidecar login PROVIDER; pass show my-key | sidecar login PROVIDER")
@click.argument("provider", shell_complete=completion.complete_provider)
@click.argument("surplus", nargs=-1, metavar="")
@click.option("--key", "uses_key", is_flag=True, help="Type a key, even if there is another way to log in.")
@click.option("--existing", "uses_existing", is_flag=True, help="Use the login that another program has left.")
@click.option(
    "--setting", "settings", multiple=True, metavar="NAME=VALUE", help="What the provider needs beside a key."
)
@common
@pass_session
def login(session: Session, /, *, surplus: tuple[str, ...], settings: tuple[str, ...], **choices: Any) -> int:
    """Store a credential of PROVIDER.

    A key is typed without being shown, or piped in, and tested before it is stored in the system's keychain or in a
    file that only you can read. Some providers show a code to enter in a browser instead.
    """
    from sidecar.cli.logins import LoginChoices, log_in

    if surplus:
        # It is never repeated: it is a key, as a rule.
        text = "A key does not belong on the command line, where other programs see it."
        raise click.UsageError(f"{text} Type it when asked, or pipe it in.")
    if wrong := [each.partition("=")[0] for each in settings if "=" not in each]:
        raise click.BadParameter(f"{wrong[0]!r} has no value: NAME=VALUE.", param_hint="--setting")
    pairs = {name: value for name, _, value in (each.partition("=") for each in settings)}
    return log_in(session.client, session.terminal, LoginChoices(settings=pairs, **choices))


@sidecar.command()
@click.argument("provider", shell_complete=completion.complete_provider)
@common
@pass_session
def logout(session: Session, /, *, provider: str) -> int:
    """Remove the stored credential of PROVIDER."""
    from sidecar.cli.logins import log_out

    return log_out(session.client, session.terminal, provider)


@sidecar.command(epilog="Example: sidecar usage --by day --by model --since 2026-11-01")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(["provider", "model", "kind", "action", "outcome", "code", "finish_reason", "day", "month"]),
    help="What to group by. Default: provider and model.",
)
@click.option("--since", metavar="DATE", help="The first day, YYYY-MM-DD. Default: 30 days ago.")
@click.option("--until", metavar="DATE", help="The day after the last.")
@click.option("--provider", metavar="PROVIDER", help="Report on this provider alone.")
@as_json
@common
@pass_session
def usage(session: Session, /, **choices: Any) -> int:
    """Show what was asked and what it cost.

    A table, and a bar for each day. The figures come from the ledger on this machine. Days are in UTC.
    """
    from sidecar.cli.usage import UsageChoices, show_usage

    return show_usage(session.client, session.terminal, UsageChoices(**choices))


@sidecar.command(epilog="Example: sidecar count PROVIDER/MODEL < README.md")
@click.argument("model", shell_complete=completion.complete_model)
@click.argument("text", required=False)
@click.option("--exact", is_flag=True, help="Ask the provider to count, if it can.")
@as_json
@common
@pass_session
def count(session: Session, /, *, model: str, text: str | None, exact: bool, shows_json: bool) -> int:
    """Count the tokens of TEXT, or of what is piped in, for MODEL."""
    from sidecar.cli.usage import count

    return count(session.client, session.terminal, model, text, is_exact=exact, shows_json=shows_json)


@sidecar.command(epilog="Examples: sidecar doctor; sidecar doctor PROVIDER --json")
@click.argument("providers", nargs=-1, metavar="[PROVIDER]...", shell_complete=completion.complete_provider)
@as_json
@common
@pass_session
def doctor(session: Session, /, *, providers: tuple[str, ...], shows_json: bool) -> int:
    """Look for what is wrong, and say what to do about it.

    Looks at the configuration, stored credentials, the keychain, the ledger, disks, proxies, certificates and the
    clock, and asks each PROVIDER, or all that have a credential, something that costs nothing. Ends with 1 if
    something is wrong.
    """
    from sidecar.cli.doctor.run import DoctorChoices, run_doctor

    mistakes = session.tolerate_mistakes()
    made = DoctorChoices(providers=providers, shows_json=shows_json, config=session.config, mistakes=mistakes)
    session.leave_ledger_alone()
    return run_doctor(session.client, session.terminal, made)


@sidecar.command("completion", epilog="Example: add `source <(sidecar completion bash)` to ~/.bashrc.")
@click.argument("shell", type=click.Choice([*completion.SCRIPTS]))
@click.option("--words", "completes", is_flag=True, hidden=True)
@click.argument("words", nargs=-1, metavar="")
@pass_session
def completion_(session: Session, /, *, shell: str, completes: bool, words: tuple[str, ...]) -> int:
    """Print the script that completes commands in SHELL.

    For zsh, put it into a file `_sidecar` in a folder of `fpath`; for fish, into
    ~/.config/fish/completions/sidecar.fish.
    """
    text = completion.complete_words(sidecar, shell, words) if completes else completion.SCRIPTS[shell]
    session.terminal.write(text)
    return 0


def run(arguments: Sequence[str], session: Session) -> int:
    """Run the command that *arguments* name, and return the exit code."""

    def call() -> int:
        try:
            code = sidecar.main([*arguments], "sidecar", standalone_mode=False, obj=session)
        except click.exceptions.Abort:
            raise KeyboardInterrupt from None
        except click.ClickException as error:
            session.terminal.say(_format_misuse(error))
            return error.exit_code
        return code if isinstance(code, int) else 0

    return session.run(call)


def _format_misuse(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "sidecar"
    return f"sidecar: {error.format_message()}\n  try: {path} --help"


def main(arguments: Sequence[str]) -> int:
    """Run the command that *arguments* name in this process, and return the exit code."""
    try:
        handle_signals()
        env = read_environment()
        return run(arguments, Session(open_terminal(env), env=env))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_FAILED
    finally:
        ignore_interrupts()
