"""Command line and exit codes: 0 after a normal end, 1 for a failure of ours, 2 for a start that cannot succeed."""

import os
import signal
import sys
from collections.abc import Callable

from sidecar.config import values
from sidecar.core import log, platforms
from sidecar.server import stdio

STDERR_SECONDS = 0.2
"""How long a host that is slow to read stderr holds up the end."""


def main() -> None:
    """Run the process and leave it."""
    # Until `serve` has handlers of its own there is nothing to finish.
    for number in platforms.LEAVE_SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))
    os._exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] in ("-h", "--help", "--version"):
        return _tell(arguments[0])
    # Before anything that may print is imported.
    try:
        descriptors = stdio.claim()
    except stdio.ClosedDescriptorError as error:
        os.write(2, f"sidecar: {error} is closed: nothing to talk to\n".encode())
        return 2
    stderr = stdio.redirect_prints(descriptors.stderr)

    def leave(code: int) -> None:
        stderr.wait_until_written(STDERR_SECONDS)
        os._exit(code)

    try:
        return _serve(arguments, descriptors, leave)
    except Exception as error:  # noqa: BLE001 - the last words of a process that fails
        log.log("error", "crashed", **log.find_origin(error))
        return 1
    finally:
        stderr.wait_until_written(STDERR_SECONDS)


def _tell(flag: str) -> int:
    from sidecar import __version__

    text = f"sidecar {__version__}\n" if flag == "--version" else USAGE
    os.write(1, text.encode())
    return 0


USAGE = """\
usage: sidecar [--config FILE] [--record DIR] [--log-level LEVEL]

Reads one JSON request a line from stdin and writes one JSON reply a line to stdout, until
stdin ends. Try:

  echo '{"action":"stream_chat","params":{"model":"replay/default","messages":[{"role":"user","content":"Hi"}]}}' | sidecar

  --config FILE      read this configuration, not the one in the user's directory
  --record DIR       write every exchange to DIR, for the provider `replay` to play
  --log-level LEVEL  debug, info, warn (default), error or off; logs are JSON lines on stderr
  --version          say the version
"""  # noqa: E501 - a line to copy


def _serve(arguments: list[str], descriptors: stdio.Descriptors, leave: Callable[[int], None]) -> int:
    import anyio

    from sidecar.config import loader
    from sidecar.server.serve import serve

    try:
        options = _parse(arguments)
        settings = loader.load(
            path=options.get("--config"), record_dir=options.get("--record"), log_level=options.get("--log-level")
        )
    except (values.ConfigError, ValueError) as error:
        sys.stderr.write("".join(f"sidecar: {line}\n" for line in str(error).splitlines()))
        return 2
    log.set_level(settings.log_level)
    platforms.raise_file_limit()
    platforms.disable_core_dumps()
    anyio.run(serve, settings, descriptors, leave)
    return 0


_OPTIONS = frozenset({"--config", "--record", "--log-level"})


def _parse(arguments: list[str]) -> dict[str, str]:
    """Return the options of the command line. `argparse` would cost a tenth of the whole start."""
    options: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if flag not in _OPTIONS:
            raise ValueError(f"unknown option {flag!r}; see sidecar --help")
        given = value if equals else next(rest, None)
        if given is None:
            raise ValueError(f"{flag} needs a value")
        options[flag] = given
    return options


if __name__ == "__main__":
    main()
