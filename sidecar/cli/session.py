"""One run of a command: its terminal, its configuration, its client, and how it ends."""

import os
import signal
from collections.abc import Callable, Mapping
from functools import cached_property
from types import FrameType
from typing import Any

import msgspec

from sidecar.cli.client import Client, FailedError, InterruptedRequestError, Run
from sidecar.cli.failures import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_MISUSED,
    CommandError,
    explain_failure,
    find_exit_code,
    format_problem,
)
from sidecar.cli.terminal import ReaderGoneError, Terminal
from sidecar.config import loader
from sidecar.config.values import Config, ConfigError
from sidecar.core import event_loop, log, platforms
from sidecar.core.http import Transport

EXIT_SIGNAL = 128


class Session:
    """What the commands share. Tests bring a terminal, an environment, a loop and a network of their own."""

    def __init__(
        self,
        terminal: Terminal,
        *,
        env: Mapping[str, str] | None = None,
        run: Run | None = None,
        http: Transport | None = None,
    ) -> None:
        self.terminal = terminal
        self.env = env
        self.options: dict[str, str | None] = {}
        """The options that every command takes, as `loader.load` names them."""
        self._given_run = run
        self._http = http

    @cached_property
    def config(self) -> Config:
        """The configuration, read when first needed.

        Raises: ConfigError.
        """
        config = loader.load(env=self.env, **self.options)
        # A person sees the failures themselves, and the log only if it was asked for.
        is_asked_for = self.options.get("log_level") or (self.env or {}).get("SIDECAR_LOG")
        log.set_level(config.log_level if is_asked_for else "off")
        return config

    def tolerate_mistakes(self) -> list[str]:
        """Return what is wrong with the configuration, and go on without what is wrong."""
        try:
            _ = self.config
        except ConfigError as error:
            mistakes = str(error).splitlines()
        else:
            return []
        kept = ("SIDECAR_HOME", "SIDECAR_STORE_DIR")
        env = {name: it for name, it in (self.env or {}).items() if not name.startswith("SIDECAR_") or name in kept}
        for each in (env, {name: it for name, it in env.items() if name not in kept}):
            try:
                self.config = loader.load(path=os.devnull, env=each)
            except ConfigError:
                continue
            break
        return mistakes

    def leave_ledger_alone(self) -> None:
        """Write down no request of this run."""
        self.config = msgspec.structs.replace(self.config, ledger_path=None)

    @cached_property
    def run_loop(self) -> Run:
        """Run a coroutine in the one loop of the process."""
        if self._given_run is not None:
            return self._given_run
        platforms.raise_file_limit()
        return event_loop.make_runner(prefer_uvloop=self.config.event_loop == "uvloop")

    @cached_property
    def client(self) -> Client:
        """The host that asks, made when first needed."""
        return Client(self.config, self.run_loop, self.terminal, self._http)

    def run(self, command: Callable[[], int]) -> int:
        """Run *command*, tell the person of its failure, and return the exit code."""
        try:
            code = command()
        except (ReaderGoneError, EOFError):
            # Whoever reads has enough; the end of input is the end of the questions.
            return 0
        except (KeyboardInterrupt, InterruptedRequestError):
            self.terminal.clear_progress()
            code = EXIT_INTERRUPTED
        except (FailedError, CommandError, ConfigError, OSError) as error:
            code, lines = self._explain(error)
            for line in lines:
                self.terminal.say(line)
        if "client" in self.__dict__:
            self.client.close()
        return code

    def _explain(self, error: Exception) -> tuple[int, list[str]]:
        """Return the exit code and the lines for a command that ended with *error*."""
        match error:
            case FailedError():
                return find_exit_code(error.body), explain_failure(self.client, error.body)
            case CommandError():
                return error.code, format_problem(str(error), error.remedy)
            case ConfigError():
                mistakes = [f"sidecar: {line}" for line in str(error).splitlines()]
                return EXIT_MISUSED, [*mistakes, "  try: correct the configuration; CONFIGURATION.md has its keys"]
            case OSError():
                # Such as a full disk, or a terminal that hung up.
                return EXIT_FAILED, format_problem(f"cannot go on: {error.strerror}")
            case _:
                raise error


def handle_signals() -> None:
    """Have Ctrl-C raise KeyboardInterrupt and the other signals end the command, so that the terminal is left sane."""

    def leave(number: int, frame: FrameType | None) -> Any:  # noqa: ARG001 - the signature of a signal handler
        raise SystemExit(EXIT_SIGNAL + number)

    for number in platforms.LEAVE_SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else leave)


def ignore_interrupts() -> None:
    """Let Ctrl-C do nothing more: the command has ended, and its exit code is known."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
