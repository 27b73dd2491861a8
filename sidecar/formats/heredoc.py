"""Files as the here-documents of shell commands, which no shell runs. [sans-IO]

`cat > PATH << 'MARK'`, the lines, `MARK`; with `| patch PATH` the lines are a diff. Between files, a `#` line gives the
purpose of the next one, and commands of package managers are reported. The closing mark stands alone on its line, with
the indentation of the opening line. A here-document with the same mark within a file needs a closing mark of its own: a
file cut at the inner one must not count as complete.
"""

import re

from sidecar.formats.events import Writer
from sidecar.formats.lines import BLANKS, Format, Grammar, State, begins_with_any

_HERE = r"<<-?[ \t]*\\?(?P<quote>['\"]?)(?P<mark>\w[\w-]*)['\"]?"

_COMMANDS = tuple(
    re.compile(rf"(?P<indent>[ \t]*)(?:\$ )?cat[ \t]*{rest}[ \t]*", re.IGNORECASE)
    for rest in (
        rf">[ \t]*(?P<path>[^\s>|&<](?:[^<]*[^\s<])?)[ \t]*{_HERE}",
        rf"{_HERE}[ \t]*>[ \t]*(?P<path>[^\s>|&](?:.*\S)?)",
        rf"{_HERE}[ \t]*\|[ \t]*(?P<patch>patch)[ \t]+(?:-\S+[ \t]+)*(?P<path>[^\s-](?:.*\S)?)",
    )
)

_SHELL = (".sh", ".bash", ".zsh", ".ksh")
"""Files that may themselves contain such commands."""

_PURPOSE = re.compile(r"#+[ \t]*(?:(?:file[ \t]+)?purpose[ \t]*:[ \t]*)?(.*)", re.IGNORECASE)

_MANAGERS = ("bun", "cargo", "composer", "deno", "gem", "go", "npm", "pip", "pip3", "pnpm", "poetry", "uv", "yarn")

_INSTALL = re.compile(rf"(?:{'|'.join(_MANAGERS)}) +(?:install|i|add|get|remove|uninstall|update)\b.*")


def _enter(out: Writer, line: str) -> Grammar | bool:
    text = line.strip(BLANKS)
    if command := _find_command(line):
        return _read_file(out, command)
    if out.only and text.startswith("#"):
        out.settle()
        out.hold(line)
        return True
    if out.only and _INSTALL.fullmatch(text):
        out.command(text)
        return True
    return False


def _find_command(line: str) -> re.Match[str] | None:
    line = line.rstrip("\r\n")
    return next((match for command in _COMMANDS if (match := command.fullmatch(line))), None)


def _read_file(out: Writer, command: re.Match[str]) -> Grammar:
    purpose = _PURPOSE.fullmatch(out.held[-1].strip(BLANKS)) if out.held else None
    path, mark = command["path"].strip(" \t\"'"), command["mark"]
    is_diff = "patch" in command.groupdict()
    if purpose is None:
        out.settle()  # Such as the fence around the command: it opens no file here.
    out.open(
        path,
        "edit" if is_diff else "create",
        "unified_diff" if is_diff else "full_content",
        purpose=purpose[1] if purpose else None,
    )
    nested = re.compile(rf"(?<!<)<<-?[ \t]*\\?['\"]?{re.escape(mark)}['\"]?[ \t]*(?:[|>&;)].*)?\r?$", re.MULTILINE)
    state = State(line=begins_with_any("cat", "$", mark.lower()))
    depth = 0
    while line := (yield state):
        depth += len(nested.findall(out.fresh()))
        opened = _find_command(line)
        if opened and opened["mark"] == mark and opened["indent"] == command["indent"] and not _is_shell(out, path):
            out.close(complete=False)
            return line
        if line.rstrip("\r\n") != command["indent"] + mark:
            out.text(line)
        elif depth:
            depth -= 1
            out.text(line)
        else:
            out.close()
            return None
    return line


def _is_shell(out: Writer, path: str) -> bool:
    return path.endswith(_SHELL) or out.begins_with("#!")


HEREDOC = Format(openers=("cat", "$", "#", *_MANAGERS), enter=_enter)
