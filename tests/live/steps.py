"""What is asked of each provider, step by step, and what became of it."""

import re
import time
import tomllib
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from tests.live.host import Host, Line, Object

PREFERRED: dict[str, dict[str, list[str]]] = tomllib.loads(
    (Path(__file__).parent / "models.toml").read_text(encoding="utf-8")
)

QUESTION = "What is the capital of Italy? Answer in one word."
CALL = "What is the weather in Rome now? Ask the tool, then answer in one sentence."
LONG = "Write the numbers from one to one thousand as words, one a line."
TOOL = {
    "name": "weather",
    "description": "The weather in a city, now.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
RESULT = "22 degrees, sunny"
OPTIONS = {"max_tokens": 2000}

PREFIX, SUFFIX = "def add(first, second):\n    return ", "\n\nprint(add(1, 2))\n"
QUERY = "How is the area of a circle computed?"
TEXTS = ["def area(r): return PI * r * r", "Cats sleep most of the day."]

CANCELLED_MS = 1000
"""The longest that the end of a cancelled request may take."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of one step. `ok` None: it does not apply."""

    ok: bool | None
    ms: int = 0
    note: str = ""
    """The code of an error, or a figure."""
    message: str = ""

    @property
    def cell(self) -> str:
        """How it is shown in the table."""
        words = {None: "n/a", True: "ok", False: "FAIL"}[self.ok], self.note, f"{self.ms} ms" if self.ms else ""
        return " ".join(filter(None, words))


class FailedError(Exception):
    """A step did not go as it must. `code` is the error's, or what is missing."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Asked(msgspec.Struct):
    """One provider and what is known of it so far."""

    host: Host
    actions: list[str]
    provider: str
    model: str | None
    """For chats."""
    kinds: list[str]
    """The kinds of models that the provider can be asked for."""
    listed: list[str] = []


def run(asked: Asked) -> dict[str, Outcome]:
    """Return the outcome of every step."""
    return {name: _outcome(step, asked) for name, step in STEPS.items()}


def _outcome(step: Callable[[Asked], str | None], asked: Asked) -> Outcome:
    start = time.monotonic()
    try:
        note = step(asked)
    except FailedError as error:
        return Outcome(False, _ms(start), error.code, str(error))
    return Outcome(None) if note is None else Outcome(True, _ms(start), note)


def _ms(start: float) -> int:
    return int((time.monotonic() - start) * 1000)


def _good(reply: Object) -> Object:
    """Return the data of a reply that went well.

    Raises: FailedError with its code.
    """
    if not reply["success"]:
        raise FailedError(reply["error"]["code"], reply["error"]["message"])
    data: Object = reply["data"]
    return data


def _must(holds: object, what: str) -> None:
    if not holds:
        raise FailedError("wrong", what)


# --- steps: each returns a note, or None where it does not apply --------------------------------


def models(asked: Asked) -> str | None:
    """Ask for the list, and choose a model where none is given."""
    data = _good(asked.host.ask("list_models", {"refresh": True}, asked.provider))
    asked.listed = [model["id"] for model in data["models"]]
    if "chat" in asked.kinds:
        asked.model = asked.model or choose(asked.listed, PREFERRED["chat"].get(asked.provider, ["*"]))
    return str(len(asked.listed))


def choose(listed: list[str], patterns: list[str]) -> str | None:
    """Return the newest of the names that match the first pattern that any matches."""
    for pattern in patterns:
        if found := [name for name in listed if fnmatchcase(name, pattern)]:
            return max(found, key=lambda name: ([int(number) for number in re.findall(r"\d+", name)], -len(name)))
    return None


def chat(asked: Asked) -> str | None:
    """Ask a question and read the answer as a stream."""
    if asked.model is None:
        return None
    lines = _stream(asked, [{"role": "user", "content": QUESTION}])
    done = _good(lines[-1].data)
    _must(_text(lines).strip(), "there is no text")
    _must(done["finish_reason"] == "stop", f"it ended with {done['finish_reason']}")
    return _usage(done)


def tool(asked: Asked) -> str | None:
    """Let the model call a tool, and give it the result."""
    if asked.model is None:
        return None
    said: list[Object] = [{"role": "user", "content": CALL}]
    done = _good(_stream(asked, said, tools=[TOOL])[-1].data)
    calls = [part for part in done["message"]["content"] if part["type"] == "tool_call"]
    _must(calls, "no tool was called")
    _must(all(call["arguments"] is not None for call in calls), "a call cannot be run")
    results = [{"type": "tool_result", "id": call["id"], "content": RESULT} for call in calls]
    lines = _stream(asked, [*said, done["message"], {"role": "tool", "content": results}], tools=[TOOL])
    _good(lines[-1].data)
    _must(_text(lines).strip(), "there is no text after the result")
    return f"{len(calls)}"


def cancel(asked: Asked) -> str | None:
    """Cancel a long answer once it has begun."""
    if asked.model is None:
        return None
    request_id = asked.host.send("stream_chat", _params(asked, [{"role": "user", "content": LONG}]), asked.provider)
    line = asked.host.line(request_id)
    while not line.terminal and line.data["data"]["type"] not in ("content", "reasoning"):
        line = asked.host.line(request_id)
    if line.terminal:
        _good(line.data)
    start = time.monotonic()
    asked.host.ask("cancel", {"id": request_id})
    end = line if line.terminal else asked.host.stream(request_id)[-1]
    _must(not end.data["success"] and end.data["error"]["code"] == "cancelled", "it was not cancelled")
    took_ms = int((end.at - start) * 1000)
    _must(took_ms <= CANCELLED_MS, f"its end took {took_ms} ms")
    return f"{took_ms} ms of"


def count(asked: Asked) -> str | None:
    """Count the tokens of the question."""
    if asked.model is None or "count_tokens" not in asked.actions:
        return None
    params = {"model": asked.model, "messages": [{"role": "user", "content": QUESTION}]}
    data = _good(asked.host.ask("count_tokens", params, asked.provider))
    _must(data["tokens"] > 0, "there are none")
    return f"{data['tokens']} {data['method']}"


def choose_kind(asked: Asked, kind: str, action: str) -> str | None:
    """Return the model of *kind* to ask, or None where the provider has none or the program no such *action*."""
    patterns = PREFERRED[kind].get(asked.provider)
    if kind not in asked.kinds or action not in asked.actions or not patterns:
        return None
    return choose(asked.listed, patterns) or next((each for each in patterns if "*" not in each), None)


def complete(asked: Asked) -> str | None:
    """Let a model fill a gap."""
    model = choose_kind(asked, "completion", "complete")
    if model is None:
        return None
    params = {"model": model, "prefix": PREFIX, "suffix": SUFFIX}
    data = _good(asked.host.ask("complete", params, asked.provider))
    _must(data["items"] and data["items"][0]["text"].strip(), "there is no text")
    return f"{data['method']}"


def embed(asked: Asked) -> str | None:
    """Ask for two vectors."""
    model = choose_kind(asked, "embedding", "embed")
    if model is None:
        return None
    lines = asked.host.stream(asked.host.send("embed", {"model": model, "inputs": TEXTS}, asked.provider))
    _good(lines[-1].data)
    parts = [line.data["data"] for line in lines if line.data["data"]["type"] == "vectors"]
    vectors = [vector for part in parts for vector in part["vectors"]]
    _must(len(vectors) == len(TEXTS), f"there are {len(vectors)} vectors")
    return f"{parts[0]['dimensions']}"


def rerank(asked: Asked) -> str | None:
    """Ask which of two texts fits a query best."""
    model = choose_kind(asked, "rerank", "rerank")
    if model is None:
        return None
    params = {"model": model, "query": QUERY, "documents": TEXTS}
    data = _good(asked.host.ask("rerank", params, asked.provider))
    _must([each["index"] for each in data["results"]] == [0, 1], "the wrong text comes first")
    return f"{data['results'][0]['score']:.2f}"


STEPS: Mapping[str, Callable[[Asked], str | None]] = {
    "models": models,
    "chat": chat,
    "tool": tool,
    "cancel": cancel,
    "count": count,
    "complete": complete,
    "embed": embed,
    "rerank": rerank,
}


def _params(asked: Asked, messages: list[Object], **options: object) -> Object:
    return {"model": asked.model, "messages": messages, "options": OPTIONS | options}


def _stream(asked: Asked, messages: list[Object], **options: object) -> list[Line]:
    return asked.host.stream(asked.host.send("stream_chat", _params(asked, messages, **options), asked.provider))


def _text(lines: list[Line]) -> str:
    chunks = [line.data["data"] for line in lines if "streaming" in line.data]
    return "".join(chunk["content"] for chunk in chunks if chunk["type"] == "content")


def _usage(done: Object) -> str:
    usage = done["usage"] or {}
    return f"{usage.get('input_tokens')}+{usage.get('output_tokens')}"
