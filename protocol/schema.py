"""Structs → `schema.json`, JSON Schema 2020-12: `python -m protocol.schema` writes it, `--check` compares.

One document: `$defs` has every request by its action, every reply, chunk and error, and all
that they are made of; its root takes any line of either direction. A development tool: the
program never imports it.
"""

import ast
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import msgspec

from protocol.messages import FinishReason, Message, ToolCall, Usage
from protocol.replies import (
    PROTOCOL_VERSION,
    Attempt,
    Authentication,
    CredentialSource,
    Event,
    Failed,
    Method,
    ModelList,
    ReplyId,
    Streamed,
    StreamedLogin,
    Structured,
    Timings,
    UsageTable,
    Warn,
)
from protocol.requests import PARAMS, Id, Provider, TimeoutMs

PATH = Path(__file__).parent / "schema.json"

# --- what the sidecar writes as plain objects ------------------------------------------------


class LineLimits(TypedDict):
    """Bounds that a host must keep."""

    max_line_bytes: int
    """The longest request line, in bytes."""


class Initialized(TypedDict):
    """The answer to `initialize`: what this sidecar is and can do."""

    protocol_version: int
    name: str
    version: str
    """The program's version, of no meaning for the protocol."""
    actions: list[str]
    providers: list[str]
    wires: list[str]
    """The values of `options.wire`."""
    events: list[str]
    """The values of `initialize.events`."""
    limits: LineLimits


class Pong(TypedDict):
    """The answer to `ping`."""

    pong: Literal[True]
    in_flight: int
    """Requests that are open."""


class GateInfo(TypedDict):
    """What keeps requests with one credential from a provider."""

    state: Literal["limited", "open", "half_open"]
    """`limited`: the provider asked to wait, or few may try after that. `open`: it has been failing, and a request
    with a fallback goes there. `half_open`: one may try it again."""
    active: int
    """Requests under way."""
    queued: int
    """Requests that wait."""
    retry_after_ms: NotRequired[int]
    """How long the provider has asked to wait yet."""


class ProviderInfo(TypedDict):
    """One provider and where its credential would come from; never what it is."""

    id: str
    name: str
    wire: str
    """Its usual wire; `from_model` where the model's name begins with it."""
    ready: bool
    """Whether a chat could be asked now, as far as one can tell without asking the provider."""
    auth: str
    """How it is authorized; `none` where nothing is needed."""
    method: Method | None
    """By what a chat would be authorized now; null by nothing, or where nothing is needed."""
    credential_source: CredentialSource | None
    """Null where there is none."""
    logins: list[Literal["api_key", "device", "existing"]]
    """What `login` of `authenticate` takes."""
    env: list[str]
    """The environment variables of its key or token, the first that is set wins."""
    identity_env: list[list[str]]
    """Environment variables that together name an identity of this machine's; one list is enough."""
    built_in: bool
    """False for a provider that the configuration alone knows."""
    problem: NotRequired[str]
    """Why the credential that was found cannot be used."""
    gates: NotRequired[list[GateInfo]]
    """One for each credential whose requests are held up now."""


class ProviderList(TypedDict):
    """The answer to `list_providers`."""

    providers: list[ProviderInfo]


class Cancelled(TypedDict):
    """The answer to `cancel`."""

    found: bool
    """False when no request of that id was open; its terminal line is then written already."""


class ShuttingDown(TypedDict):
    """The answer to `shutdown`."""

    shutting_down: Literal[True]


class Cost(TypedDict):
    """What an answer cost."""

    usd: str | None
    """US dollars as a decimal string; null when that is unknown, and then `reason` says why."""
    parts: NotRequired[dict[str, str]]
    """Of which, by kind of token, US dollars as decimal strings."""
    source: NotRequired[Literal["catalogue", "configuration", "models.dev", "provider", "estimate"]]
    """Who says so: our table of prices, the user's, a refreshed one, the provider in its reply, or a table and our own
    count of tokens."""
    priced_at: NotRequired[str | None]
    """The time whose prices were taken, ISO 8601 in UTC; null where the provider named the cost."""
    reason: NotRequired[str]
    credits: NotRequired[str]
    """The same in the provider's own credits, as a decimal string, where it bills in such."""


class TokenCount(TypedDict):
    """The answer to `count_tokens`."""

    tokens: int
    exact: bool
    """Whether it is the number that would be billed, or for a `text` that of its tokens."""
    method: Literal["provider", "vocabulary", "estimate", "bytes"]
    """Who counted: the provider, the model's own vocabulary, one that stands in for it, or nobody."""
    basis: NotRequired[str]
    """What was counted, and by which vocabulary and factor; absent where the provider counted all of it."""
    error_band_pct: NotRequired[int]
    """By how many percent the number may be off, up or down; absent when it is exact."""
    cached: NotRequired[Literal[True]]
    """The provider has counted the same before, and was not asked again."""
    warnings: list[Warn]


class Answer(TypedDict):
    """The answer to `generate`: `done` of a stream, with text, reasoning and tool calls pulled out of the message."""

    content: str
    """The text, all of it."""
    reasoning: str
    tool_calls: list[ToolCall]
    finish_reason: FinishReason
    provider_finish_reason: str | None
    usage: Usage | None
    cost: Cost
    message: Message
    provider: str
    model: str
    request_id: str | None
    attempts: list[Attempt]
    timings: Timings
    warnings: list[Warn]
    structured: NotRequired[Structured]
    """Only where `response_format` asked for JSON and there is text."""


