"""A driver that does everything right, and, told so, one thing wrong: `driver.py [FLAW or VARIANT]`.

It is independent of the clients and of the program, and small: threads, no packages. Each flaw is a mistake that hosts
make; the tables in `test_flaws.py` say which scenario finds it. A variant does something in another way that is right
too, so every scenario must pass.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from spoiling import spoil  # type: ignore[import-not-found]  # beside it, where a program looks first

FLAW = VARIANT = sys.argv[1] if len(sys.argv) > 1 else ""
BACKOFF_SECONDS = int(os.environ["SIDECAR_BACKOFF_MS"]) / 1000 if VARIANT != "restarts in a second" else 1.0
GRACE_SECONDS = 2.0
STEADY_SECONDS = 30.0
"""How long a sidecar must run before its death counts as the first one again."""

KNOWN_CHUNKS = ("start", "content", "reasoning", "status", "tool_call", "file_start", "file_chunk", "file_end", "done")
KNOWN_CODES = ("cancelled", "internal_error", "invalid_request", "rate_limited", "stream_interrupted")

_output = threading.Lock()


def report(event: str, **details: Any) -> None:
    """Write a report."""
    line = json.dumps({"event": event, **details}, ensure_ascii=False) + "\n"
    with _output:
        sys.stdout.buffer.write(line.encode())
        sys.stdout.buffer.flush()


class Client:
    """One sidecar, again and again."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.open: dict[str, Any] = {}
        """Wire id → the id of the driver."""
        self.ended: set[Any] = set()
        self.waiting: list[bytes] | None = []
        """Lines that wait for `ready`; None when they need not."""
        self.closing = self.refused = self.writing = False
        self.count = self.deaths = 0
        self.over = threading.Event()
        """No sidecar runs, and none will."""

    def start(self) -> None:
        """Spawn a sidecar and initialize it."""
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [os.environ["SIDECAR_COMMAND"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.errors = b""
        self.drained = threading.Thread(target=self.drain, daemon=True)
        if FLAW != "leaves stderr":
            self.drained.start()
        threading.Thread(target=self.write, args=(self.process, self.lines), daemon=True).start()
        threading.Thread(target=self.read, daemon=True).start()
        self.send({"id": "initialize", "action": "initialize", "params": {"client": {"name": "reference"}}})

    def drain(self) -> None:
        """Read stderr to its end."""
        stderr = self.process.stderr
        while stderr and (data := os.read(stderr.fileno(), 65536)):
            self.errors = (self.errors + data)[-8192:]

    def write(self, process: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
        """Write the lines as they come; None closes stdin."""
        assert process.stdin
        with contextlib.suppress(OSError) if FLAW != "dies of a closed pipe" else die():
            while (line := lines.get()) is not None:
                self.writing = True
                view = memoryview(line)
                while view:
                    view = view[os.write(process.stdin.fileno(), view) :]
                self.writing = False
            process.stdin.close()

    def send(self, request: Any) -> None:
        """Send a line."""
        text = json.dumps(request, ensure_ascii=False, indent=1 if FLAW == "writes pretty JSON" else None)
        self.lines.put((text + "\n").encode())

    def read(self) -> None:
        """Read stdout to its end, then see to the rest."""
        stdout = self.process.stdout
        assert stdout
        with contextlib.suppress(ValueError if FLAW == "half line ends the reader" else OSError):
            for line in split(stdout.fileno(), self):
                self.take(line)
        if FLAW == "waits for the exit":
            self.process.wait()
        self.fail_all()
        try:
            self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            if FLAW == "never kills":
                return
            self.process.kill()
        self.process.wait()
        self.see_to_end(self.process.returncode)

    def fail_all(self) -> None:
        """Fail every open request: no answer can come any more. Later ones wait for the next sidecar."""
        with self.lock:
            self.waiting = self.waiting or []
            for wire_id, request_id in [*self.open.items()]:
                if not (FLAW == "forgets a request at death" and len(self.open) > 1):
                    self.end(wire_id, "error", id=request_id, error={"code": "sidecar_exited", "message": "It ended."})
                if FLAW == "sends requests again":
                    self.waiting = [*(self.waiting or []), line_of(request_id, {"action": "generate"})]

    def see_to_end(self, code: int) -> None:
        """Report the end of the sidecar, and start another one if it died by itself."""
        if self.drained.ident:
            self.drained.join(1)
        steady = time.monotonic() - self.began > STEADY_SECONDS
        self.deaths = 1 if steady else self.deaths + 1
        again = not (self.closing or self.refused or (code == 2 and FLAW != "restarts after 2"))
        again = again and FLAW != "never restarts"
        stderr = "" if FLAW == "says no reason" else self.errors.decode("utf-8", "replace")
        report("exit", code=code, restarting=again, stderr=stderr)
        if again and FLAW != "restarts at once":
            self.over.wait(BACKOFF_SECONDS * 2 ** (self.deaths - 1))
        with self.lock:
            if again and not self.closing:
                self.start()
            else:
                self.over.set()
                self.fail_all()

    def take(self, line: bytes) -> None:
        """Take a line of the sidecar."""
        if not line.strip():
            if FLAW == "empty line is fatal":
                os._exit(1)
            return
        try:
            reply = json.loads(line)
        except ValueError:
            if FLAW == "half line ends the reader":
                threading.current_thread().join(60)
            return
        if FLAW == "big integers are fatal" and b"12345678901234567890" in line:
            return
        if "event" in reply:
            if FLAW != "drops events":
                report("unsolicited", data=reply["data"])
        elif reply.get("id") == "initialize":
            self.take_initialized(reply)
        else:
            self.take_reply(reply)

    def take_initialized(self, reply: Any) -> None:
        """Take the answer to `initialize`."""
        version = reply.get("data", {}).get("protocol_version", 0)
        if FLAW != "ignores refusals" and not reply["success"]:
            self.refuse(reply["error"].get("reason") or reply["error"]["code"])
        elif version != 1 and FLAW != "ignores refusals":
            self.refuse("protocol_version")
        else:
            report("ready", protocol_version=version)
            with self.lock:
                for line in self.waiting or []:
                    self.lines.put(line)
                self.waiting = None

    def refuse(self, reason: str) -> None:
        """Use this sidecar no more."""
        self.refused = True
        report("refused", reason=reason)
        self.lines.put(None)

    def take_reply(self, reply: Any) -> None:
        """Take a line of a request."""
        wire_id = reply.get("id")
        if wire_id is None and FLAW == "null fails the first":
            wire_id = next(iter(self.open), None)
        with self.lock:
            if FLAW == "answers in order":
                wire_id = next(iter(self.open), None)
            if wire_id not in self.open:
                if FLAW == "unknown id is fatal" and not str(wire_id).startswith("c"):
                    os._exit(1)
                return
            request_id = self.open[wire_id]
            if "streaming" not in reply and FLAW == "waits for streaming":
                report("chunk", id=request_id, data=reply.get("data", {}))
            elif reply["success"] and ("streaming" not in reply or reply["data"]["type"] == "done"):
                keep = FLAW == "keeps ended requests"
                self.end(wire_id, "done", keep=keep, id=request_id, data=spoil(reply["data"], FLAW))
            elif reply["success"]:
                self.take_chunk(wire_id, request_id, reply["data"])
            else:
                self.take_error(wire_id, request_id, reply["error"])

    def take_chunk(self, wire_id: str, request_id: Any, data: Any) -> None:
        """Take a chunk."""
        if data["type"] not in KNOWN_CHUNKS and VARIANT == "skips what is unknown":
            return
        if data["type"] not in KNOWN_CHUNKS and FLAW == "unknown chunk is fatal":
            self.end(wire_id, "error", id=request_id, error={"code": "internal_error"})
        elif data["type"] == "status" and FLAW == "status ends":
            self.end(wire_id, "done", id=request_id, data=data)
        elif FLAW != "drops chunks":
            report("chunk", id=request_id, data=spoil(data, FLAW))

    def take_error(self, wire_id: str, request_id: Any, error: Any) -> None:
        """Take the line of a failure."""
        if VARIANT == "skips what is unknown" and error["code"] not in KNOWN_CODES:
            error["code"] = "internal_error"
        if FLAW == "content makes success" and error["partial"]:
            self.end(wire_id, "done", id=request_id, data={})
        elif FLAW == "drops unknown codes" and error["code"] not in KNOWN_CODES:
            return
        elif FLAW == "keeps the code alone":
            self.end(wire_id, "error", id=request_id, error={"code": error["code"]})
        elif FLAW != "waits for start" or error["partial"]:
            self.end(wire_id, "error", id=request_id, error=error)

    def end(self, wire_id: str, event: str, *, keep: bool = False, **details: Any) -> None:
        """Report the end of a request."""
        with self.lock:
            if self.open.get(wire_id) is not None:
                if not keep:
                    del self.open[wire_id]
                self.ended.add(details["id"])
                report(event, **details)

    def request(self, told: Any) -> None:
        """Send a request."""
        with self.lock:
            self.count += 1
            verbatim = VARIANT == "keeps the ids" and told["id"] not in self.open
            wire_id = told["id"] if verbatim else f"r{self.count}"
            if FLAW == "ids as text" and str(told["id"]) in map(str, self.open.values()):
                return
            if FLAW == "never takes an id again" and told["id"] in self.ended:
                return
            self.open[wire_id] = told["id"]
            line = line_of(wire_id, told)
            if FLAW == "drops early requests" and self.waiting is not None:
                return
            if self.waiting is None or (VARIANT == "writes before ready" and not (self.deaths or self.refused)):
                self.lines.put(line)
            else:
                self.waiting.append(line)
            if self.over.is_set():
                self.fail_all()
        if (limit := told.get("deadline_ms")) and FLAW != "no deadline":
            threading.Timer(limit / 1000, self.time_out, [wire_id, told["id"]]).start()

    def time_out(self, wire_id: str, request_id: Any) -> None:
        """Fail a request whose time is over."""
        with self.lock:
            if wire_id in self.open or FLAW == "deadline goes on":
                self.open.setdefault(wire_id, request_id)
                if FLAW != "no cancel after deadline":
                    self.send_cancel(wire_id)
                error = {"code": "timeout", "message": "Its time is over."}
                self.end(wire_id, "error", keep=FLAW == "late answers count", id=request_id, error=error)

    def cancel(self, told: Any) -> None:
        """Cancel a request."""
        with self.lock:
            found = next((wire for wire, request_id in self.open.items() if same(request_id, told["id"])), None)
            if found is not None:
                self.send_cancel(found)
                if VARIANT == "settles at once":
                    self.end(found, "error", id=told["id"], error={"code": "cancelled"})
                if FLAW == "cancel ends twice":
                    report("error", id=told["id"], error={"code": "cancelled"})
            elif FLAW == "late cancel ends again":
                report("error", id=told["id"], error={"code": "cancelled"})

    def send_cancel(self, wire_id: str) -> None:
        """Ask the sidecar to cancel."""
        self.count += 1
        params = {"id": self.open[wire_id] if FLAW == "cancels another id" else wire_id}
        self.send({"id": f"c{self.count}", "action": "cancel", "params": params})

    def close(self) -> None:
        """End the sidecar: close its stdin, then TERM, then KILL."""
        with self.lock:
            self.closing = True
            if FLAW == "forgets open requests at close":
                self.open.clear()
        if self.over.is_set():
            return
        if VARIANT == "sends shutdown":
            self.send({"id": "shutdown", "action": "shutdown"})
        self.lines.put(None)
        steps = [(signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, GRACE_SECONDS), (None, GRACE_SECONDS)]
        if FLAW == "kills at once":
            steps = steps[1:]
            self.process.kill()
        for number, seconds in steps:
            if self.over.wait(seconds):
                return
            if number and FLAW != "never kills":
                self.process.send_signal(number)


@contextlib.contextmanager
def die() -> Any:
    """End the driver at an error."""
    try:
        yield
    except OSError:
        os._exit(1)


def same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right)


def line_of(wire_id: Any, told: Any) -> bytes:
    """Return the line of a request."""
    request = {"id": wire_id} | {key: told[key] for key in ("action", "provider", "params") if key in told}
    return (json.dumps(spoil(request, FLAW), ensure_ascii=False) + "\n").encode()


def split(fd: int, client: Client) -> Any:
    """Yield the lines of *fd*, the last one even without its LF."""
    rest: list[bytes] = []
    while data := os.read(fd, 65536):
        while FLAW == "writes before it reads" and client.writing:
            time.sleep(0.01)
        if FLAW == "decodes each read":
            data = data.decode("utf-8", "replace").encode()
        if FLAW == "a read is a line":
            yield data
            continue
        first, *more = data.split(b"\r\n" if FLAW == "splits at CRLF" else b"\n")
        if not (FLAW == "short lines only" and len(rest) > 1):
            rest.append(first)
        for each in more:
            line = b"".join(rest)
            if FLAW == "splits at other ends":
                yield from (part.encode() for part in line.decode("utf-8", "replace").splitlines())
            else:
                yield line
            rest = [each]
            if FLAW == "one line of each read":
                break
    if last := b"".join(rest):
        yield last


def main() -> None:
    """Carry out operations."""
    client = Client()
    actions = {"request": client.request, "cancel": client.cancel}
    for line in sys.stdin.buffer:
        told = json.loads(line)
        if told["op"] == "start":
            client.start()
        elif told["op"] == "close":
            break
        else:
            actions[told["op"]](told)
    client.close()
    if FLAW == "ends badly":
        os._exit(3)
    os._exit(0)


if __name__ == "__main__":
    main()
