"""Provider `replay`: recorded exchanges, played through the real decode path without a key or a network.

Knows the layout of `fixtures/<wire>/<case>/`, and the cases of the catalogue, which have names of their own. It gives a
host's tests a deterministic double, and newcomers a stream at once.
"""

import os
import re
import stat
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
from anyio.to_thread import run_sync as to_thread

from protocol.messages import ToolResultPart
from protocol.replies import ModelInfo
from protocol.requests import Chat
from sidecar.catalogue.provider_columns import ReplayCase
from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.config.values import Config
from sidecar.core import resources
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.http import Response, Trace
from sidecar.core.json_values import parse_json, read_object, read_objects, read_text
from sidecar.core.message_content import list_parts
from sidecar.http import failures
from sidecar.providers.model_names import MAX_SUGGESTIONS, find_similar
from sidecar.providers.values import Target
from sidecar.wires import registry
from sidecar.wires.completions.registry import COMPLETION_WIRES
from sidecar.wires.shared import undeclared_calls

PIECE_BYTES = 160
"""About one event."""

MAX_FILE_BYTES = 512 * 1024 * 1024

MAX_PACE_MS = 60_000

DOCUMENTS = ("embeddings", "rerank")
"""The folders of exchanges that are no chats."""


def find_folder(config: Config) -> Path:
    """Return the folder of the exchanges: the user's, or the one that comes with the program."""
    if config.replay_dir:
        return Path(config.replay_dir)
    return resources.find_fixtures()


def list_exchanges(config: Config, wires: Collection[str] | None = None) -> list[str]:
    """Return the exchanges that can be played, as `wire/case`; *wires* are by default those of chats."""
    wires = wires or registry.list_names()
    cases = (path.parent for path in find_folder(config).glob("*/*/response.*"))
    return sorted(f"{case.parent.name}/{case.name}" for case in cases if case.parent.name in wires)


def list_models(config: Config, provider: str, row: ProviderRow) -> list[ModelInfo]:
    """Return the cases with names of their own, then the exchanges, with what they show. Reads a file for each."""
    cases = [ModelInfo(id=name, provider=provider, name=case.name, kind="chat") for name, case in row.cases.items()]
    folder, own = find_folder(config), row.completion.cases
    cases += [ModelInfo(id=name, provider=provider, name=case.name, kind="completion") for name, case in own.items()]
    cases += [
        ModelInfo(id=name, provider=provider, kind="completion")
        for name in list_exchanges(config, tuple(COMPLETION_WIRES))
    ]
    return cases + [
        ModelInfo(id=name, provider=provider, name=_describe_exchange(folder / name), kind="recording")
        for name in list_exchanges(config)
    ]


def _describe_exchange(folder: Path) -> str | None:
    """Return how an exchange ends and what its answer has, None for one of which no chunks are kept."""
    try:
        last = read_object(parse_json(_read_file(folder / "chunks.ndjson").rstrip().rpartition(b"\n")[2]))
    except (OSError, SidecarError):
        return None
    if error := read_object(last.get("error")):
        status = error.get("provider_status")
        return f"{error.get('code')} ({status})" if status else read_text(error.get("code")) or None
    parts = read_objects(read_object(last.get("message")).get("content"))
    kinds = dict.fromkeys(read_text(part.get("type")) for part in parts)
    return f"{last.get('finish_reason')}: {', '.join(kinds)}" if kinds else read_text(last.get("finish_reason")) or None


class _Head(msgspec.Struct):
    status: int = 200
    headers: dict[str, str] = {}


@asynccontextmanager
async def send(
    config: Config, target: Target, chat: Chat, trace: Trace, idle_seconds: float
) -> AsyncIterator[Response]:
    """Give the reply recorded for the target's wire and model, or for the case of that name. *trace* has the phase.

    After *idle_seconds* without a piece the body ends with the error `timeout`, as that of a provider would.

    Raises: SidecarError `model_not_found` for an unknown exchange, `invalid_request` for a malformed `head.json` or a
    `pace_ms` in the provider's options that is no number.
    """
    trace.phase = "headers"
    case, folder = await to_thread(_find_case, config, target, chat)
    pace_ms = _read_pace_ms(chat.options.provider_options, case.pace_ms)
    head, body = await to_thread(_read_reply, folder)
    trace.phase = "idle"
    yield Response(head.status, head.headers, _pace_body(body, pace_ms / 1000, idle_seconds, stalls=case.stalls))


@asynccontextmanager
async def send_document(config: Config, target: Target, trace: Trace) -> AsyncIterator[Response]:
    """Give the reply recorded as the target's model, at once: that of a question that is no chat.

    Raises: SidecarError `model_not_found` for an unknown exchange, `invalid_request` for a malformed `head.json`.
    """
    trace.phase = "headers"
    folder, exchange = find_folder(config), target.route.model
    if not await to_thread(_is_exchange, folder, exchange, DOCUMENTS):
        raise SidecarError("model_not_found", "There is no such exchange to replay.", param="params.model")
    head, body = await to_thread(_read_reply, folder / exchange)
    trace.phase = "idle"
    yield Response(head.status, head.headers, _pace_body(body, 0.0, MAX_PACE_MS / 1000, stalls=False))


