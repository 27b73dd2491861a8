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
    # Until `serve` installs its own handlers there is nothing to finish.
    for number in platforms.LEAVE_SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))
    os._exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    for argument in arguments:
        if argument in ("-h", "--help", "-V", "--version"):
            return _print_help(argument)
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
        return _serve(arguments, descriptors, leave)
    except Exception as error:  # noqa: BLE001 - a failure that ends the process is logged
        log.log("error", "crashed", **log.find_origin(error))
        return 1
    finally:
        stderr.wait_until_written(STDERR_SECONDS)


def _print_help(flag: str) -> int:
    from sidecar import __version__

    text = f"sidecar {__version__}\n" if flag in ("-V", "--version") else USAGE
    os.write(1, text.encode())
    return 0


USAGE = """\
usage: sidecar [--config FILE] [--record DIR] [--trace FILE] [--log-level LEVEL]

Reads JSON requests from stdin and writes JSON replies to stdout, one per line, until stdin
ends. Try:

  echo '{"action":"stream_chat","params":{"model":"replay/default","messages":[{"role":"user","content":"Hi"}]}}' | sidecar

  --config FILE      read this configuration file instead of the user's own
  --record DIR       record every exchange in DIR, for the provider `replay`
  --trace FILE       write every line in both directions to FILE, without credentials
  --log-level LEVEL  debug, info, warn (default), error or off; the log is JSON lines on stderr
  --version          print the version

The user's configuration is ~/.config/sidecar/config.toml (macOS: ~/Library/Application
Support/sidecar, Windows: %LOCALAPPDATA%\\sidecar); SIDECAR_CONFIG and SIDECAR_HOME name others.
CONFIGURATION.md has the keys and variables, protocol/PROTOCOL.md the requests and replies.
"""  # noqa: E501 - a command to copy

ON_A_TERMINAL = """\
sidecar: reads one JSON object a line, of at most 4095 bytes as terminals cut them; Ctrl-D ends.
sidecar: --help shows a request to try
"""


def _serve(arguments: list[str], descriptors: "stdio.Descriptors", leave: Callable[[int], None]) -> int:
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
    prefer_uvloop = config.event_loop == "uvloop"
    gc.freeze()
    gc.enable()
    event_loop.run(serve, config, descriptors, leave, mistakes, prefer_uvloop=prefer_uvloop)
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
            raise ValueError(f"there is no command {flag!r}: requests come on stdin; see sidecar --help")
        if flag not in _OPTIONS:
            raise ValueError(f"unknown option {flag!r}; see sidecar --help")
        option = value if equals else next(rest, None)
        if not option:
            raise ValueError(f"{flag} needs a value")
        options[flag] = option
    return options


if __name__ == "__main__":
    main()
