"""A command within the test: the real parser, client, app and printing, over servers in memory and a virtual clock."""

import asyncio
import io
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock
from urllib.parse import urlsplit

from sidecar.cli import commands
from sidecar.cli.session import Session
from sidecar.cli.terminal import Terminal
from sidecar.core import log
from sidecar.core.errors import SidecarError
from sidecar.http.exchange import Exchange, Reply
from sidecar.http.failures import make_broken_error
from tests.support.environment import environment
from tests.support.fake_provider import WAIT_SECONDS
from tests.support.fake_services import Services
from tests.support.in_memory import InMemoryServices
from tests.support.in_memory_transport import InMemoryTransport
from tests.support.program import write_home
from tests.support.virtual_loop import its_clock, virtual_loop


class Outcome(NamedTuple):
    """What a person sees."""

    code: int
    out: str
    err: str


class Stream(io.StringIO):
    """A stream of the command, a terminal or not."""

    def __init__(self, text: str = "", *, is_terminal: bool = False) -> None:
        super().__init__(text)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._is_terminal


class _Network(InMemoryTransport):
    """Servers in memory, some of which cannot be reached."""

    def __init__(self, services: InMemoryServices, unreachable: dict[str, BaseException]) -> None:
        super().__init__(services)
        self._unreachable = unreachable

    async def _ask(self, exchange: Exchange) -> Reply:
        failure = self._unreachable.get(urlsplit(exchange.request.url).hostname or "")
        if isinstance(failure, SidecarError):
            raise failure
        if failure is not None:
            raise make_broken_error(failure)
        return await super()._ask(exchange)


class CommandLine:
    """A person with a home and a network."""

    def __init__(self, services: Services, folder: Path, config: str = "", **env: str) -> None:
        assert isinstance(services, InMemoryServices)
        home, arguments = write_home(folder, config)
        self.home = home
        named = {"SIDECAR_CONFIG": arguments[1]} if arguments else {}
        own = {"SIDECAR_LOG": "", "SIDECAR_HOME": str(home), "COLUMNS": "100", "TERM": "xterm"} | named
        self.env = {name: value for name, value in (environment(home) | services.env | own | env).items() if value}
        self._services: InMemoryServices = services
        self.unreachable: dict[str, BaseException] = {}
        """Host → why no connection to it can be made."""
        self.interrupt_after: float | None = None
        """After how many virtual seconds of a request Ctrl-C comes."""

    def type(
        self, *arguments: str, stdin: str = "", is_terminal: bool = False, out: io.StringIO | None = None
    ) -> Outcome:
        """Run `sidecar` with *arguments*. *stdin* is typed on a terminal, or else piped in."""
        out = out or Stream(is_terminal=is_terminal)
        err = Stream(is_terminal=is_terminal)
        terminal = Terminal(Stream(stdin, is_terminal=is_terminal), out, err, self.env)
        with mock.patch.dict(os.environ, self.env, clear=True), its_clock():
            session = Session(terminal, env=self.env, run=self._run, http=_Network(self._services, self.unreachable))
            code = commands.run(arguments, session)
            if "client" in session.__dict__:
                self._run(session.client.app.tasks.cancel())  # type: ignore[attr-defined]
            log.set_level("warn")
        outcome = Outcome(code, out.getvalue(), err.getvalue())
        secrets = self._services.secrets
        secrets.register_environment(self.env)
        assert not (secret := secrets.find_in(f"{outcome.out}\n{outcome.err}".encode())), secret
        return outcome

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        loop = virtual_loop()
        task = loop.create_task(coroutine)
        if self.interrupt_after is not None:
            loop.call_later(self.interrupt_after, task.cancel)
        done: Callable[[], bool] = task.done
        if not loop.run_until(done, WAIT_SECONDS * 20):
            task.cancel()
            raise AssertionError("the command does not end")
        try:
            return task.result()
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
