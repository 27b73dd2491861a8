"""What is known of models: the user's word, and a refresh that is asked for, fetched once, kept and read again."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_provider import WAIT_SECONDS
from tests.support.fake_services import Answer, Seen, Services, document
from tests.support.in_process import online
from tests.support.lines import Object
from tests.support.process_probes import posix_only
from tests.support.program import Program
from tests.support.provider_rows import secrets

pytestmark = pytest.mark.long

MODELS_DEV = "https://models.dev/api.json"

LATEST = "gpt-9-terra"
"""A model that our table does not know."""

UNPRICED = "meta/llama3-8b-instruct-maas"
"""One that it has no price of, at Vertex."""

CATALOGUE = {
    "openai": {
        "models": {
            LATEST: {
                "name": "GPT-9 Terra",
                "tool_call": True,
                "limit": {"context": 2_000_000, "output": 200_000},
                "cost": {"input": 3, "output": 12.5},
            },
            "gpt-6-sol": {"limit": {"context": 3_000_000, "output": 5}, "cost": {"input": 0, "output": 0}},
            "gpt-4o": {"cost": {"input": 1000, "output": 1000}},
        }
    },
    "google-vertex": {"models": {UNPRICED: {"cost": {"input": 0.25, "output": 0.5}}}},
    "google-vertex-anthropic": {"models": {"claude-opus-9": {"cost": {"input": 0, "output": 0}}}},
    "some-lab": {"models": {"x": {}}},
}

USAGE = {"input_tokens": 1_000_000, "output_tokens": 0}


def kept(home: Path) -> Path:
    return home / "cache" / "sidecar" / "models.dev.json"


def cost(sidecar: Program, model: str, **more: Any) -> Object:
    data: Object = sidecar.ask("calculate_cost", {"model": model, "usage": USAGE} | more)["data"]
    return data


def listed(sidecar: Program, provider: str = "openai", **params: Any) -> Object:
    data: Object = sidecar.ask("list_models", params, provider=provider)["data"]
    return data


def refreshed(sidecar: Program, provider: str = "openai") -> Object:
    """Return the list after a refresh, for which alone a process may write into its cache."""
    sidecar.allowed.places.append(kept(sidecar.home).parent)
    return listed(sidecar, provider, refresh_catalogue=True)


def codes(data: Object) -> list[str]:
    return [warning["code"] for warning in data["warnings"]]


@pytest.fixture
def web(services: Services) -> Services:
    """Return an internet with models.dev and OpenAI's list."""
    services.answer("GET https://api.openai.com/v1/models", document({"data": [{"id": LATEST}, {"id": "gpt-6-sol"}]}))
    services.answer(f"GET {MODELS_DEV}", document(CATALOGUE))
    return services


# --- the user's word -------------------------------------------------------------------------

CORRECTIONS = """
[providers.mylab]
wire = "openai_chat"
base_url = "{url}/v1"

[catalogue.mylab."org/big.v1"]
name = "Big"
context_length = 64000
price = {{ input = 0.1, output = "0.2" }}
capabilities = {{ reasoning = false }}
refuses = ["temperature"]

[[catalogue.mylab."org/big.v1".tiers]]
over_tokens = 1000
price = {{ input = 1, output = 2 }}

[catalogue.vertex.claude-opus-5-5]
price = {{ input = 100, output = 200 }}

[catalogue.ollama.llama3]
price = {{ input = 0.5, output = 0.5 }}

[catalogue.openai.gpt-6-sol]
status = "deprecated"
retires = 2027-03-01
max_output = 7
wire = "openai_chat"
"""

STREAM = (
    b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}],"model":"m",'
    b'"usage":{"prompt_tokens":500,"completion_tokens":100}}\n\ndata: [DONE]\n\n'
)


@pytest.fixture
def corrected(services: Services, tmp_path: Path) -> Any:
    """Yield a process whose user knows better."""
    env = {"OPENAI_API_KEY": "CANARY-openai"}
    services.answer("POST *", Answer(STREAM, headers={"content-type": "text/event-stream"}))
    with online(services, tmp_path, CORRECTIONS.format(url=services.url), **env) as sidecar:
        yield sidecar


