"""The request of a call is the one that the official SDK sends for the same call."""

import json
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest

from protocol.requests import Chat
from sidecar.auth import authorize
from sidecar.auth.memory import Memory
from sidecar.auth.scheme import Call
from sidecar.catalogue import provider_rows
from sidecar.core.http import HttpTimeouts
from sidecar.core.http_bodies import read_body
from sidecar.core.secret import Secret
from sidecar.providers.values import Target
from sidecar.server.framing import decode_params
from sidecar.upstream.http_client import HttpClient
from sidecar.wires import registry
from tests.differential import BASES, KEY, QUIET
from tests.support import fixtures, reply_scripts
from tests.support.fake_exchange import FakeExchange
from tests.support.fake_provider import Call as Arrived
from tests.support.fake_provider import Provider
from tests.support.fixtures import Case

pytestmark = [*QUIET, pytest.mark.long]

TRANSPORT_HEADERS = {"accept", "accept-encoding", "connection", "content-length", "host", "user-agent"}
"""Headers that are the client's own affair, beside the SDKs' `x-stainless-*`."""

CALLS = [case for case in fixtures.cases(*BASES) if case.call["provider"] in ("anthropic", "openai")]
BY_CALL = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CALLS])


def sent_headers(call: Arrived) -> dict[str, str]:
    return {
        name: value
        for name, value in call.headers.items()
        if name not in TRANSPORT_HEADERS and not name.startswith("x-stainless-")
    }


async def send_ours(case: Case, provider: Provider) -> None:
    """Send the request that the case's call is encoded to, with the credential in its place."""
    route = msgspec.structs.replace(fixtures.route(case), base_url=provider.url + BASES[case.wire])
    chat = decode_params(json.dumps(case.call["params"]).encode(), Chat)
    request = registry.load(case.wire).encode(chat, route).request
    row = provider_rows.read_providers()[case.call["provider"]]
    target = Target(row=row, route=route, credential=Secret(KEY, "request"), list_base_url=route.base_url)
    http = HttpClient()
    call = Call(target=target, exchange=FakeExchange(), memory=cast("Memory", None), request=request, chat=chat)
    headers = (await authorize.make_headers(call)).headers
    async with http.send(request, headers, HttpTimeouts()) as response:
        await read_body(response)
    await http.aclose()


CREATE: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "anthropic_messages": lambda client: client.messages.create,
    "openai_chat": lambda client: client.chat.completions.create,
    "openai_responses": lambda client: client.responses.create,
}

OLD_FIELDS = ("temperature", "top_p")
"""What Anthropic's API takes in its older version alone, and its SDK no longer."""
OLD_VERSION = {"anthropic-version": "2023-06-01"}


def old_fields(case: Case) -> dict[str, Any]:
    """Return the fields of the case's request that only the older version of the API takes."""
    if case.wire != "anthropic_messages":
        return {}
    return {name: value for name, value in case.expected_request["body"].items() if name in OLD_FIELDS}


def send_theirs(case: Case, client: Any, body: dict[str, Any]) -> None:
    """Make the same call with the SDK, which takes no field that it does not know."""
    old = old_fields(case)
    known = {name: value for name, value in body.items() if name not in old}
    more = {"extra_body": old, "extra_headers": OLD_VERSION} if old else {}
    CREATE[case.wire](client)(**known, **more)


@BY_CALL
async def test_a_call_is_the_request_that_the_sdk_sends(
    case: Case, clients: dict[str, Any], sdks: dict[str, Any], provider: Provider
) -> None:
    body = case.expected_request["body"]
    model = provider.play(body["model"], reply_scripts.document({"error": {"message": "enough"}}, 400))
    before = len(provider.calls(model))
    await send_ours(case, provider)
    with pytest.raises(sdks[case.wire].BadRequestError):
        send_theirs(case, clients[case.wire], body)
    ours, theirs = (provider.call(model, before + index) for index in (0, 1))
    assert ours.target == theirs.target
    assert ours.json == theirs.json
    assert sent_headers(ours) == sent_headers(theirs)


# --- what the SDK's types say of a body ------------------------------------------------------


@pytest.fixture(scope="session")
def types(sdks: dict[str, Any]) -> dict[str, Any]:
    """Return a validator of the SDK's own type of a body for each wire."""
    from anthropic.types.message_create_params import MessageCreateParamsStreaming
    from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
    from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
    from pydantic import TypeAdapter

    assert sdks
    return {
        "anthropic_messages": TypeAdapter(MessageCreateParamsStreaming),
        "openai_chat": TypeAdapter(CompletionCreateParamsStreaming),
        "openai_responses": TypeAdapter(ResponseCreateParamsStreaming),
    }


def plain(value: Any) -> Any:
    """Return what a validator has made, its models and its lazy lists included, as JSON would be read."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, str | int | float | None):
        return value
    return (
        plain(value.model_dump(exclude_unset=True)) if hasattr(value, "model_dump") else [plain(each) for each in value]
    )


def as_stored(item: Any) -> Any:
    """Return an item of an input with the id that the SDK's types ask of assistant turns, and the API does not."""
    is_turn = isinstance(item, dict) and item.get("type") == "message" and item.get("role") == "assistant"
    return {"id": "msg_1", "status": "completed"} | item if is_turn else item


@BY_CALL
def test_a_body_fits_the_types_of_the_sdk(case: Case, types: dict[str, Any]) -> None:
    body = {key: value for key, value in case.expected_request["body"].items() if key not in old_fields(case)}
    if isinstance(body.get("input"), list):
        body["input"] = [as_stored(item) for item in body["input"]]
    # A field that the types do not know would be missing.
    assert plain(types[case.wire].validate_python(body)) == body
