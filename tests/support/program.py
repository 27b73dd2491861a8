"""The program as its host sees it: requests that are sent, lines that come back, and what must be true of them.

`tests.support.process` spawns it as an editor would, `tests.support.in_process` runs it within the test. Either as a
context manager ends it and asserts the invariants.
"""

import json
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from tests.support import side_effects
from tests.support.canaries import Secrets
from tests.support.environment import environment
from tests.support.fake_provider import WAIT_SECONDS, Provider
from tests.support.lines import ABSENT, CANARY, Id, Line, Object, check_sequence, read_line
from tests.support.reply_scripts import ANTHROPIC, Shape

_TROUBLE = re.compile(
    r"Traceback|Task exception was never retrieved|was never awaited|Exception ignored|ResourceWarning"
)


def params(provider: Provider, model: str, shape: Shape = ANTHROPIC) -> Object:
    """Return the params of a chat with *provider*, which plays the script *model*."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": "Hi"}],
        "api_key": CANARY,
        "base_url": provider.url + shape.base,
        "options": {"wire": shape.wire},
    }


def write_home(folder: Path, config: str = "") -> tuple[Path, list[str]]:
    """Make a home directory in *folder*, and return it and the arguments that name a file of *config*."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    if not config:
        return home, []
    # Not in the home directory, where no key may be found afterwards.
    (folder / "config.toml").write_text(config, encoding="utf-8")
    return home, ["--config", str(folder / "config.toml")]


