"""Requests that are no good: each is told which field is wrong, never what stood in it, and reaches nobody."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.environment import environment
from tests.support.fake_provider import Provider
from tests.support.in_process import InProcess
from tests.support.lines import ABSENT, CANARY, Object, text
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, OPENAI

CHAT: Object = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
MARK = "d41d8cd9"
"""Stands in every wrong value, and must not come back."""


@pytest.fixture
def sidecar(shared: Program) -> Program:
    """Return one process for all tests: what went wrong before must not matter."""
    return shared


@pytest.fixture
def provider(shared: Program) -> Provider:
    """Return its provider as if nothing had come yet."""
    assert shared.provider
    shared.provider.forget()
    return shared.provider


def chat(**params: Any) -> Object:
    return {"action": "stream_chat", "provider": "anthropic", "params": CHAT | params}


WRONG: list[tuple[Object, str | None]] = [
    # A12: the envelope
    ({"id": True, "action": "ping"}, "id"),
    ({"id": 1.5, "action": "ping"}, "id"),
    ({"id": None, "action": "ping"}, "id"),
    ({"id": {"x": MARK}, "action": "ping"}, "id"),
    ({"id": [MARK], "action": "ping"}, "id"),
    ({"id": MARK * 17, "action": "ping"}, "id"),
    ({"id": f"{MARK}\0", "action": "ping"}, "id"),
    ({"action": 5}, "action"),
    ({"action": None}, "action"),
    ({"action": f"say {MARK}"}, "action"),  # A21
    ({"action": MARK * 100}, "action"),
    ({}, "action"),
    ({"action": "ping", "provider": 5}, "provider"),
    ({"action": "ping", "provider": ""}, "provider"),
    ({"action": "ping", "provider": f"{MARK}\nx"}, "provider"),
    ({"action": "ping", "timeout": MARK}, "timeout"),
    ({"action": "ping", "timeout": 0}, "timeout"),
    ({"action": "ping", "timeout": -1}, "timeout"),
    ({"action": "ping", "timeout": 10**12}, "timeout"),
    # the params
    ({"action": "ping", "params": [1]}, "params"),
    ({"action": "ping", "params": MARK}, "params"),
    ({"action": "cancel"}, "params.id"),
    ({"action": "cancel", "params": {"id": {"x": MARK}}}, "params.id"),
    ({"action": "initialize", "params": {"protocol_version": 2}}, "params.protocol_version"),
    ({"action": "initialize", "params": {"events": [MARK]}}, "params.events[0]"),
    ({"action": "authenticate", "params": {"op": "status"}}, "provider"),
    ({"action": "stream_chat", "params": CHAT}, "provider"),
    (chat(messages=MARK), "params.messages"),
    (chat(messages=[]), "params.messages"),
    (chat(messages=[{"role": MARK, "content": ""}]), "params.messages[0].role"),
    (chat(messages=[{"role": "user"}]), "params.messages[0].content"),
    (chat(messages=[{"role": "user", "content": [{"type": MARK}]}]), "params.messages[0].content[0].type"),
    (chat(model=""), "params.model"),
    (chat(model=MARK * 40), "params.model"),
    (chat(model=f"{MARK}\0"), "params.model"),  # A05
    (chat(model=7), "params.model"),
    (chat(api_key=f"{MARK}\0"), "params.api_key"),
    (chat(api_key=f"{MARK}\r\nx-y: z"), "params.api_key"),
    (chat(api_key=""), "params.api_key"),
    (chat(options={"max_tokens": MARK}), "params.options.max_tokens"),
    (chat(options={"max_tokens": 0}), "params.options.max_tokens"),
    (chat(options={"temperature": MARK}), "params.options.temperature"),
    (chat(options=MARK), "params.options"),
]


def test_a_wrong_field_is_named_and_its_value_never_repeated(sidecar: Program) -> None:  # A12
    for request, param in WRONG:
        error = sidecar.refusal(json.dumps(request).encode() + b"\n", None if "id" in request else ABSENT)
        assert error["code"] == "invalid_request", request
        assert error.get("param") == param, request
        assert error["retryable"] is False
        assert MARK not in json.dumps(error), request


def test_what_is_json_but_no_object_is_refused_without_an_id(sidecar: Program) -> None:  # A18
    for raw in (b"[]", b'[{"id":1,"action":"ping"}]', b'"ping"', b"7", b"null", b"true"):
        assert sidecar.refusal(raw + b"\n")["code"] == "invalid_request", raw


@pytest.mark.parametrize("digits", [19, 20, 400, 5000])
def test_no_number_is_too_long_for_an_answer(sidecar: Program, digits: int) -> None:  # A14
    number = b"9" * digits
    for sign in (b"", b"-"):
        code = sidecar.refusal(b'{"id":%s%s,"action":"ping"}\n' % (sign, number))["code"]
        assert code in {"invalid_request", "parse_error"}
    for option in ("max_tokens", "seed", "temperature"):
        # What no float can hold is no number at all, and its line no JSON.
        request_id, code = (None, "parse_error") if option == "temperature" and digits > 308 else (1, "invalid_request")
        line = json.dumps({"id": 1} | chat(options={option: "number"})).encode().replace(b'"number"', number)
        assert sidecar.refusal(line + b"\n", request_id)["code"] == code


def test_an_id_may_be_a_number_a_string_or_absent(sidecar: Program) -> None:
    for request_id in (0, -5, 2**63 - 1, -(2**63), "7", "", "é" * 128, "a b\n", ABSENT):
        assert sidecar.ask("ping", id=request_id)["success"], request_id


def test_a_number_and_its_string_are_two_ids(sidecar: Program, provider: Provider) -> None:
    gate = provider.gate()
    provider.play("m", ANTHROPIC.begun("a", gate))
    provider.play("n", ANTHROPIC.answer("b"))
    sidecar.chat("m", id=70)
    provider.call("m")
    assert text(sidecar.stream(sidecar.chat("n", id="70"))) == "b"
    assert sidecar.ask("cancel", {"id": 70})["data"] == {"found": True}
    assert sidecar.reply(70)["error"]["code"] == "cancelled"
    gate.open()


@pytest.mark.parametrize("request_id", [7, "7", ABSENT], ids=["number", "string", "absent"])
def test_an_id_in_use_is_refused_and_its_first_request_goes_on(
    sidecar: Program, provider: Provider, request_id: int | str | object
) -> None:  # A09
    gate = provider.gate()
    provider.play("m", [*ANTHROPIC.begun("on", gate, "ward"), *ANTHROPIC.answer()[2:]])
    sidecar.chat("m", id=request_id)
    assert sidecar.chunk(request_id, 1).data["data"]["content"] == "on"
    sidecar.chat("m", id=request_id)
    refusal = sidecar.chunk(request_id, 2)
    assert refusal.refuses_duplicate
    assert refusal.data["error"] | {"message": ""} == {
        "code": "invalid_request",
        "message": "",
        "param": "id",
        "reason": "duplicate_id",
        "retryable": False,
        "partial": False,
    }
    gate.open()
    assert text(sidecar.stream(request_id)) == "onward"
    assert len(provider.calls("m")) == 1


def test_an_id_is_free_again_after_its_end(sidecar: Program, provider: Provider) -> None:  # A10
    provider.play("m", ANTHROPIC.answer("again"))
    for _ in range(5):
        assert text(sidecar.stream(sidecar.chat("m", id="same"))) == "again"


UNKNOWN: list[tuple[Object, str]] = [
    ({"x": MARK}, "x"),
    ({"params": CHAT | {"x": MARK}}, "params.x"),
    ({"params": CHAT | {"options": {"temprature": MARK}}}, "params.options.temprature"),
    ({"params": CHAT | {"messages": [{"role": "user", "content": "", "name": MARK}]}}, "params.messages[0].name"),
    (
        {"params": CHAT | {"messages": [{"role": "user", "content": [{"type": "text", "text": "", "x": MARK}]}]}},
        "params.messages[0].content[0].x",
    ),
]

DEFAULTS: Object = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "", "refusal": False, "citations": None}]},
    ],
    "options": {
        "temperature": None,
        "tools": [],
        "stop": None,
        "response_format": None,
        "provider_options": {"anything": {"goes": 1}},
    },
}
"""Known fields, many with the values that they have when they are absent."""


def test_an_unknown_field_is_ignored(sidecar: Program, provider: Provider) -> None:  # A11
    provider.play("m", ANTHROPIC.answer("fine"))
    params = sidecar.params("m", x=1)
    assert text(sidecar.stream(sidecar.send("stream_chat", params, provider="anthropic", y=[1]))) == "fine"


def test_a_strict_host_is_told_of_unknown_fields_and_of_no_others(sidecar: Program, provider: Provider) -> None:  # A11
    assert sidecar.ask("initialize", {"strict": True})["success"]
    for change, param in UNKNOWN:
        request: Object = {"provider": "anthropic", "params": CHAT} | change
        error = sidecar.ask("stream_chat", **request)["error"]
        assert (error["code"], error["param"]) == ("invalid_request", param)
        assert MARK not in json.dumps(error)
    provider.play("m", ANTHROPIC.answer("fine"))
    params = sidecar.params("m") | DEFAULTS
    assert text(sidecar.stream(sidecar.send("stream_chat", params, provider="anthropic", timeout=None))) == "fine"
    assert sidecar.ask("initialize", {"strict": False})["success"]


def test_of_two_equal_keys_the_last_counts_everywhere(sidecar: Program, provider: Provider) -> None:  # A16
    provider.play("last", ANTHROPIC.answer("fine"))
    line = sidecar.line(sidecar.request("stream_chat", sidecar.params("last"), provider="anthropic", id="twice"))
    sidecar.write(line.replace(b'"model"', b'"model": "first", "model"').replace(b'"id"', b'"id": "once", "id"'))
    assert text(sidecar.stream("twice")) == "fine"


def test_an_unknown_provider_is_told_which_there_are(sidecar: Program) -> None:  # A21
    error = sidecar.ask("stream_chat", CHAT, provider=MARK)["error"]
    assert error["code"] == "unknown_provider"
    assert all(name in error["message"] for name in ("anthropic", "openai", "replay"))
    assert MARK not in error["message"]


def test_an_unknown_action_is_told_which_there_are(sidecar: Program) -> None:  # A21
    message = sidecar.ask(MARK)["error"]["message"]
    assert all(name in message for name in ("stream_chat", "cancel", "list_models"))


TRICKS = (
    "__proto__",
    "__class__",
    "$ref",
    "{0.__class__}",
    "%s%n",
    "${jndi:ldap://x}",
    "$(id)",
    "`id`",
    "../..",
    "\u0000",
)


def test_what_looks_like_code_is_plain_data(sidecar: Program, provider: Provider) -> None:  # A05, A15, A22
    provider.play("m", ANTHROPIC.answer(*TRICKS))
    content = "".join(TRICKS) + "\U0001f600"
    params = sidecar.params("m") | {"messages": [{"role": "user", "content": content}], **dict.fromkeys(TRICKS, "x")}
    assert text(sidecar.stream(sidecar.send("stream_chat", params, provider="anthropic"))) == "".join(TRICKS)
    assert content in json.dumps(provider.call("m").json, ensure_ascii=False).replace("\\u0000", "\0")
    for trick in TRICKS:
        assert sidecar.ask(trick)["error"]["code"] == "invalid_request"
        for provider_id, params in ((trick, CHAT), ("anthropic", CHAT | {"model": trick})):
            error = sidecar.ask("stream_chat", params, provider=provider_id)["error"]
            assert error["code"] in {"invalid_request", "unknown_provider", "auth_required"}


ADDRESSES = (
    "file:///etc/passwd",
    "http://169.254.169.254/",
    "https://169.254.169.254/latest",
    "http://[fe80::1]/",
    "http://2852039166/",
    "http://user:pass@127.0.0.1",
    "https://user@127.0.0.1",
    "//127.0.0.1",
    "127.0.0.1",
    "http://аpi.example.com",  # noqa: RUF001 - a Cyrillic letter that looks like a Latin one
    "http://127.0.0.1\n",
    "http://127.0.0.1/\r\nx: y",
    "http://example.com",
    "http://10.0.0.1",
    "javascript:alert(1)",
    "http://",
    "http://127.0.0.1:99999",
    "http://127.0.0.1?x=y",
    "http://127.0.0.1/" + "a" * 65536,
)


def test_an_address_that_nobody_means_is_refused_and_not_called(sidecar: Program, provider: Provider) -> None:  # A23
    before = provider.connections
    for address in ADDRESSES:
        here = address.replace("127.0.0.1", f"127.0.0.1:{provider.port}") if ":9" not in address else address
        for field in ({"base_url": here}, {"settings": {"base_url": here, "api_key": CANARY}, "base_url": None}):
            error = sidecar.ask("stream_chat", sidecar.params("m", **field), provider="anthropic")["error"]
            assert error["code"] == "invalid_request", address
            assert error["param"].endswith("base_url"), address
            assert here not in error["message"]
    assert provider.connections == before


@pytest.mark.parametrize("action", ["stream_chat", "generate", "list_models"])
def test_an_address_without_a_key_in_the_same_request_is_not_called(
    tmp_path: Path, provider: Provider, action: str
) -> None:  # A23
    before = provider.connections
    env = environment(tmp_path, ANTHROPIC_API_KEY=CANARY, OPENAI_API_KEY=CANARY)
    with InProcess(tmp_path, provider, env=env) as sidecar:
        for shape in (ANTHROPIC, OPENAI):
            params = sidecar.params("m", shape)
            del params["api_key"]
            if action == "list_models":
                params = {"base_url": params["base_url"]}
            error = sidecar.ask(action, params, provider=shape.provider)["error"]
            assert (error["code"], error["param"]) == ("invalid_request", "params.api_key")
    assert provider.connections == before


def test_without_a_key_a_chat_is_told_where_to_put_one(sidecar: Program) -> None:
    error = sidecar.ask("stream_chat", CHAT, provider="anthropic")["error"]
    assert error["code"] == "auth_required"
    assert "ANTHROPIC_API_KEY" in error["hint"]
