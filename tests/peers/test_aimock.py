"""Every endpoint of a mock that others wrote, asked through the whole process."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.peers import aimock
from tests.peers.aimock import ENDPOINTS, Endpoint, Mock
from tests.support.process import CANARY, Line, Object, Sidecar, environment, text

if not aimock.program():
    pytest.skip("aimock is not installed: `make peers` does it where there is Node", allow_module_level=True)

TEXT = "A naïve text \u2013 日本語, “quotes” & <tags>,\nand a second line that is long enough to come in pieces."
TOOL = {
    "name": "weather",
    "description": "The weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CALLS = [("Rome", {"city": "Rome", "days": [1, 2]}), ("Oslo", {"city": "Oslø"})]


REASONS = {("gemini", "tool_calls"): "FUNCTION_CALL", ("openai_responses", "length"): "incomplete"}
"""Wire and reason → the mock's word for it, which no real service says."""


class Asking:
    """One endpoint, asked through the process."""

    def __init__(self, sidecar: Sidecar, mock: Mock, endpoint: Endpoint, key: str) -> None:
        self.sidecar = sidecar
        self.mock = mock
        self.endpoint = endpoint
        self.key = key
        self.departs = False
        """Whether the mock has been seen to depart from the real service, as README.md says."""

    @property
    def settings(self) -> Object:
        """The settings of a request."""
        credential = {"access_token" if self.endpoint.token else "api_key": self.key}
        return {"base_url": self.mock.base_url(self.endpoint)} | credential | self.endpoint.settings

    def send(self, said: str | list[Object], **options: Any) -> Any:
        """Send a chat and return its id."""
        messages = said if isinstance(said, list) else [{"role": "user", "content": said}]
        chat = {"model": "some-model", "messages": messages, "options": {"wire": self.endpoint.wire} | options}
        params = chat | {"settings": self.settings}
        return self.sidecar.send("stream_chat", params, provider=self.endpoint.provider)

    def chat(self, said: str | list[Object], **options: Any) -> list[Line]:
        """Return the lines of a chat that goes well."""
        lines = self.sidecar.stream(self.send(said, **options))
        assert lines[-1].data["success"], lines[-1].data
        return lines

    def done(self, said: str | list[Object], **options: Any) -> Object:
        """Return the `done` of a chat."""
        done: Object = self.chat(said, **options)[-1].data["data"]
        return done

    def error(self, said: str, **options: Any) -> Object:
        """Return the error that a chat ends with."""
        error: Object = self.sidecar.reply(self.send(said, **options))["error"]
        return error


# --- cases -------------------------------------------------------------------------------------


def says_text(asking: Asking) -> None:
    lines = asking.chat("say it")
    assert text(lines) == TEXT
    assert len(lines) > 3
    done = lines[-1].data["data"]
    assert (done["finish_reason"], done["provider"]) == ("stop", asking.endpoint.provider)
    assert "".join(part["text"] for part in done["message"]["content"] if part["type"] == "text") == TEXT


def halves_a_character(asking: Asking) -> None:
    """As others in JavaScript do, the mock cuts a text between the halves of an emoji: the rest must not be lost."""
    assert text(asking.chat("halve a character")) == "nineteen characters\ufffd\ufffd and a scooter"


def calls_first(asking: Asking) -> None:
    lines = asking.chat("call first", tools=[TOOL])
    assert text(lines) == "I have looked it up."
    done = lines[-1].data["data"]
    check_reason(asking, done, "tool_calls")
    kinds = [part["type"] for part in done["message"]["content"]]
    assert [kind for kind in kinds if kind != "reasoning"] == ["tool_call", "text"]


def calls_tools(asking: Asking) -> None:
    check_calls(asking, asking.done("call two tools", tools=[TOOL]))


def check_calls(asking: Asking, done: Object) -> list[Object]:
    calls = [part for part in done["message"]["content"] if part["type"] == "tool_call"]
    check_reason(asking, done, "tool_calls")
    assert [(call["name"], call["arguments"]) for call in calls] == [("weather", arguments) for _, arguments in CALLS]
    assert len({call["id"] for call in calls}) == len(calls)
    return calls


def takes_results(asking: Asking) -> None:
    first: Object = {"role": "user", "content": "call two tools"}
    done = asking.done([first], tools=[TOOL])
    results = [{"type": "tool_result", "id": call["id"], "content": "fine"} for call in check_calls(asking, done)]
    second = asking.chat([first, done["message"], {"role": "tool", "content": results}], tools=[TOOL])
    assert text(second) == "Sunny in Rome, rainy in Oslo."


def writes_and_calls(asking: Asking) -> None:
    lines = asking.chat("write and call", tools=[TOOL])
    assert text(lines) == "Let me look that up."
    done = lines[-1].data["data"]
    check_reason(asking, done, "tool_calls")
    kinds = [part["type"] for part in done["message"]["content"]]
    assert [kind for kind in kinds if kind != "reasoning"] == ["text", "tool_call"]


def check_reason(asking: Asking, done: Object, reason: str) -> None:
    """Assert that it ended for that *reason*, or with the word that the mock has in the place of the real service's."""
    word = REASONS.get((asking.endpoint.wire, reason))
    asking.departs |= word is not None
    assert done["finish_reason"] == ("other" if word else reason)
    assert word in (None, done["provider_finish_reason"])


def shows_reasoning(asking: Asking) -> None:
    lines = asking.chat("think", reasoning={"effort": "low"})
    chunks = [line.data["data"] for line in lines]
    assert (
        "".join(chunk["content"] for chunk in chunks if chunk["type"] == "reasoning")
        == "The user wants a number; 42 is one."
    )
    assert text(lines) == "It is 42."
    # And it goes back as it came.
    message = chunks[-1]["message"]
    again = [{"role": "user", "content": "think"}, message, {"role": "user", "content": "say it"}]
    assert text(asking.chat(again)) == TEXT


