"""Requests with values replaced, and lines with bytes replaced, each answered by one terminal line.

What the documents show is bent, so that every action and option is among it. The requests go to recorded replies,
some of which are bent too. No line may hold a key, none may be an `internal_error`, and no turn of the loop may take
so long that a `ping` waits.
"""

import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio.to_thread

from sidecar.catalogue import provider_rows
from sidecar.core.http import HttpRequest
from tests.fuzz.replies import LONGEST_BYTES
from tests.fuzz.values import mutate_value
from tests.support import documents, recorded_replies
from tests.support.long_run import BrokenPromiseError, Canned, LongRun

CANARY = "sk-CANARY-8d1f3b60aa"
ENV_CANARY = "sk-CANARY-of-the-environment"

SECRET_FIELDS = frozenset({"api_key", "access_token"})
"""Values that stay in their fields: elsewhere the program may well repeat them."""

BATCH = 25
"""Requests that are open side by side."""

MAX_TURN_SECONDS = 0.25

_PATHS = (
    ("/messages", "anthropic_messages"),
    ("/chat/completions", "openai_chat"),
    ("/responses", "openai_responses"),
    ("enerateContent", "gemini"),
    ("/converse", "bedrock_converse"),
    ("/api/chat", "ollama"),
)
"""A part of an address → the wire that is asked there."""

_SPLICES = (
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r",
    b"\xe2\x80\xa8",
    b'"',
    b"{",
    b"]",
    b",",
    b"\\u0000",
    b"1e999",
    b"-",
)


def run(count: int, seed: int = 0) -> dict[str, Any]:
    """Send *count* bent requests; return how often each end came, and the longest turn.

    Raises: BrokenPromiseError with the lines among which the one is that did it.
    """
    seeds = [*list_requests()]
    answers = Answers(seed)
    with tempfile.TemporaryDirectory() as folder:
        program = LongRun(Path(folder), answers.answer, (CANARY, ENV_CANARY), **_list_variables(), SIDECAR_LEDGER="off")

        async def play(program: LongRun) -> None:
            await send(program, [json.dumps(each).encode() + b"\n" for each in seeds])
            # From here on nothing is imported or read for the first time.
            program.forget_turns()
            for first in range(0, count, BATCH):
                numbers = range(first, min(first + BATCH, count))
                # In a thread, whose time is not that of the loop.
                await send(program, await anyio.to_thread.run_sync(bend_all, seeds, seed, numbers))

        program.run(play)
    if program.longest_turn_seconds > MAX_TURN_SECONDS:
        raise BrokenPromiseError(f"a turn of the loop took {program.longest_turn_seconds:.3f} s")
    return dict(program.ends) | {"longest_turn_ms": round(program.longest_turn_seconds * 1000)}


async def send(program: LongRun, lines: list[bytes]) -> None:
    """Send *lines* and wait for their ends.

    Raises: BrokenPromiseError with the lines.
    """
    try:
        for line in lines:
            program.accept(line)
        await program.wait_until_idle()
    except BrokenPromiseError as error:
        raise BrokenPromiseError(f"{error}\n" + "\n".join(map(repr, lines))) from error


def list_requests() -> Iterator[dict[str, Any]]:
    """Yield requests as the documents show them, and a chat with each provider."""
    for mark in ("request", "run"):
        for block in documents.all_blocks("json", mark):
            for line in block.lines:
                request = json.loads(line)
                if isinstance(request, dict) and request.get("action") != "shutdown":
                    yield request
    for provider in provider_rows.read_providers():
        yield {
            "id": 7,
            "action": "stream_chat",
            "provider": provider,
            "params": {
                "model": "some-model",
                "api_key": CANARY,
                "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
                "options": {"max_tokens": 10, "temperature": 0.5, "retry": {"max_attempts": 1}},
            },
        }


def bend_all(seeds: list[dict[str, Any]], seed: int, numbers: range) -> list[bytes]:
    """Return the lines with these *numbers*."""
    return [bend(seeds, random.Random(f"{seed}/{number}")) for number in numbers]


def bend(seeds: list[dict[str, Any]], chance: random.Random) -> bytes:
    """Return the line of one of *seeds* with a few changes."""
    request: Any = json.loads(json.dumps(chance.choice(seeds)))
    if chance.random() < 0.1:
        request["params"] = json.loads(json.dumps(chance.choice(seeds).get("params")))
    for _ in range(chance.randrange(3)):
        request = mutate_value(request, chance, lambda key: key in SECRET_FIELDS)
    # The writer here takes fewer levels than the program.
    line = json.dumps(request, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    if chance.random() < 0.2 and CANARY.encode() not in line:
        at, end = sorted(chance.choices(range(len(line) + 1), k=2))
        match chance.randrange(3):
            case 0:
                line = line[:at]
            case 1:
                line = line[:at] + line[min(end, at + 8) :]
            case _:
                line = line[:at] + chance.choice(_SPLICES) + line[at:]
    return line + b"\n"


class Answers:
    """The internet: recorded replies of the wire that is asked, errors, and replies that make no sense."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(f"{seed}/answers")
        self._replies = [
            each for each in recorded_replies.of_fixtures() if not each.is_document and len(each.body) <= LONGEST_BYTES
        ]

    def answer(self, request: HttpRequest) -> Canned:
        """Return the reply to *request*."""
        wire = next((wire for part, wire in _PATHS if part in request.url), None)
        what = self._chance.random()
        if what < 0.1:
            body = b'{"error":{"type":"invalid_request_error","message":"No."}}'
            return Canned(
                self._chance.choice((400, 401, 403, 404, 413, 500)), {"content-type": "application/json"}, body
            )
        if what < 0.15:
            return Canned(200, {"content-type": "text/html"}, b"<html>Welcome</html>")
        if wire is None:
            return Canned(
                200, {"content-type": "application/json"}, b'{"data":[{"id":"m"}],"models":[],"input_tokens":3}'
            )
        fitting = [each for each in self._replies if each.wire == wire] if what < 0.9 else self._replies
        reply = self._chance.choice(fitting or self._replies)
        return Canned(200, reply.headers, reply.body)


def _list_variables() -> dict[str, str]:
    """Return a key for each provider that reads one from the environment."""
    names = (name for row in provider_rows.read_providers().values() for name in row.auth.key_env)
    return dict.fromkeys(names, ENV_CANARY)