def test_a_model_of_the_users_own_is_known_to_chats_and_what_they_cost(corrected: Program, services: Services) -> None:
    params: Object = {
        "model": "mylab/org/big.v1",
        "messages": [{"role": "user", "content": "Hi"}],
        "options": {"temperature": 1, "max_tokens": 5},
    }
    start, *_, done = corrected.stream(corrected.send("stream_chat", params))
    assert [warning["param"] for warning in start.data["data"]["warnings"]] == ["params.options.temperature"]
    assert "temperature" not in services.only("POST *").json
    priced = done.data["data"]["cost"]
    assert (priced["usd"], priced["source"]) == ("0.00007", "configuration")
    assert cost(corrected, "mylab/org/big.v1")["usd"] == "1"
    error = corrected.ask("generate", params | {"options": {"budget_usd": "0.0000001"}})["error"]
    assert error["code"] == "quota_exceeded"


def test_a_wire_of_the_users_choice_is_spoken(corrected: Program, services: Services) -> None:
    params = {"model": "gpt-6-sol", "messages": [{"role": "user", "content": "Hi"}]}
    corrected.ask("generate", params, provider="openai")
    assert services.only("POST *").path == "/v1/chat/completions"


def test_a_users_price_is_the_price_wherever_and_however_it_is_served(corrected: Program) -> None:
    for more in ({}, {"settings": {"location": "europe-west4"}}, {"mode": "batch"}, {"at": "2030-01-01"}):
        found = cost(corrected, "vertex/claude-opus-5-5", **more)
        assert (found["usd"], found["source"]) == ("100", "configuration"), more
    # Also for what runs at the user's place, and would be free.
    assert (cost(corrected, "ollama/llama3")["usd"], cost(corrected, "ollama/llama3.1")["usd"]) == ("0.5", "0")


def test_a_list_has_the_users_word_and_the_users_models(corrected: Program, services: Services) -> None:
    sol = {"id": "gpt-6-sol", "context_window": 5, "max_output_tokens": 5}
    services.answer("GET https://api.openai.com/v1/models", document({"data": [sol]}))
    [model] = listed(corrected)["models"]
    told = {name: model[name] for name in ("status", "retires_on", "max_output", "context_length", "wire")}
    assert told == {
        "status": "deprecated",
        "retires_on": "2027-03-01",
        "max_output": 7,
        "context_length": 5,
        "wire": "openai_chat",
    }
    assert model["pricing"]["source"].startswith(("genai-prices", "litellm"))
    services.answer(f"GET {services.url}/v1/models", document({"data": [{"id": "small"}]}))
    small, big = listed(corrected, "mylab")["models"]
    assert small["id"] == "small"
    assert big == {
        "id": "org/big.v1",
        "provider": "mylab",
        "name": "Big",
        "kind": "chat",
        "context_length": 64_000,
        "cost": {"input": "0.1", "output": "0.2"},
        "pricing": {
            "source": "configuration",
            "tiers": [{"over_tokens": 1000, "price": {"input": "1", "output": "2"}}],
        },
        "capabilities": {"reasoning": False},
        "status": "active",
    }


def test_what_a_hosted_service_lists_is_not_free_because_it_is_free_at_home(services: Services, tmp_path: Path) -> None:
    services.answer("GET *", document({"models": [{"name": "llama3"}, {"name": "gpt-oss:20b-cloud"}]}))
    with online(services, tmp_path, OLLAMA_API_KEY="CANARY-ollama", OLLAMA_HOST="ollama.com") as sidecar:
        assert not any("cost" in model for model in listed(sidecar, "ollama")["models"])
        local = listed(sidecar, "ollama", base_url=services.url)["models"]
    assert [model.get("cost") for model in local] == [{"input": "0", "output": "0"}, None]


# --- a refresh -------------------------------------------------------------------------------


