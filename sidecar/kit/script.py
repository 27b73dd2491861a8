"""The script of a played sidecar: what it does, step by step, and what it answers by itself. [sans-IO]

A step is an object with one of these keys, beside which others say how:

| key | what the played sidecar does |
| --- | --- |
| `expect` | waits for a line that fits the pattern; `as` names its id for later steps |
| `send` | writes an object as a line, or with `times` that many, in which `$n` counts from `first` |
| `send_all` | writes several objects in one write |
| `write`, `write_hex` | writes this text, or these bytes, and no LF |
| `stderr` | writes this text to stderr, `times` over |
| `pause_ms` | does nothing for that long |
| `read` | false: stops reading stdin; true: goes on |
| `ignore` | from now on ignores what it lists: `eof`, the end of stdin, and `term`, the signal |
| `close` | closes `stdout` or `stdin` |
| `exit` | ends the process with this code; `die` does so by SIGKILL |
| `start` | heads the steps of the n-th process and of all after it |
| `automatic` | lists the actions that are answered without a step; at first those of AUTOMATIC |

`send` and `write` may have `cuts`: places between which the bytes are written one piece after the other, or `"bytes"`
for each alone; `pause_us` is the time between two pieces; `end` is what ends a line instead of LF. It must not touch
descriptors or clocks, and needs nothing but Python itself.
"""

import json
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from sidecar.kit.patterns import INITIALIZED, expand, fits

AUTOMATIC: dict[str, dict[str, Any]] = {
    "initialize": INITIALIZED,
    "ping": {"pong": True, "in_flight": 0},
    "cancel": {"found": False},
    "shutdown": {"shutting_down": True},
}
"""The `data` of the answers to requests that no step waits for."""


class Write(NamedTuple):
    """Write the pieces to stdout, one after the other."""

    pieces: list[bytes]
    pause_us: int = 0


class WriteError(NamedTuple):
    """Write *text* to stderr."""

    text: bytes


class Pause(NamedTuple):
    """Do nothing for *ms*."""

    ms: int


class Read(NamedTuple):
    """Read stdin from now on, or stop reading it."""

    on: bool


class Ignore(NamedTuple):
    """Ignore the end of stdin (`eof`) and the signal (`term`) from now on."""

    what: list[str]


class Close(NamedTuple):
    """Close `stdout` or `stdin`."""

    what: str


class Exit(NamedTuple):
    """End the process; None: by SIGKILL."""

    code: int | None


class Wait(NamedTuple):
    """Wait for the next line."""


class Finished(NamedTuple):
    """The script has ended: answer what still comes, until stdin ends."""


Action = Write | WriteError | Pause | Read | Ignore | Close | Exit | Wait | Finished


class Line(NamedTuple):
    """A line that the host has written."""

    number: int
    value: Any
    """None if it is not JSON."""


def choose_section(steps: list[dict[str, Any]], start: int) -> list[dict[str, Any]]:
    """Return the steps of the process with the number *start*, from 1."""
    sections: dict[int, list[dict[str, Any]]] = {1: []}
    current = 1
    for step in steps:
        if "start" in step:
            current = step["start"]
            sections[current] = []
        else:
            sections[current].append(step)
    return sections[max(number for number in sections if number <= start)]