ANSWERS: dict[str, Any] = {
    "initialize": Initialized,
    "ping": Pong,
    "list_providers": ProviderList,
    "list_models": ModelList,
    "generate": Answer,
    "count_tokens": TokenCount,
    "calculate_cost": Cost,
    "authenticate": Authentication,
    "usage_report": UsageTable,
    "cancel": Cancelled,
    "shutdown": ShuttingDown,
}
"""The `data` of each unary action."""

STREAMS = ("stream_chat", "resume", "authenticate")
"""The actions that are answered by a stream; `authenticate` is in both, for its `login`."""

OPEN_FIELDS: dict[tuple[str, str], Any] = {
    ("Done", "cost"): Cost,
    ("ErrorBody", "cost"): Cost | None,
    ("ErrorBody", "usage"): Usage | None,
}
"""Fields that the structs leave open, since what is put there is built as a plain object."""

# --- the document ----------------------------------------------------------------------------


def build() -> dict[str, Any]:
    """Return the schema."""
    requests = {f"{camel(action)}Request": _request(action, params) for action, params in PARAMS.items()}
    replies = {f"{camel(action)}Reply": _reply(action, data) for action, data in ANSWERS.items()}
    lines = {each.__name__: each for each in (Streamed, StreamedLogin, Failed, Event)} | replies
    kinds = [*requests.values(), *lines.values(), *OPEN_FIELDS.values()]
    schemas, defs = msgspec.json.schema_components(kinds)
    for (struct, field), schema in zip(OPEN_FIELDS, schemas[-len(OPEN_FIELDS) :], strict=True):
        defs[struct]["properties"][field] |= schema
    _describe(defs)
    defs["Request"] = _any_of("Any line that a host may send.", requests)
    defs["Line"] = _any_of("Any line that the sidecar may write; the answers of unary actions differ in `data`.", lines)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:sidecar:protocol:{PROTOCOL_VERSION}",
        "title": f"The sidecar's protocol, version {PROTOCOL_VERSION}",
        "description": "Generated from protocol/*.py by `make schema`. A host ignores fields that it does not know.",
        "anyOf": [{"$ref": "#/$defs/Request"}, {"$ref": "#/$defs/Line"}],
        "$defs": dict(sorted(defs.items())),
    }


def _request(action: str, params: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Return the envelope with the parameters of *action*, which may be left out when none of them is required."""
    literal: Any = Literal
    required = any(field.required for field in msgspec.structs.fields(params))
    return msgspec.defstruct(
        f"{camel(action)}Request",
        [
            ("id", Id | msgspec.UnsetType, msgspec.UNSET),
            ("action", literal[action]),
            ("provider", Provider | None, None),
            ("params", params) if required else ("params", params | msgspec.UnsetType, msgspec.UNSET),
            ("timeout", TimeoutMs | None, None),
        ],
        namespace={"__doc__": f"The request `{action}`."},
        kw_only=True,
    )


def _reply(action: str, data: Any) -> type[msgspec.Struct]:
    return msgspec.defstruct(
        f"{camel(action)}Reply",
        [("id", ReplyId), ("success", Literal[True]), ("data", data)],
        namespace={"__doc__": f"The reply to `{action}`."},
    )


def camel(action: str) -> str:
    """Return the name of *action* as names of definitions begin."""
    return "".join(word.title() for word in action.split("_"))


def _any_of(description: str, kinds: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "anyOf": [{"$ref": f"#/$defs/{name}"} for name in kinds]}


def _describe(defs: dict[str, Any]) -> None:
    """Put the docstrings of classes and the strings beneath fields into *defs*, each as one line."""
    docs = _field_docs()
    for name, schema in defs.items():
        schema["description"] = " ".join(schema["description"].split())
        for field, own in schema["properties"].items():
            if text := docs.get(name, {}).get(field):
                own["description"] = text
        if "id" in schema["properties"] and "success" in schema["properties"]:
            # Absent when the request had none, which the struct says with a value that is no JSON.
            schema["required"].remove("id")


def _field_docs() -> dict[str, dict[str, str]]:
    """Return class → field → the string that stands beneath the field in its module."""
    trees = (ast.parse(file.read_bytes()) for file in sorted(Path(__file__).parent.glob("*.py")))
    classes = (node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    return {each.name: dict(_documented(each.body)) for each in classes}


def _documented(body: list[ast.stmt]) -> list[tuple[str, str]]:
    return [
        (field.target.id, " ".join(doc.value.value.split()))
        for field, doc in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(doc, ast.Expr)
        and isinstance(doc.value, ast.Constant)
        and isinstance(doc.value.value, str)
    ]


def render() -> str:
    """Return the text of `schema.json`."""
    return json.dumps(build(), indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the schema, or with `--check` say whether it is fresh; return the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m protocol.schema [--check]", file=sys.stderr)
        return 2
    text = render()
    if not arguments:
        PATH.write_text(text, encoding="utf-8", newline="\n")
    elif not PATH.exists() or PATH.read_text(encoding="utf-8") != text:
        print(f"{PATH.name} is stale: run `make schema` and commit what it writes", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