def test_a_refresh_is_asked_for_sends_nothing_of_the_users_and_is_kept(web: Services, tmp_path: Path) -> None:
    with online(web, tmp_path, OPENAI_API_KEY="CANARY-openai") as sidecar:
        assert cost(sidecar, f"openai/{LATEST}")["reason"] == "model_unknown"
        plain = listed(sidecar)
        assert "name" not in plain["models"][0]
        assert "catalogue_refreshed_at" not in plain
        assert [seen.url for seen in web.asked()] == ["https://api.openai.com/v1/models"]
        assert not kept(sidecar.home).exists()

        fresh = refreshed(sidecar)
        seen = web.only(f"GET {MODELS_DEV}")
        assert not secrets(seen)
        assert not {"authorization", "cookie", "referer"} & seen.headers.keys()
        assert seen.body == b""
        # The provider's list is the remembered one, and told anew.
        assert (fresh["source"], fresh["warnings"]) == ("cache", [])
        latest, sol = fresh["models"]
        assert (latest["name"], latest["context_length"], latest["capabilities"]) == (
            "GPT-9 Terra",
            2_000_000,
            {"completion": False, "tools": True},
        )
        day = fresh["catalogue_refreshed_at"][:10]
        assert (latest["cost"], latest["pricing"]) == (
            {"input": "3", "output": "12.5"},
            {"source": "models.dev", "date": day},
        )
        assert (sol["context_length"], sol["cost"]) == (3_000_000, plain["models"][1]["cost"])
        check_prices(sidecar)
        assert [each.name for each in kept(sidecar.home).parent.iterdir()] == ["models.dev.json"]
    web.seen.clear()
    with online(web, tmp_path) as sidecar:
        check_prices(sidecar)
        assert not web.asked()


def check_prices(sidecar: Program) -> None:
    """Assert that the refresh's prices count where ours are not known, and nowhere else."""
    assert cost(sidecar, f"openai/{LATEST}")["usd"] == "3"
    assert cost(sidecar, f"openai/{LATEST}")["source"] == "models.dev"
    assert cost(sidecar, f"vertex/{UNPRICED}")["usd"] == "0.25"
    for known in ("openai/gpt-6-sol", "openai/gpt-4o"):
        found = cost(sidecar, known)
        assert (found["source"], 0 < float(found["usd"]) < 100) == ("catalogue", True)
    assert cost(sidecar, "vertex/claude-opus-9") == {"usd": None, "reason": "price_unknown"}


@posix_only
def test_what_is_kept_is_the_users_alone(web: Services, tmp_path: Path) -> None:
    with online(web, tmp_path) as sidecar:
        refreshed(sidecar, "replay")
        file = kept(sidecar.home)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_chat_of_a_later_process_knows_what_was_kept(web: Services, tmp_path: Path) -> None:
    with online(web, tmp_path, OPENAI_API_KEY="CANARY-openai") as sidecar:
        refreshed(sidecar)
    web.answer("POST *", Answer(STREAM, headers={"content-type": "text/event-stream"}))
    with online(web, tmp_path, OPENAI_API_KEY="CANARY-openai") as sidecar:
        params = {
            "model": LATEST,
            "messages": [{"role": "user", "content": "Hi"}],
            "options": {"wire": "openai_chat"},
        }
        done = sidecar.ask("stream_chat", params, provider="openai")["data"]
        assert (done["cost"]["usd"], done["cost"]["source"]) == ("0.00275", "models.dev")


FAILURES: list[tuple[Answer, str]] = [
    (document({}, 503), "503"),
    (document({}, 302, location="https://elsewhere.example/"), "302"),
    (Answer(b"<html>Welcome!</html>"), "not a catalogue"),
    (document({"other": {"models": {}}}), "none of our providers"),
    (Answer(b" " * (33 * 1024 * 1024)), "too large"),
    (Answer(b"\x1f\x8b", headers={"content-encoding": "gzip"}), "compressed"),
]


def test_a_refresh_that_fails_is_a_warning_and_what_was_known_stays(web: Services, tmp_path: Path) -> None:
    with online(web, tmp_path, OPENAI_API_KEY="CANARY-openai") as sidecar:
        before = refreshed(sidecar)
        for answer, word in FAILURES:
            web.answer(f"GET {MODELS_DEV}", answer)
            after = refreshed(sidecar)
            assert codes(after) == ["catalogue_not_refreshed"]
            assert word in after["warnings"][0]["message"]
            assert after["models"] == before["models"]
            assert after["catalogue_refreshed_at"] == before["catalogue_refreshed_at"]
        check_prices(sidecar)
        assert not web.asked("*elsewhere*")


