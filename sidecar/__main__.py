"""The command line. Exit codes: 0 after a normal end, 1 after a failure, 2 for a mistake of the user's."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.server import stdio

STDERR_SECONDS = 0.2
"""How long the process waits at its end for a host that is slow to read stderr."""


def main() -> None:
    """Run the program and end the process."""
    # What is imported stays: a tenth of the start went into looking for what of it could be collected.
    gc.disable()
    from sidecar.core import platforms

    # The environment holds keys from the first moment.
    platforms.disable_core_dumps()
    arguments = sys.argv[1:]
    # Until `serve` or a command installs its own handlers there is nothing to finish.
    interrupted = 0 if _serves(arguments) else 130
    for number in platforms.LEAVE_SIGNALS:
        code = interrupted if number == signal.SIGINT else 0
        signal.signal(number, lambda *_, code=code: os._exit(code))
    os._exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    place = find_command(arguments)
    command = None if place is None else arguments[place]
    # What is completed may be any of the words.
    if command != "completion" and ("-V" in arguments or "--version" in arguments):
        return _print_version(as_json="--json" in arguments)
    if not _serves(arguments):
        # Options may stand before the command, too.
        return _run_command(arguments if place is None else [arguments.pop(place), *arguments])
    if not arguments and _is_terminal(0):
        os.write(2, INTRODUCTION.encode())
        return 0
    return _run_server([each for at, each in enumerate(arguments) if at != place], shows_lines=command == "trace")


def _run_server(arguments: list[str], *, shows_lines: bool) -> int:
    from sidecar.core import log
    from sidecar.server import stdio

    # Before anything is imported that may print.
    try:
        descriptors = stdio.claim()
    except stdio.ClosedDescriptorError as error:
        os.write(2, f"sidecar: {error} is closed, so there is no host to serve\n".encode())
        return 2
    stderr = stdio.redirect_prints(descriptors.stderr)

    def leave(code: int) -> None:
        stderr.wait_until_written(STDERR_SECONDS)
        os._exit(code)

    try:
        return _serve(arguments, descriptors, leave, shows_lines=shows_lines)
    except Exception as error:  # noqa: BLE001 - a failure that ends the process is logged
        log.log("error", "crashed", **log.find_origin(error))
        return 1
    finally:
        stderr.wait_until_written(STDERR_SECONDS)


HELP_FLAGS = frozenset({"-h", "--help"})


def find_command(arguments: list[str]) -> int | None:
    """Return the place of the first of *arguments* that is neither an option of `serve` nor its value."""
    is_value = False
    for place, argument in enumerate(arguments):
        if not is_value and not argument.startswith("-"):
            return place
        is_value = not is_value and argument in _OPTIONS
    return None


def _serves(arguments: list[str]) -> bool:
    place = find_command(arguments)
    return not HELP_FLAGS.intersection(arguments) and (place is None or arguments[place] in ("serve", "trace"))


def _run_command(arguments: list[str]) -> int:
    from sidecar.cli import commands

    gc.enable()
    return commands.main(arguments)


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _print_version(*, as_json: bool) -> int:
    from sidecar import __version__

    text = f"sidecar {__version__}"
    if as_json:
        import msgspec

        from protocol.replies import PROTOCOL_VERSION

        facts = {"version": __version__, "protocol": PROTOCOL_VERSION, "build": _find_build()}
        text = msgspec.json.encode(facts).decode()
    os.write(1, f"{text}\n".encode())
    return 0


def _find_build() -> str:
    """Return what runs: `bundle` needs no Python, `wheel` is installed in one, `checkout` is the source."""
    if hasattr(sys, "frozen"):
        return "bundle"
    return "wheel" if __file__.rpartition("sidecar")[0].rstrip("/\\").endswith("sidecar_stdio") else "checkout"


INTRODUCTION = """\
sidecar talks to every AI provider, for an editor that writes lines of JSON to it, or for you.
Try `sidecar chat replay/text Hello`, then `sidecar login PROVIDER`; `sidecar --help` lists the commands.
"""

ON_A_TERMINAL = """\
sidecar: reads one JSON object a line, of at most 4095 bytes as terminals cut them; Ctrl-D ends.
sidecar: --help shows a request to try
"""


def _serve(
    arguments: list[str], descriptors: "stdio.Descriptors", leave: Callable[[int], None], *, shows_lines: bool
) -> int:
    from sidecar.config import loader, values
    from sidecar.core import event_loop, log, platforms
    from sidecar.server.serve import serve

    mistakes: list[str] = []
    options: dict[str, str] = {}
    try:
        options = parse_options(arguments)
        config = loader.load(
            path=options.get("--config"),
            record_dir=options.get("--record"),
            trace_path=options.get("--trace"),
            log_level=options.get("--log-level"),
        )
    except values.ConfigError as error:
        # The host reads replies and seldom stderr: each of its requests is answered with the mistakes.
        mistakes, config = str(error).splitlines(), values.Config(path="", trace_path=options.get("--trace"))
        _print_problems(mistakes)
    except ValueError as error:
        _print_problems([str(error)])
        return 2
    if os.isatty(descriptors.stdin):
        sys.stderr.write(ON_A_TERMINAL)
    log.set_level(config.log_level)
    platforms.raise_file_limit()
    trace = None
    if shows_lines:
        from sidecar.cli.trace import show_lines

        trace, descriptors = show_lines(descriptors, config.trace_path)
    prefer_uvloop = config.event_loop == "uvloop"
    gc.freeze()
    gc.enable()
    event_loop.run(serve, config, descriptors, leave, mistakes, trace, prefer_uvloop=prefer_uvloop)
    return 0


def _print_problems(lines: list[str]) -> None:
    sys.stderr.write("".join(f"sidecar: {line}\n" for line in lines))


_OPTIONS = frozenset({"--config", "--record", "--trace", "--log-level"})


def parse_options(arguments: list[str]) -> dict[str, str]:
    """Return the options of the command line by their flags. `argparse` would take a tenth of the time of a start.

    Raises: ValueError for an unknown option, or one without its value.
    """
    options: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if not flag.startswith("-"):
            raise ValueError(f"{flag!r} is no option: requests come on stdin; see sidecar --help")
        if flag not in _OPTIONS:
            raise ValueError(f"unknown option {flag!r}{_suggest(flag)}; see sidecar serve --help")
        option = value if equals else next(rest, None)
        if not option:
            raise ValueError(f"{flag} needs a value")
        options[flag] = option
    return options


def _suggest(flag: str) -> str:
    from difflib import get_close_matches  # Only a failure needs it.

    nearest = get_close_matches(flag, sorted({*_OPTIONS, *HELP_FLAGS, "--version"}), 1)
    return f", did you mean {nearest[0]!r}?" if nearest else ""


if __name__ == "__main__":
    main()