class Player:
    """A script in progress: lines of the host go in, actions come out."""

    def __init__(self, steps: list[dict[str, Any]]) -> None:
        self.names: dict[str, Any] = {}
        self.step = 0
        """How many steps are done."""
        self.taken: list[int] = []
        """The numbers of the lines that a step or an automatic answer has used, from 0."""
        self.told_to_exit = False
        """Whether the host has sent `shutdown`."""
        self._steps = steps
        self._automatic = set(AUTOMATIC)
        self._lines: deque[Line] = deque()
        self._count = 0

    def receive(self, line: bytes) -> None:
        """Take a line of the host, without its LF."""
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        self._lines.append(Line(self._count, value))
        self._count += 1

    def advance(self) -> Action:
        """Return what to do next."""
        while True:
            if self.step >= len(self._steps):
                return self._answer(None) or Finished()
            step = self._steps[self.step]
            if "expect" in step:
                if not self._take(step):
                    return self._answer(step["expect"]) or Wait()
            elif "automatic" in step:
                self._automatic = set(step["automatic"])
            else:
                self.step += 1
                return self._make_action(step)
            self.step += 1

    def _take(self, step: dict[str, Any]) -> bool:
        """Use the first line that the step waits for, if it is there."""
        pattern = expand(step["expect"], self.names)
        for line in self._lines:
            if isinstance(line.value, dict) and fits(pattern, line.value):
                self._lines.remove(line)
                self.taken.append(line.number)
                if "as" in step:
                    self.names[step["as"]] = line.value.get("id")
                return True
        return False

    def _answer(self, awaited: Any) -> Write | None:
        """Return the automatic answer to a line that no step waits for, if there is one."""
        coming = [step["expect"] for step in self._steps[self.step :] if "expect" in step]
        for line in self._lines:
            action = line.value.get("action") if isinstance(line.value, dict) else None
            if not isinstance(action, str) or action not in self._automatic:
                continue
            if awaited is not None and any(each.get("action") == action for each in coming):
                continue  # A later step waits for such a line.
            self._lines.remove(line)
            self.taken.append(line.number)
            self.told_to_exit |= action == "shutdown"
            return Write([encode({"id": line.value.get("id"), "success": True, "data": AUTOMATIC[action]})])
        return None

    def _make_action(self, step: dict[str, Any]) -> Action:
        kind = next(key for key in step if key in _ACTIONS)
        return _ACTIONS[kind](step, self.names)


def encode(value: Any, end: str = "\n") -> bytes:
    """Return *value* as a compact line of JSON in UTF-8."""
    return (json.dumps(value, ensure_ascii=False, separators=(",", ":")) + end).encode()


def cut(data: bytes, cuts: list[int] | str | None) -> list[bytes]:
    """Return the pieces of *data* between *cuts*."""
    if cuts is None:
        return [data]
    places = range(1, len(data)) if isinstance(cuts, str) else cuts
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]


def _send(step: dict[str, Any], names: dict[str, Any]) -> Write:
    times, end = step.get("times", 1), step.get("end", "\n")
    first = step.get("first", 0)
    lines = [encode(expand(step["send"], names | {"n": number}), end) for number in range(first, first + times)]
    if times > 1:
        return Write(lines, step.get("pause_us", 0))
    return Write(cut(lines[0], step.get("cuts")), step.get("pause_us", 0))


def _send_all(step: dict[str, Any], names: dict[str, Any]) -> Write:
    return Write(cut(b"".join(encode(expand(each, names)) for each in step["send_all"]), step.get("cuts")))


def _write(step: dict[str, Any], _: dict[str, Any]) -> Write:
    data = bytes.fromhex(step["write_hex"]) if "write_hex" in step else step["write"].encode()
    return Write(cut(data, step.get("cuts")), step.get("pause_us", 0))


_ACTIONS: dict[str, Callable[[dict[str, Any], dict[str, Any]], Action]] = {
    "send": _send,
    "send_all": _send_all,
    "write": _write,
    "write_hex": _write,
    "stderr": lambda step, _: WriteError(step["stderr"].encode() * step.get("times", 1)),
    "pause_ms": lambda step, _: Pause(step["pause_ms"]),
    "read": lambda step, _: Read(step["read"]),
    "ignore": lambda step, _: Ignore(step["ignore"]),
    "close": lambda step, _: Close(step["close"]),
    "exit": lambda step, _: Exit(step["exit"]),
    "die": lambda _, __: Exit(None),
}

KINDS = frozenset({*_ACTIONS, "expect", "start", "automatic"})
"""The keys that tell steps apart."""
