"""The program within the test: the real dispatch, framing, write queue, requests and decoding, in one virtual loop.

What it lacks is the process: descriptors, signals, start and end. `tests.support.in_memory_transport` is its HTTP
client, its clock that of `tests.support.virtual_loop`. It runs only while the test waits for something.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import anyio

from sidecar.config import loader
from sidecar.core import event_loop, log
from sidecar.server import dispatch
from sidecar.server.app import App
from sidecar.server.framing import LineDecoder
from sidecar.server.write_queue import WriteQueue
from tests.support import side_effects
from tests.support.canaries import Secrets
from tests.support.environment import environment
from tests.support.fake_provider import WAIT_SECONDS, Provider
from tests.support.fake_services import Services
from tests.support.in_memory import InMemoryProvider, InMemoryServices
from tests.support.in_memory_transport import InMemoryTransport
from tests.support.program import Program, write_home
from tests.support.virtual_loop import its_clock, virtual_loop

PING_SECONDS = 0.1


class InProcess(Program):
    """One app."""

    def __init__(
        self,
        home: Path,
        provider: Provider | None = None,
        *,
        services: Services | None = None,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        secrets: Secrets | None = None,
    ) -> None:
        """Let it ask *provider*, and *services* at every other address."""
        super().__init__(home, provider, arguments=arguments, env=env, secrets=secrets)
        servers = [each for each in (provider, services) if isinstance(each, (InMemoryProvider, InMemoryServices))]
        assert len(servers) == (provider is not None) + (services is not None), "a server with a socket"
        self._http = InMemoryTransport(*servers)
        self._arguments = dict(zip(arguments[::2], arguments[1::2], strict=True))
        self._variables = {os.environ.encodekey(name): os.environ.encodevalue(it) for name, it in self.env.items()}
        self._requests: deque[bytes] = deque()
        self._arrived = anyio.Event()
        self._unfinished = b""
        self._deeds: list[side_effects.Deed] = []
        self.companions = set[InProcess]()
        """All that ran beside it, itself among them: a deed does not say whose it is."""
        self._main: Any = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        loop = self._open.enter_context(its_clock())
        with self._surrounded():
            config = loader.load(
                path=self._arguments.get("--config"),
                record_dir=self._arguments.get("--record"),
                log_level=self._arguments.get("--log-level"),
                env=self.env,
            )
        log.set_level(config.log_level)
        loop.surroundings.append(self._surrounded)
        self._open.callback(loop.surroundings.remove, self._surrounded)
        _running.append(self)
        self._open.callback(_running.remove, self)
        for each in _running:
            each.companions |= {*_running}
        self._main = loop.create_task(self._run(config))
        self.ping()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._open:
            try:
                if kind is None:
                    self._check_alive()
            finally:
                self._leave()
            if kind is None:
                self._main.result()
                self._check_lines()
                self._check_secrets()
                assert not (done := self._misdeeds()), done

    def _leave(self) -> None:
        self.close_stdin()
        if not virtual_loop().run_until(self._main.done, WAIT_SECONDS):
            self._main.cancel()
            virtual_loop().run_until(self._main.done, WAIT_SECONDS)
            raise AssertionError("it does not leave")

    # --- to the program ---------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write *data* to its input."""
        self._requests.append(data)
        virtual_loop().call_soon_threadsafe(self._arrived.set)

    def close_stdin(self) -> None:
        """Tell it that no request follows."""
        self.write(b"")

    # --- from the program -------------------------------------------------------------------

    def ping(self) -> float:
        """Return how many seconds a ping takes."""
        start = time.monotonic()
        lines = self.stream(self.send("ping"))
        return lines[-1].at - start

    def let_pass(self, seconds: float) -> None:
        """Let some time pass."""
        virtual_loop().run_until(lambda: False, seconds)

    def _wait(self, happened: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
        virtual_loop().run_until(lambda: happened() or self._main.done(), seconds)
        assert happened(), f"waited in vain for {what}; it runs: {not self._main.done()}; stderr: {self.stderr!r}"

    @contextmanager
    def _surrounded(self) -> Iterator[None]:
        """Give it an environment, an output and a witness of its own, as a process has."""
        # Python's own view of the variables alone: to set each takes a quarter of a test.
        before, streams = os.environ._data, (sys.stdout, sys.stderr)  # type: ignore[attr-defined]  # noqa: SLF001
        os.environ._data = self._variables  # type: ignore[attr-defined]  # noqa: SLF001
        sys.stdout = sys.stderr = _Stderr(self)
        try:
            with side_effects.noting(self._deeds):
                yield
        finally:
            sys.stdout, sys.stderr = streams
            os.environ._data = before  # type: ignore[attr-defined]  # noqa: SLF001

    # --- in the loop ------------------------------------------------------------------------

    async def _run(self, config: Any) -> None:
        """Do what `sidecar.server.serve` does, with the test for a host."""
        finished = anyio.Event()
        async with anyio.create_task_group() as tasks:
            app = App(config, WriteQueue(self._take_batch, event_loop.call_soon), tasks, self._http)
            app.leave = finished.set
            tasks.start_soon(self._read, app, finished)
            await finished.wait()
            app.leaving = True
            app.requests.cancel_all("shutting_down")
            await app.requests.wait_until_idle()
            await app.write_queue.flush()
            await app.upstream.flush()
            tasks.cancel_scope.cancel()

    async def _read(self, app: App, finished: anyio.Event) -> None:
        decoder = LineDecoder()
        while True:
            await self._arrived.wait()
            self._arrived = anyio.Event()
            while self._requests:
                data = self._requests.popleft()
                await dispatch.accept_all(partial(dispatch.accept, app), decoder.feed(data) if data else decoder.end())
                if not data:
                    app.requests.end_input()
                    await app.requests.wait_until_idle()
                    finished.set()
                    return

    def _take_batch(self, batch: bytes, on_written: Callable[[bool], None]) -> bool:  # noqa: ARG002 - it never waits
        *lines, rest = (self._unfinished + batch).split(b"\n")
        self._unfinished = rest
        at = time.monotonic()
        for line in lines:
            self._take(at, line)
        return True

    # --- what must always be true -----------------------------------------------------------

    def _check_alive(self) -> None:
        assert self.ping() < PING_SECONDS
        assert self.provider is None or self.provider.quiet(), "a connection to the provider is still in use"
        assert self.ask("ping")["data"]["in_flight"] == 0

    def _misdeeds(self) -> list[side_effects.Deed]:
        wrong = [{*side_effects.misdeeds(self._deeds, each.allowed)} for each in self.companions]
        return sorted(set.intersection(*wrong))


_running: list[InProcess] = []


class _Stderr:
    """Takes what is printed while a program runs."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def write(self, text: str) -> int:
        self._program.stderr += text.encode("utf-8", "backslashreplace")
        return len(text)

    def flush(self) -> None:
        """Hold nothing back."""


@contextmanager
def online(services: Services, folder: Path, config: str = "", **env: str) -> Iterator[InProcess]:
    """Yield a program to which *services* are the internet, with that configuration file and those variables.

    A variable that is empty is not set.
    """
    home, arguments = write_home(folder, config)
    given = {name: value for name, value in (services.env | env).items() if value}
    with InProcess(
        home, services=services, arguments=arguments, env=environment(home, **given), secrets=services.secrets
    ) as program:
        yield program
