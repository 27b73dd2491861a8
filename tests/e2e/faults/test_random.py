"""One process, and whatever may happen to it in any order: hosts, providers and the network at their worst.

While it runs each request is held to what its provider has sent; what must be true of the process whatever happens,
its harness asserts at the end.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.support.fake_provider import CLOSE, RESET, STALL, Gate, Provider, Repeat, Step
from tests.support.listening_provider import ListeningProvider
from tests.support.process import Id, Sidecar, environment, text
from tests.support.reply_scripts import ANTHROPIC, document, head, stream

ENDED_SECONDS = 20.0

OVERLOADED = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'


def scripts(gate: Gate) -> dict[str, list[Step]]:
    """Return replies good and bad; the gate is a stall that passes."""
    some = ANTHROPIC.text("x" * 50)
    return {
        "good": ANTHROPIC.answer("good"),
        "long": stream([ANTHROPIC.opening, Repeat(some, 2000), ANTHROPIC.closing]),
        "stalled": [*ANTHROPIC.begun("so far"), gate, *stream([some, ANTHROPIC.closing])[1:]],
        "silent": [gate, *ANTHROPIC.answer("late")],
        "dead": [*ANTHROPIC.begun("so far"), STALL],
        "limited": document({}, 429, retry_after_ms="20"),
        "down": document({}, 503, retry_after_ms="5"),
        "refused": document({}, 401),
        "reset": [RESET],
        "cut": [*ANTHROPIC.begun("so far"), b"0\r\n\r\n"],
        "broken": [*ANTHROPIC.begun("so far"), RESET],
        "garbage": [b"?!\r\n\r\n", CLOSE],
        "bad event": stream([ANTHROPIC.opening, some, b"data: {nope\n\n"]),
        "overloaded": stream([ANTHROPIC.opening, OVERLOADED]),
        "page": [head(content_type="text/html", content_length="6") + b"<html>"],
    }


WHOLE = {"good": "good", "long": "x" * 50 * 2000, "stalled": "so far" + "x" * 50, "silent": "late"}
"""Replies that may end well → their text."""

BROKEN = {"dead": "so far", "cut": "so far", "broken": "so far", "bad event": "x" * 50}
"""Replies that never do → their text up to the fault. All others have none."""

ENDLESS = frozenset({"stalled", "silent", "dead"})
"""Replies that may never end by themselves."""

NAMES = sorted(scripts(Gate.__new__(Gate)))


class Host(RuleBasedStateMachine):
    """What a host does, and what it knows of its requests."""

    sidecar: ClassVar[Sidecar]
    provider: ClassVar[Provider]

    def __init__(self) -> None:
        super().__init__()
        self.name_of: dict[Id, str] = {}
        """Request → the reply that it gets."""
        self.open: list[Id] = []
        self.ending: list[Id] = []
        """Those of them that end whatever the host does."""
        self.acknowledged: list[Id] = []
        self.paused = False
        self.stall()

    @rule(
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=10),
        action=st.sampled_from(["stream_chat", "stream_chat", "generate"]),
        timeout=st.sampled_from([None, None, None, 1, 50, 500]),
        attempts=st.sampled_from([1, 2, 3]),
    )
    def send(self, names: list[str], action: str, timeout: int | None, attempts: int) -> None:
        for name in names:
            params = self.sidecar.params(name)
            params["options"] |= {"retry": {"max_attempts": attempts}, "timeouts": {"idle_ms": 2000}}
            request_id = self.sidecar.send(action, params, provider="anthropic", timeout=timeout)
            self.name_of[request_id] = name
            self.open.append(request_id)
            if name not in ENDLESS:
                self.ending.append(request_id)

    @precondition(lambda self: self.open)
    @rule(index=st.integers(0, 50))
    def cancel(self, index: int) -> None:
        self.acknowledged.append(self.sidecar.send("cancel", {"id": self.open[index % len(self.open)]}))

    @precondition(lambda self: self.ending and not self.paused)
    @rule(index=st.integers(0, 50))
    def wait_for_the_end(self, index: int) -> None:
        # What is stalled may hold the slots that others wait for.
        self.gate.open()
        request_id = self.ending.pop(index % len(self.ending))
        self.open.remove(request_id)
        self.end(request_id)

    def end(self, request_id: Id) -> None:
        """Wait for the end of a request and assert that what came is what was sent, as far as that went."""
        lines = self.sidecar.stream(request_id, ENDED_SECONDS)
        last, said, name = lines[-1].data, text(lines), self.name_of[request_id]
        if last["success"]:
            assert WHOLE[name] == (said if "streaming" in last else last["data"]["content"])
            return
        assert (WHOLE | BROKEN).get(name, "").startswith(said), name
        error = last["error"]
        assert error["partial"] is (len(lines) > 1 and any("streaming" in line.data for line in lines)), (name, error)

    @rule()
    def stall(self) -> None:
        self.gate = self.provider.gate()
        for name, steps in scripts(self.gate).items():
            self.provider.play(name, steps)

    @rule()
    def go_on(self) -> None:
        self.gate.open()

    @rule()
    def kill_provider(self) -> None:
        self.provider.reset_all()

    @rule()
    def stop_reading_or_read_on(self) -> None:
        (self.sidecar.resume if self.paused else self.sidecar.pause)()
        self.paused = not self.paused

    @rule(line=st.sampled_from([b"\n", b"{\n", b"[]\n", b"\xff\xfe\n"]))
    def say_nonsense(self, line: bytes) -> None:
        self.sidecar.write(line)
        self.acknowledged.append(self.sidecar.send("cancel", {"id": "never"}))

    @invariant()
    def is_alive(self) -> None:
        assert self.sidecar.process.poll() is None

    def teardown(self) -> None:
        self.sidecar.resume()
        self.gate.open()
        for request_id in set(self.open) - set(self.ending):
            self.acknowledged.append(self.sidecar.send("cancel", {"id": request_id}))
        for request_id in self.open:
            self.end(request_id)
        for request_id in self.acknowledged:
            self.sidecar.stream(request_id, ENDED_SECONDS)
        assert self.provider.quiet()
        assert self.sidecar.ask("ping")["data"]["in_flight"] == 0


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[[int, int], None]]:
    """Yield a way to have so many runs of so many steps; the process must be whole after them."""
    env = environment(tmp_path, SIDECAR_CONCURRENCY="8", SIDECAR_QUEUE_LENGTH="20", SIDECAR_MAX_ATTEMPTS="3")
    with ListeningProvider() as provider, Sidecar(tmp_path, provider, env=env) as sidecar:

        def run(runs: int, steps: int) -> None:
            run_state_machine_as_test(
                type("HostOfThis", (Host,), {"sidecar": sidecar, "provider": provider}),
                settings=settings(
                    max_examples=runs,
                    stateful_step_count=steps,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )

        yield run


def test_whatever_happens_each_request_has_one_end(drive: Callable[[int, int], None]) -> None:  # H09
    drive(40, 60)


@pytest.mark.slow
def test_whatever_happens_for_long_each_request_has_one_end(drive: Callable[[int, int], None]) -> None:  # H09
    drive(150, 100)
