"""The manual page, made from the help of the commands: `python -m sidecar.cli.manual > packaging/man/sidecar.1`.

Its format is that of man(7). A test compares the file with what is made here.
"""

import re
import sys
from collections.abc import Iterator

import click

from sidecar.cli.commands import sidecar

FILES = (
    ("~/.config/sidecar/config.toml", "The configuration. CONFIGURATION.md has its keys."),
    ("~/.local/share/sidecar/credentials.json", "Stored credentials, or where in the keychain they are."),
    ("~/.local/share/sidecar/ledger.sqlite3", "What was asked and what it cost, without a word of it."),
)
VARIABLES = (
    ("SIDECAR_CONFIG", "Another configuration file."),
    ("SIDECAR_HOME", "One folder for all of these files."),
    ("NO_COLOR", "No colours in tables."),
    ("HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY", "The proxy, and which hosts are asked without it."),
    ("SSL_CERT_FILE", "The certificates that are trusted."),
)
CODES = (
    ("0", "Done."),
    ("1", "It failed."),
    ("2", "What was typed, or the configuration, cannot be used."),
    ("130", "Ctrl-C."),
)


def make_manual() -> str:
    """Return the manual page."""
    lines = ['.TH SIDECAR 1 "" "" "User Commands"', ".SH NAME", "sidecar \\- talk to every AI provider", ".SH SYNOPSIS"]
    lines += [".B sidecar", "[COMMAND] [OPTIONS] [ARGUMENTS]", ".SH DESCRIPTION"]
    with click.Context(sidecar, info_name="sidecar") as context:
        lines += _format_text(sidecar.help or "")
        lines.append(".SH COMMANDS")
        for name in sorted(sidecar.commands):
            lines += _format_command(sidecar.commands[name], context)
    for title, rows in (("EXIT STATUS", CODES), ("FILES", FILES), ("ENVIRONMENT", VARIABLES)):
        lines.append(f".SH {title}")
        for term, text in rows:
            lines += [".TP", f".B {_escape(term)}", _escape(text)]
    return "\n".join(lines) + "\n"


def _format_command(command: click.Command, parent: click.Context) -> Iterator[str]:
    with click.Context(command, info_name=command.name, parent=parent) as context:
        usage = " ".join(command.collect_usage_pieces(context))
        yield f".SS {_escape(f'sidecar {command.name} {usage}')}"
        yield from _format_text(command.help or "")
        for parameter in command.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None and record[1] and "--help" not in parameter.opts:
                yield from (".TP", f".B {_escape(record[0])}", _escape(record[1]))
        if command.epilog:
            yield ".PP"
            yield from _format_text(command.epilog)


def _format_text(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        if paragraph.startswith("\b"):
            yield from (".nf", *map(_escape, paragraph.removeprefix("\b\n").splitlines()), ".fi")
        else:
            yield _escape(" ".join(paragraph.split()))


def _escape(line: str) -> str:
    escaped = line.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    sys.stdout.write(make_manual())