def takes_an_image(asking: Asking) -> None:
    image = {"type": "image", "data": PIXEL, "media_type": "image/png"}
    said = [{"role": "user", "content": [{"type": "text", "text": "look at the image"}, image]}]
    assert text(asking.chat(said)) == "A single pixel."


def tells_usage(asking: Asking) -> None:
    # The real service tells it without being asked, so it is not asked; the mock wants to be.
    asking.departs = asking.endpoint.provider == "mistral"
    asked = {"provider_options": {"stream_options": {"include_usage": True}}} if asking.departs else {}
    usage = asking.done("count", **asked)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (11, 7)


def stops_at_a_limit(asking: Asking) -> None:
    check_reason(asking, asking.done("stop early"), "length")


def lists_models(asking: Asking) -> None:
    reply = asking.sidecar.ask("list_models", {"settings": asking.settings}, provider=asking.endpoint.provider)
    assert reply["success"], reply
    assert reply["data"]["models"]


def is_cancelled(asking: Asking) -> None:
    request_id = asking.send("go on for long")
    asking.sidecar.chunk(request_id, 1)
    assert asking.sidecar.ask("cancel", {"id": request_id})["data"] == {"found": True}
    assert asking.sidecar.reply(request_id)["error"]["code"] == "cancelled"


def wants_the_key(asking: Asking) -> None:
    asking.key = f"{CANARY}-wrong"
    error = asking.error("say it")
    assert (error["code"], error["provider_status"]) == ("auth_failed", 401)


def limits_the_rate(asking: Asking) -> None:
    error = asking.error("too many")
    check_error(asking, error, ("rate_limited", 429, "Slow down, please."))
    assert error["retry_after_ms"] == 3000


def fails(asking: Asking) -> None:
    check_error(asking, asking.error("fail"), ("provider_error", 500, "Something broke."))


def is_busy(asking: Asking) -> None:
    check_error(asking, asking.error("busy"), ("provider_overloaded", 503, "Come back later."))


def check_error(asking: Asking, error: Object, expected: tuple[str, int, str]) -> None:
    assert (error["code"], error["provider_status"]) == expected[:2]
    asking.departs = asking.endpoint.wire == "bedrock_converse"
    assert asking.departs or error["message"] == expected[2]


def cuts_the_stream(asking: Asking) -> None:
    error = asking.error("cut the stream")
    assert (error["code"], error["partial"]) == ("stream_interrupted", True)


def drops_the_request(asking: Asking) -> None:
    with asking.mock.chaos(dropRate=1):
        error = asking.error("say it")
    assert (error["code"], error["provider_status"]) == ("provider_error", 500)


def writes_nonsense(asking: Asking) -> None:
    with asking.mock.chaos(malformedRate=1):
        error = asking.error("say it")
    # Of lines, one that is not ended is one that was cut.
    assert error["code"] == ("stream_interrupted" if asking.endpoint.wire == "ollama" else "provider_error")
    assert "provider_status" not in error


def hangs_up(asking: Asking) -> None:
    with asking.mock.chaos(disconnectRate=1):
        error = asking.error("say it")
    assert (error["code"], error["partial"]) == ("network_error", False)


def slows_down(asking: Asking) -> None:
    with asking.mock.chaos(rateLimitRate=1):
        error = asking.error("say it")
    assert (error["code"], error["retryable"]) == ("rate_limited", True)


CASES: dict[str, Callable[[Asking], None]] = {
    "text": says_text,
    "emoji": halves_a_character,
    "tools": calls_tools,
    "tool+text": calls_first,
    "results": takes_results,
    "text+tool": writes_and_calls,
    "reasoning": shows_reasoning,
    "image": takes_an_image,
    "usage": tells_usage,
    "length": stops_at_a_limit,
    "list": lists_models,
    "cancel": is_cancelled,
    "key": wants_the_key,
    "429": limits_the_rate,
    "500": fails,
    "503": is_busy,
    "cut": cuts_the_stream,
    "drop": drops_the_request,
    "malformed": writes_nonsense,
    "disconnect": hangs_up,
    "ratelimit": slows_down,
}


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    """Yield the running mock."""
    with aimock.running(tmp_path_factory.mktemp("aimock") / "log", len(ENDPOINTS) * len(CASES)) as running:
        yield running


@pytest.fixture(scope="module")
def sidecar(mock: Mock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Yield one process for all cases."""
    home = tmp_path_factory.mktemp("home")
    with Sidecar(home, env=environment(home)) as process:
        for endpoint in (ENDPOINTS[0], next(each for each in ENDPOINTS if each.relayed)):
            Asking(process, mock, endpoint, mock.keys[0]).chat("say it")
        # Connections that wait for the next request are no leak.
        process.note_baseline()
        yield process


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name.replace("/", "-"))
@pytest.mark.parametrize("case", CASES)
def test_an_endpoint(
    sidecar: Sidecar, mock: Mock, endpoint: Endpoint, case: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("endpoint", endpoint.name)
    record_property("case", case)
    if case in endpoint.lacks:
        pytest.skip("the mock has no such thing")
    # A key of its own for each: what one is told of its rate holds up nobody else.
    key = mock.keys[ENDPOINTS.index(endpoint) * len(CASES) + [*CASES].index(case)]
    asking = Asking(sidecar, mock, endpoint, key)
    CASES[case](asking)
    if asking.departs:
        record_property("departs", "~")
