"""The table of providers as tests go through it: what each row needs to be asked, and what it is answered with."""

import re
from fnmatch import fnmatchcase
from typing import Any

from sidecar.catalogue import provider_rows
from sidecar.catalogue.provider_rows import ProviderRow
from tests.support import fixtures
from tests.support.fake_services import Answer, Seen
from tests.support.fixtures import Case
from tests.support.lines import Line, Object

EVERY_ROW = {name: row for name, row in provider_rows.read_providers().items() if row.transport == "http"}

ROWS = {name: row for name, row in EVERY_ROW.items() if row.wire != provider_rows.NO_CHAT}
"""Those that have a chat."""

MODEL = "some-model"

VALUES = {"region": "eu-west-1"}
"""Settings whose values must look like one; all others are `my-<setting>`."""

TEXTS = ("text", "native_text")
TOOLS = ("tools_parallel", "tools_interleaved", "native_tools", "tools")
"""The cases of a wire, the first that it has."""


def wires_of(row: ProviderRow) -> list[str]:
    """Return every wire that *row* can speak, its usual one first."""
    listed = [wire for listing in row.models.lists for _, wire in listing.endpoint_wires]
    varied = [wire for variant in row.address.variants for wire in variant.paths]
    return list(
        dict.fromkeys([row.wire, *(rule.wire for rule in row.models.wire_rules), *row.address.paths, *varied, *listed])
    )


def key_variable(row: ProviderRow) -> str:
    """Return the environment variable of *row*'s credential."""
    return (row.auth.key_env or row.auth.token_env)[0]


def needed(row: ProviderRow) -> dict[str, str]:
    """Return values of the settings that *row* cannot do without."""
    required = [name for name, setting in row.settings.items() if setting.required and setting.default is None]
    return {name: VALUES.get(name, f"my-{name}") for name in required}


def every_key() -> dict[str, str]:
    """Return an environment with a key of each provider's own."""
    return {key_variable(row): f"CANARY-{name}" for name, row in EVERY_ROW.items()}


def every_setting() -> dict[str, str]:
    """Return an environment with the settings that providers need."""
    return {row.settings[name].env[0]: value for row in EVERY_ROW.values() for name, value in needed(row).items()}


def secrets(seen: Seen) -> set[str]:
    """Return the keys that stand anywhere in the request."""
    return set(re.findall(r"CANARY-[\w-]+", seen.text))


_OWNERS = {"githubcopilot.com": "github.com"}
"""Domains of one owner."""

_GATEWAY = "gateway.ai.cloudflare.com"
"""It gets the keys of whoever is behind it, where the user has set it up."""

_HERE = "127.0.0.1"
"""A server of the user's own, in the place of any provider."""


def _hosts(value: Any) -> set[str]:
    """Return the patterns of all hosts in the addresses that stand in *value*."""
    return {re.sub(r"\{\w+\}", "*", host) for host in re.findall(r"https?://([^/'\"\s:]+)", repr(value))}


HOSTS = {name: _hosts(row) for name, row in EVERY_ROW.items()}
"""Provider → patterns of the hosts that its table names."""


def astray(received: dict[str, set[str]]) -> list[tuple[str, set[str]]]:
    """Return which of the secrets, each with the hosts that got it, came to a host that they do not belong to.

    One secret has one owner, whatever hosts it is known at; and one of `every_key` says who that is.
    """
    found = []
    for secret, hosts in received.items():
        owners = {".".join(host.split(".")[-2:]) for host in hosts - {_GATEWAY}}
        named = HOSTS.get(secret.removeprefix("CANARY-"), {"*"})
        strangers = {host for host in hosts - {_GATEWAY, _HERE} if not any(fnmatchcase(host, each) for each in named)}
        if strangers or len({_OWNERS.get(owner, owner) for owner in owners}) > 1:
            found.append((secret, strangers or hosts))
    return found


def params(wire: str | None = None, **more: Any) -> Object:
    """Return the params of a chat."""
    options = {} if wire is None else {"options": {"wire": wire}}
    return {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]} | options | more


def case_of(wire: str, names: tuple[str, ...] = TEXTS) -> Case:
    """Return the fixture of *wire* that comes first in *names*."""
    found = {case.path.name: case for case in fixtures.cases(wire)}
    return next(found[name] for name in names if name in found)


def reply_of(case: Case) -> Answer:
    """Return the recorded reply of *case*."""
    return Answer(case.body, case.head["status"], case.head["headers"])


def text_of(wire: str) -> Answer:
    """Return a reply of *wire* that is text."""
    return reply_of(case_of(wire))


def check_chunks(lines: list[Line], case: Case) -> None:
    """Assert that the stream says what the fixture says."""
    assert lines[-1].data["success"], lines[-1].data
    chunks, expected = [line.data["data"] for line in lines], case.expected
    assert chunks[0]["type"] == "start"
    for kind in ("content", "reasoning"):
        assert said(chunks, kind) == said(expected, kind)
    assert calls(chunks, case) == calls(expected, case)
    done = {name: expected[-1][name] for name in ("type", "finish_reason", "provider_finish_reason", "usage")}
    assert {name: chunks[-1][name] for name in done} == done


def said(chunks: list[Any], kind: str) -> str:
    """Return the joined text of the chunks of one *kind*."""
    return "".join(chunk["content"] for chunk in chunks if chunk["type"] == kind)


def calls(chunks: list[Any], case: Case) -> list[Object]:
    """Return the tool calls in *chunks*, without the ids that the provider has not given."""
    found = [chunk["tool_call"] for chunk in chunks if chunk["type"] == "tool_call"]
    return [call if call["id"].encode() in case.body else call | {"id": ""} for call in found]