@asynccontextmanager
async def send_completion(
    config: Config, target: Target, exchange: str, options: dict[str, Any], trace: Trace
) -> AsyncIterator[Response]:
    """Give the reply recorded for *exchange*, a wire of completions and a case of it, in pieces as a model writes.

    *options* are the request's `provider_options`.

    Raises: SidecarError as `send` does.
    """
    trace.phase = "headers"
    case = target.row.completion.cases.get(target.route.model)
    folder = resources.find_fixtures() if case else find_folder(config)
    if not await to_thread(_is_exchange, folder, exchange, tuple(COMPLETION_WIRES)):
        raise SidecarError("model_not_found", "There is no such exchange to replay.", param="params.model")
    case = case or ReplayCase(exchange=exchange, name=exchange)
    pace_ms = _read_pace_ms(options, case.pace_ms)
    head, body = await to_thread(_read_reply, folder / exchange)
    trace.phase = "idle"
    yield Response(head.status, head.headers, _pace_body(body, pace_ms / 1000, MAX_PACE_MS / 1000, stalls=case.stalls))


def _read_reply(folder: Path) -> tuple[_Head, bytes]:
    """Return the head and the body of the reply in *folder*.

    Raises: SidecarError `invalid_request` for a malformed `head.json`.
    """
    head = _Head()
    if (folder / "head.json").exists():
        try:
            head = msgspec.json.decode(_read_file(folder / "head.json"), type=_Head)
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = "The exchange's `head.json` must be an object with `status`, a number, and `headers`, of strings."
            raise invalid_request(text, "params.model") from None
    return head, _read_file(next(folder.glob("response.*")))


def _read_file(path: Path) -> bytes:
    """Return the content of a file of the user's.

    Raises: SidecarError `invalid_request` for a pipe or a device, which may never end, or a file that is too large.
    """
    # A pipe would be waited for.
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:  # noqa: PTH123 - a descriptor
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            text = f"`{path.name}` of the exchange must be a file of at most {MAX_FILE_BYTES} bytes."
            raise invalid_request(text, "params.model")
        return file.read()


def list_tool_names(config: Config, target: Target, chat: Chat) -> frozenset[str] | None:
    """Return the names of the tools that the recorded request declared, or None if that is not known."""
    folder = _find_case(config, target, chat)[1]
    try:
        call = parse_json(_read_file(folder / "call.json"))
    except (OSError, SidecarError):
        return None
    params = read_object(read_object(call).get("params"))
    return undeclared_calls.read_tool_names(read_object(params.get("options")))


def _find_case(config: Config, target: Target, chat: Chat) -> tuple[ReplayCase, Path]:
    """Return the case that the target's model names, and the folder of its exchange.

    Raises: SidecarError `model_not_found`.
    """
    if case := target.case:
        played = case.after_results if case.after_results and _ends_with_results(chat) else case.exchange
        return case, resources.find_fixtures() / played
    exchange, folder = f"{target.route.wire}/{target.route.model}", find_folder(config)
    if _is_exchange(folder, exchange, registry.list_names()):
        return ReplayCase(exchange=exchange, name=exchange), folder / exchange
    text = "There is no such exchange to replay; `list_models` lists them."
    raise SidecarError("model_not_found", text, param="params.model", hint=_suggest(config, target))


def _suggest(config: Config, target: Target) -> str | None:
    """Return the hint for a case that is not there."""
    if not (exchanges := list_exchanges(config)):
        return "The folder in SIDECAR_REPLAY_DIR or in [replay] of the configuration has no exchanges."
    model, wire = target.route.model, f"{target.route.wire}/"
    names = find_similar(model, [each.removeprefix(wire) for each in exchanges if each.startswith(wire)])
    similar = [*find_similar(model, list(target.row.cases)), *(wire + name for name in names)][:MAX_SUGGESTIONS]
    return f"Similar models: {', '.join(similar)}." if similar else None


def _is_exchange(folder: Path, exchange: str, wires: Collection[str]) -> bool:
    """Return whether *folder* has *exchange* of one of *wires*, without a look at the others, which may be many."""
    wire, _, case = exchange.partition("/")
    if case in ("", ".", "..") or re.search(r"[/\\:\x00]", case) or wire not in wires:
        return False
    try:
        return next((folder / wire / case).glob("response.*"), None) is not None
    except OSError:
        # A name that is too long for the system.
        return False


def _ends_with_results(chat: Chat) -> bool:
    """Return whether a result of a tool has come since the model's last turn."""
    for message in reversed(chat.messages):
        if message.role == "assistant":
            return False
        if any(isinstance(part, ToolResultPart) for part in list_parts(message)):
            return True
    return False


def _read_pace_ms(options: dict[str, Any], default: int) -> int:
    pace_ms = options.get("pace_ms", default)
    if isinstance(pace_ms, bool) or not isinstance(pace_ms, int) or not 0 <= pace_ms <= MAX_PACE_MS:
        param = "params.options.provider_options.pace_ms"
        raise invalid_request(f"`{param}` must be a number from 0 to {MAX_PACE_MS}.", param)
    return pace_ms


async def _pace_body(body: bytes, pace_seconds: float, idle_seconds: float, *, stalls: bool) -> AsyncIterator[bytes]:
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]
        await _pause(pace_seconds, idle_seconds)
    if stalls:
        await _pause(float("inf"), idle_seconds)


async def _pause(seconds: float, idle_seconds: float) -> None:
    await anyio.sleep(min(seconds, idle_seconds))
    if seconds > idle_seconds:
        raise failures.make_silence_error("idle")
