"""The driver of the conformance kit (protocol/KIT.md): carries out operations, and reports what happens."""

import asyncio
import json
import os
import sys
from typing import Any

from sidecar_client import Call, Exit, Options, Sidecar, SidecarError


def report(event: str, **fields: Any) -> None:
    """Write a report."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def report_exit(ended: Exit) -> None:
    """Report the end of a process."""
    report("exit", code=ended.code, restarting=ended.restarting, stderr=ended.stderr)


def request(sidecar: Sidecar, calls: dict[str, Call], op: dict[str, Any]) -> None:
    """Send the request of *op*, and report what comes."""
    key = json.dumps(op["id"])
    options: dict[str, Any] = {"on_chunk": lambda data: report("chunk", id=op["id"], data=data)}
    options |= {name: op[name] for name in ("provider", "deadline_ms") if op.get(name) is not None}
    call = calls[key] = sidecar.request(op["action"], op.get("params", {}), **options)

    def take(reply: asyncio.Future[Any]) -> None:
        if calls.get(key) is call:
            del calls[key]
        if isinstance(error := reply.exception(), SidecarError):
            report("error", id=op["id"], error=error.body)
        else:
            report("done", id=op["id"], data=reply.result())

    call.reply.add_done_callback(take)


async def main() -> None:
    """Carry out the operations on stdin."""
    options = Options(
        command=[os.environ["SIDECAR_COMMAND"]],
        backoff_ms=float(os.environ.get("SIDECAR_BACKOFF_MS", "1000")),
        initialize={"client": {"name": "kit"}, "events": ["status", "warnings"]},
        on_ready=lambda initialized: report("ready", protocol_version=initialized["protocol_version"]),
        on_event=lambda data: report("unsolicited", data=data),
        on_exit=report_exit,
        on_refused=lambda error: report("refused", reason=error.get("reason", error["code"])),
        on_problem=lambda problem: print(problem, file=sys.stderr),  # noqa: T201 - a command
    )
    sidecar, calls = Sidecar(options), dict[str, Call]()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        op = json.loads(line)
        if op["op"] == "start":
            sidecar.start()
        elif op["op"] == "request":
            request(sidecar, calls, op)
        elif op["op"] == "cancel":
            if call := calls.get(json.dumps(op["id"])):
                call.cancel()
        else:
            break
    await sidecar.close()


asyncio.run(main())