class Program:
    """It runs. Requests get ids of their own unless a test gives them."""

    def __init__(
        self,
        home: Path,
        provider: Provider | None = None,
        *,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        secrets: Secrets | None = None,
    ) -> None:
        """*secrets* are what is looked for besides what it is given itself, in all that comes of it."""
        self.provider = provider
        self.home = home
        self.expects_answers = True
        """False when the host is not there to hear the ends of its requests."""
        self.env = environment(home) if env is None else dict(env)
        self.allowed = side_effects.Allowed(self.env, arguments)
        """What it may write, start and connect to."""
        self.lines: list[Line] = []
        self.events: list[Object] = []
        self.problems: list[str] = []
        self.stderr = b""
        self.secrets = secrets or Secrets()
        self._changed = threading.Condition()
        """Held by whoever reads or writes the lines."""
        self._of: dict[Id, list[Line]] = defaultdict(list)
        self._ends: dict[Id, list[int]] = defaultdict(list)
        """How many of the lines of an id had come at each end of a request."""
        self._sent: Counter[Id] = Counter()
        self._taken: Counter[Id] = Counter()
        """How many ends of an id the test has heard of."""
        self._wanted: Id = ABSENT
        """The id whose next line is waited for, end or not."""
        self._ids = count(1)
        self._kept_secrets = self.secrets.register_environment(self.env)
        self._settings = " ".join(self.env.values()) + self.secrets.register_configuration(arguments)

    # --- to the program ---------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write *data* to its input."""
        raise NotImplementedError

    def line(self, request: Object) -> bytes:
        """Return *request* as a line and expect an answer to it."""
        self.secrets.register_fields(request.get("params"))
        self._sent[request.get("id", ABSENT)] += 1
        return json.dumps(request).encode() + b"\n"

    def request(self, action: str, params: Object | None = None, **envelope: Any) -> Object:
        """Return a request; `id=ABSENT` for one without an id."""
        request = {"id": next(self._ids), "action": action} | envelope
        if request["id"] is ABSENT:
            del request["id"]
        return request if params is None else request | {"params": params}

    def send(self, action: str, params: Object | None = None, **envelope: Any) -> Id:
        """Send a request and return its id."""
        request = self.request(action, params, **envelope)
        self.write(self.line(request))
        return request.get("id", ABSENT)

    def chat(self, model: str, shape: Shape = ANTHROPIC, action: str = "stream_chat", **envelope: Any) -> Id:
        """Send a chat to the provider, which plays the script *model*, and return its id."""
        return self.send(action, self.params(model, shape), provider=shape.provider, **envelope)

    def params(self, model: str, shape: Shape = ANTHROPIC, **more: Any) -> Object:
        """Return the params of a chat with the provider."""
        assert self.provider
        return params(self.provider, model, shape) | more

    # --- from the program -------------------------------------------------------------------

    def lines_of(self, request_id: Id) -> list[Line]:
        """Return what has come for the id, so far."""
        with self._changed:
            return list(self._of[request_id])

    def stream(self, request_id: Id, seconds: float = WAIT_SECONDS) -> list[Line]:
        """Return the lines of the next request of that id, terminal line and all.

        It is waited for as long as lines come: a silence of *seconds* is the end of the test.
        """
        number = self._taken[request_id]
        self._wait(lambda: len(self._ends[request_id]) > number, f"the end of {request_id!r}", seconds)
        self._taken[request_id] += 1
        return self.lines_of(request_id)[self._start(request_id, number) : self._ends[request_id][number]]

    def reply(self, request_id: Id, seconds: float = WAIT_SECONDS) -> Object:
        """Return the terminal line of the next request of that id, waiting for it."""
        return self.stream(request_id, seconds)[-1].data

    def ask(self, action: str, params: Object | None = None, **envelope: Any) -> Object:
        """Send a request and return its terminal line."""
        return self.reply(self.send(action, params, **envelope))

    def refusal(self, raw: bytes, request_id: Id = None) -> Object:
        """Write a line that is no good and return the error that it is answered with."""
        self._sent[request_id] += request_id is not None
        self.write(raw)
        error: Object = self.reply(request_id)["error"]
        return error

    def chunk(self, request_id: Id, index: int = 0) -> Line:
        """Return the line of that index of the next request of that id, waiting for it."""
        index += self._start(request_id, self._taken[request_id])
        self._wanted = request_id
        self._wait(lambda: len(self._of[request_id]) > index, f"line {index} of {request_id!r}")
        return self._of[request_id][index]

    def let_pass(self, seconds: float) -> None:
        """Let some time pass."""
        raise NotImplementedError

    def ping(self) -> float:
        """Return how many seconds a ping takes."""
        raise NotImplementedError

    def _start(self, request_id: Id, number: int) -> int:
        """Return how many lines of the id stand before its request of that *number*."""
        return self._ends[request_id][number - 1] if number else 0

    def _wait(self, happened: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until something has *happened*, and fail where nothing has come for *seconds*."""
        raise NotImplementedError

    def _take(self, at: float, raw: bytes) -> None:
        """Keep a line that has come."""
        try:
            line = read_line(at, raw, self.secrets)
        except ValueError as error:
            self.problems.append(f"{error}: {raw[:200]!r}")
            return
        with self._changed:
            if "event" in line.data:
                self.events.append(line.data)
            else:
                self.lines.append(line)
                of_id = self._of[line.id]
                of_id.append(line)
                if line.terminal and not line.refuses_duplicate:
                    self._ends[line.id].append(len(of_id))
                elif line.id != self._wanted:
                    # A test that waits for an end need not be woken by each line before it.
                    return
            self._changed.notify_all()

    # --- what must always be true -----------------------------------------------------------

    def _check_lines(self) -> None:
        assert not self.problems, self.problems
        said = self.stderr.decode()
        assert not _TROUBLE.search(said), said
        for request_id, lines in self._of.items():
            open_at_end = check_sequence(request_id, lines)
            ends = sum(line.terminal for line in lines)
            if self.expects_answers and request_id is not None:
                assert not open_at_end, f"{request_id!r} has no end"
                assert ends == self._sent[request_id], f"{request_id!r}: {ends} ends for {self._sent[request_id]}"
        if self.expects_answers:
            assert self._sent.keys() <= self._of.keys(), f"no answer: {self._sent.keys() - self._of.keys()}"

    def _check_secrets(self) -> None:
        """Assert that no secret is where it does not belong; lines are looked through as they come."""
        assert not (secret := self.secrets.find_in(self.stderr)), secret
        for place in (self.home, *self.allowed.open_to_view):
            for path in (place, *place.rglob("*")):
                assert not path.is_file() or not (secret := self.secrets.find_in(path.read_bytes())), (path, secret)
        if self.provider and self.provider.url not in self._settings:
            for secret in self._kept_secrets:
                assert not self.provider.received(secret), "a key came to a server that it was not given for"
