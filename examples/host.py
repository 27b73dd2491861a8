"""A host over the client in Python: it streams, runs a tool, cancels, and outlives its sidecar.

Run it with `PYTHONPATH=protocol/clients/python`. Put a real provider in place of `replay` and nothing else changes.
"""

import asyncio
from collections.abc import Callable

from sidecar_client import Call, Options, Sidecar, SidecarError


def ask(model: str) -> dict[str, object]:
    """Return the parameters of a chat."""
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], "options": {"tool_loop": {}}}


async def stop_slow_answer(sidecar: Sidecar, stop: Callable[[Call], None]) -> None:
    """Begin an answer that takes half a minute, and stop it at its first word."""
    call = sidecar.request("stream_chat", ask("replay/slow"), on={"content": lambda _: stop(call)})
    try:
        await call
    except SidecarError as error:
        print(f"[{error.code}]")


async def main() -> None:
    """Show everything once."""
    sidecar = Sidecar(Options(on_exit=lambda end: print(f"[ended, restarting: {end.restarting}]")))
    sidecar.start()
    show = {"content": lambda chunk: print(chunk["content"], end="", flush=True)}
    tools = {"weather": lambda arguments, _call: f"4 degrees in {arguments['city']}"}
    done = await sidecar.request("stream_chat", ask("replay/tool_call"), on=show, tools=tools)
    print(f"\n[{done['finish_reason']}, rounds: {len(done['rounds'])}]")
    await stop_slow_answer(sidecar, lambda call: call.cancel())
    await stop_slow_answer(sidecar, lambda _: sidecar.kill())
    print(await sidecar.request("ping", {}, deadline_ms=10_000))
    await sidecar.close()


asyncio.run(main())