def test_many_who_ask_at_once_are_one_request_and_one_who_leaves_spoils_nothing(web: Services, tmp_path: Path) -> None:
    go = threading.Event()

    def later(_: Seen) -> Answer:
        assert go.wait(WAIT_SECONDS)
        return document(CATALOGUE)

    web.answer(f"GET {MODELS_DEV}", later)
    with online(web, tmp_path, OPENAI_API_KEY="CANARY-openai") as sidecar:
        sidecar.allowed.places.append(kept(sidecar.home).parent)
        asked = [sidecar.send("list_models", {"refresh_catalogue": True}, provider="openai") for _ in range(5)]
        web.wait(lambda: any(seen.url == MODELS_DEV for seen in web.seen), "the request for the catalogue")
        assert sidecar.ping() < 0.5
        assert sidecar.ask("cancel", {"id": asked[0]})["data"] == {"found": True}
        assert sidecar.reply(asked[0])["error"]["code"] == "cancelled"
        go.set()
        for each in asked[1:]:
            assert sidecar.reply(each)["data"]["models"][0]["name"] == "GPT-9 Terra"
        web.only(f"GET {MODELS_DEV}")


def test_the_time_of_a_request_limits_its_refresh(web: Services, tmp_path: Path) -> None:
    web.answer(f"GET {MODELS_DEV}", Answer(b"{", stalls=True))
    with online(web, tmp_path, OPENAI_API_KEY="CANARY-openai") as sidecar:
        reply = sidecar.ask("list_models", {"refresh_catalogue": True}, provider="openai", timeout=300)
        assert reply["error"]["code"] == "timeout"


def test_the_catalogue_comes_from_where_the_user_says(services: Services, tmp_path: Path) -> None:
    services.answer(f"GET {services.url}/mirror.json", document(CATALOGUE))
    config = f'[catalogue]\nrefresh_url = "{services.url}/mirror.json"\n'
    with online(services, tmp_path, config) as sidecar:
        refreshed(sidecar, "replay")
        check_prices(sidecar)
    assert [seen.url for seen in services.asked()] == [f"{services.url}/mirror.json"]


def test_a_folder_of_the_users_choice_keeps_it(web: Services, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "kept"
    with online(web, tmp_path, SIDECAR_CACHE_DIR=str(folder)) as sidecar:
        sidecar.allowed.places.append(folder)
        listed(sidecar, "replay", refresh_catalogue=True)
        assert [each.name for each in folder.iterdir()] == ["models.dev.json"]
        assert not kept(sidecar.home).parent.exists()


def corrupt(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def opened(path: Path) -> None:
    path.chmod(0o644)


def linked(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to(path.with_name("other"))


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


@posix_only
@pytest.mark.parametrize("spoil", [corrupt, opened, linked, folder_instead])
def test_what_somebody_else_may_have_put_there_is_not_believed(web: Services, tmp_path: Path, spoil: Any) -> None:
    with online(web, tmp_path) as sidecar:
        refreshed(sidecar, "replay")
        home = sidecar.home
    spoil(kept(home))
    with online(web, tmp_path) as sidecar:
        sidecar.ask("initialize", {"events": ["warnings"]})
        assert cost(sidecar, f"openai/{LATEST}")["reason"] == "model_unknown"
        plain = listed(sidecar, "replay")
        assert codes(plain) == ["catalogue_unusable"]
        assert [event["data"]["code"] for event in sidecar.events] == ["catalogue_unusable"]
        again = refreshed(sidecar, "replay")
        assert cost(sidecar, f"openai/{LATEST}")["usd"] == "3"
        # A folder in its place cannot be replaced by a file; what was fetched counts all the same.
        assert codes(again) == (["catalogue_not_kept"] if spoil is folder_instead else [])
        assert not list(kept(home).parent.glob("*.tmp"))


@pytest.mark.parametrize("day", ["2026-11-19", "2999-01-01"])
def test_what_was_kept_before_our_own_table_was_made_or_by_a_wrong_clock_does_not_count(
    web: Services, tmp_path: Path, day: str
) -> None:
    with online(web, tmp_path) as sidecar:
        refreshed(sidecar, "replay")
        file = kept(sidecar.home)
    content = json.loads(file.read_bytes())
    file.write_text(json.dumps(content | {"fetched_at": f"{day}T12:00:00+00:00"}))
    with online(web, tmp_path) as sidecar:
        assert cost(sidecar, f"openai/{LATEST}")["reason"] == "model_unknown"
        assert codes(listed(sidecar, "replay")) == []
