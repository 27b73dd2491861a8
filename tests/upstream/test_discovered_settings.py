"""Settings that nobody has given, as the machine's own tools and credentials know them."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.auth.test_google_logins import CHATS, LOGINS, MODEL, TOKENS, chat, place_of, token, written
from tests.support.fake_services import Answer, Services, document
from tests.support.google_files import USER, service_account
from tests.support.in_process import PING_SECONDS, online
from tests.support.lines import Object
from tests.support.program import Program
from tests.support.provider_rows import params, text_of

# --- gcloud's configuration ------------------------------------------------------------------

GCLOUD = "[core]\nproject = set-1\n[compute]\nregion = asia-east1\n[ai]\nregion = europe-west1\n"
ENV_TOKEN = {"VERTEX_ACCESS_TOKEN": "CANARY-token"}


def gcloud(folder: Path, text: str = GCLOUD, name: str = "default", active: str | None = None) -> dict[str, str]:
    """Write a configuration of gcloud's and return the environment that names its folder."""
    place = folder / "gcloud" / "configurations"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"config_{name}").write_text(text, encoding="utf-8")
    if active is not None:
        (folder / "gcloud" / "active_config").write_text(active, encoding="utf-8")
    return {"CLOUDSDK_CONFIG": str(folder / "gcloud")}


def login(folder: Path) -> dict[str, str]:
    """Add what `gcloud auth application-default login` writes to gcloud's folder."""
    (folder / "gcloud").mkdir(exist_ok=True)
    (folder / "gcloud" / "application_default_credentials.json").write_text(json.dumps(USER), encoding="utf-8")
    return {"CLOUDSDK_CONFIG": str(folder / "gcloud")}


Making = Callable[[Path], dict[str, str]]
PLACES: dict[str, tuple[Making, tuple[str, str]]] = {
    "gcloud": (gcloud, ("set-1", "europe-west1")),
    "gcloud, with a region for machines alone": (
        lambda folder: gcloud(folder, "[core]\nproject = set-1\n[compute]\nregion = us-east5\n"),
        ("set-1", "global"),
    ),
    "the configuration that is active": (
        lambda folder: gcloud(folder) | gcloud(folder, "[core]\nproject = work-1\n", name="work", active="work\n"),
        ("work-1", "global"),
    ),
    "the configuration that is named": (
        lambda folder: (
            gcloud(folder, active="default")
            | gcloud(folder, "[core]\nproject = work-1\n", name="work")
            | {"CLOUDSDK_ACTIVE_CONFIG_NAME": "work"}
        ),
        ("work-1", "global"),
    ),
    "gcloud's own variables": (
        lambda folder: gcloud(folder) | {"CLOUDSDK_CORE_PROJECT": "ci-1", "CLOUDSDK_AI_REGION": "asia-east1"},
        ("ci-1", "asia-east1"),
    ),
    "gcloud before the login's": (
        lambda folder: gcloud(folder) | login(folder) | {"VERTEX_ACCESS_TOKEN": ""},
        ("set-1", "europe-west1"),
    ),
    "a file that is named before gcloud": (
        lambda folder: gcloud(folder) | written(folder, service_account()) | {"VERTEX_ACCESS_TOKEN": ""},
        ("p", "europe-west1"),
    ),
    "the variables before all": (
        lambda folder: (
            gcloud(folder)
            | written(folder, service_account())
            | {"GOOGLE_CLOUD_PROJECT": "env-1", "GOOGLE_CLOUD_LOCATION": "us-central1", "VERTEX_ACCESS_TOKEN": ""}
        ),
        ("env-1", "us-central1"),
    ),
}


def ready(services: Services) -> None:
    services.answer(CHATS, text_of("gemini"))
    services.answer(TOKENS, token())
    services.answer(LOGINS, token())


@pytest.mark.long
@pytest.mark.parametrize("name", PLACES)
def test_project_and_location_are_found(services: Services, tmp_path: Path, name: str) -> None:
    making, expected = PLACES[name]
    ready(services)
    with online(services, tmp_path, **ENV_TOKEN | making(tmp_path)) as sidecar:
        assert chat(sidecar)["success"]
    assert place_of(services.only(CHATS)) == expected


def test_a_place_that_is_found_has_its_price_too(services: Services, tmp_path: Path) -> None:
    ready(services)
    model = "gemini-3.1-flash-lite"
    with online(services, tmp_path, **ENV_TOKEN, **gcloud(tmp_path)) as sidecar:
        asked: Object = {"model": model, "usage": {"input_tokens": 1_000_000, "output_tokens": 0}}
        here = sidecar.ask("calculate_cost", asked, provider="vertex")["data"]["usd"]
        said = sidecar.ask("calculate_cost", asked | {"settings": {"location": "global"}}, provider="vertex")
        assert not services.asked()
        assert float(here) == pytest.approx(1.1 * float(said["data"]["usd"]))
        given = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        done = sidecar.ask("generate", given, provider="vertex")["data"]
        priced = sidecar.ask("calculate_cost", {"model": model, "usage": done["usage"]}, provider="vertex")["data"]
        assert done["cost"]["usd"] == priced["usd"]


def test_the_request_and_the_configuration_go_before_what_is_found(services: Services, tmp_path: Path) -> None:
    ready(services)
    config = '[providers.vertex]\nproject = "conf-1"\n'
    with online(services, tmp_path, config, **ENV_TOKEN, **gcloud(tmp_path)) as sidecar:
        assert chat(sidecar)["success"]
        assert chat(sidecar, settings={"project": "asked-1", "location": "global"})["success"]
    assert [place_of(seen) for seen in services.asked(CHATS)] == [("conf-1", "europe-west1"), ("asked-1", "global")]


BROKEN = {
    "nothing": {},
    "no ini": {"text": "[core\nproject = x"},
    "no text": {"text": "\x00\udcff"},
    "another folder": {"active": "../../evil"},
    "no such configuration": {"active": "gone"},
}


@pytest.mark.parametrize("name", BROKEN)
def test_where_nothing_is_found_the_error_says_what_to_set(services: Services, tmp_path: Path, name: str) -> None:
    env = gcloud(tmp_path, "[core]\n")
    if text := BROKEN[name].get("text"):
        file = tmp_path / "gcloud" / "configurations" / "config_default"
        file.write_bytes(text.encode(errors="surrogateescape"))
    if active := BROKEN[name].get("active"):
        (tmp_path / "evil").write_text(GCLOUD, encoding="utf-8")
        (tmp_path / "gcloud" / "active_config").write_text(active, encoding="utf-8")
    with online(services, tmp_path, **ENV_TOKEN, **env) as sidecar:
        error = chat(sidecar)["error"]
        assert (error["code"], error["param"]) == ("invalid_request", "params.settings.project")
        assert "GOOGLE_CLOUD_PROJECT" in error["hint"]
        # The user runs `gcloud config set project`.
        gcloud(tmp_path, active="default")
        services.answer(CHATS, text_of("gemini"))
        assert chat(sidecar)["success"]
    assert place_of(services.only(CHATS))[0] == "set-1"


def test_the_metadata_server_says_the_project_where_the_environment_names_one(
    services: Services, tmp_path: Path
) -> None:
    ready(services)
    root = f"http://127.0.0.1:{services.port}/computeMetadata/v1"
    services.answer(f"GET {root}/project/project-id", Answer(b"cloud-1"))
    services.answer(f"GET {root}/instance/service-accounts/default/token*", token())
    with online(services, tmp_path, GCE_METADATA_HOST=f"127.0.0.1:{services.port}") as sidecar:
        for _ in range(2):
            assert chat(sidecar)["success"]
    assert services.only(f"GET {root}/project/*").headers["metadata-flavor"] == "Google"
    assert place_of(services.asked(CHATS)[0]) == ("cloud-1", "global")


def test_a_metadata_server_that_says_nothing_is_given_up(services: Services, tmp_path: Path) -> None:  # F22
    services.answer("GET *", Answer(stalls=True))
    with online(services, tmp_path, GCE_METADATA_HOST=f"127.0.0.1:{services.port}") as sidecar:
        began = time.monotonic()
        request_id = sidecar.send("stream_chat", params(model=MODEL), provider="vertex")
        services.wait(lambda: bool(services.seen), "the question")
        assert sidecar.ping() < PING_SECONDS
        assert sidecar.reply(request_id)["error"]["code"] == "auth_required"
        assert time.monotonic() - began < 5


def test_a_key_needs_no_project_and_nothing_is_asked_for_one(services: Services, tmp_path: Path) -> None:
    ready(services)
    services.answer("GET *", Answer(b"cloud-1"))
    with online(services, tmp_path, GCE_METADATA_HOST=f"127.0.0.1:{services.port}", **gcloud(tmp_path)) as sidecar:
        assert chat(sidecar, api_key="CANARY-key")["success"]
    assert services.only().url == (
        f"https://aiplatform.googleapis.com/v1beta1/publishers/google/models/{MODEL}:streamGenerateContent?alt=sse"
    )


def test_fallbacks_counts_and_lists_find_them_too(services: Services, tmp_path: Path) -> None:
    ready(services)
    services.answer("GET https://europe-west1-aiplatform.googleapis.com/*", document({"publisherModels": []}))
    counts = "POST https://europe-west1-aiplatform.googleapis.com/*:countTokens"
    services.answer(counts, document({"totalTokens": 5}))
    with online(services, tmp_path, **ENV_TOKEN, **gcloud(tmp_path)) as sidecar:
        count = {"model": MODEL, "text": "Hi", "exact": True}
        assert sidecar.ask("count_tokens", count, provider="vertex")["data"]["tokens"] == 5
        assert place_of(services.only(counts)) == ("set-1", "europe-west1")
        assert sidecar.ask("list_models", provider="vertex")["success"]
        assert sidecar.ask("authenticate", {"op": "validate"}, provider="vertex")["data"]["valid"]
        assert {seen.url.split("/")[2] for seen in services.asked("GET *")} == {
            "europe-west1-aiplatform.googleapis.com"
        }
        preset = params(model="nowhere", api_key="CANARY-key", options={"fallbacks": [f"vertex/{MODEL}"]})
        services.answer("POST https://api.openai.com/*", document({"error": {"message": "no such model"}}, 404))
        assert sidecar.ask("stream_chat", preset, provider="openai")["success"]
        chosen = params(model=MODEL, method="restart")
        assert sidecar.ask("resume", chosen, provider="vertex")["success"]
    assert {place_of(seen) for seen in services.asked(CHATS)} == {("set-1", "europe-west1")}


# --- AWS's files -----------------------------------------------------------------------------

BEDROCK = "anthropic.claude-x-v1:0"
BEARER = {"AWS_BEARER_TOKEN_BEDROCK": "CANARY-bearer"}
PROFILES = "[default]\nregion = eu-west-1\n[profile work]\nregion = us-west-2\n[profile bare]\noutput = json\n"


def aws(folder: Path, config: str = PROFILES, credentials: str = "") -> dict[str, str]:
    """Write AWS's two files and return the environment that names them."""
    (folder / "config").write_text(config, encoding="utf-8")
    (folder / "credentials").write_text(credentials, encoding="utf-8")
    return {
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
    }


def converse(sidecar: Program, **more: Any) -> Object:
    return sidecar.ask("stream_chat", params(model=BEDROCK, **more), provider="bedrock")


def region_of(services: Services) -> str:
    """Return the region that was asked last."""
    host = services.asked("POST *")[-1].url.split("/")[2]
    return host.removeprefix("bedrock-runtime.").removesuffix(".amazonaws.com")


@pytest.mark.long
@pytest.mark.parametrize(
    ("env", "settings", "region"),
    [
        ({}, {}, "eu-west-1"),
        ({"AWS_PROFILE": "work"}, {}, "us-west-2"),
        ({"AWS_DEFAULT_PROFILE": "work"}, {}, "us-west-2"),
        ({"AWS_PROFILE": "work"}, {"profile": "default"}, "eu-west-1"),
        ({}, {"profile": "work"}, "us-west-2"),
        ({"AWS_DEFAULT_REGION": "ap-south-1"}, {"profile": "work"}, "ap-south-1"),
        ({"AWS_REGION": "ap-east-1", "AWS_DEFAULT_REGION": "ap-south-1"}, {"profile": "work"}, "ap-east-1"),
        ({"AWS_REGION": "ap-east-1"}, {"region": "sa-east-1"}, "sa-east-1"),
    ],
)
def test_the_region_is_the_profiles_where_nobody_gives_one(
    services: Services, tmp_path: Path, env: dict[str, str], settings: Object, region: str
) -> None:
    services.answer("*", text_of("bedrock_converse"))
    with online(services, tmp_path, **BEARER, **aws(tmp_path), **env) as sidecar:
        assert converse(sidecar, settings=settings)["success"]
    assert region_of(services) == region


def test_the_usual_files_are_read_and_that_of_credentials_goes_first(services: Services, tmp_path: Path) -> None:
    services.answer("*", text_of("bedrock_converse"))
    folder = tmp_path / "home" / ".aws"
    folder.mkdir(parents=True)
    aws(folder, PROFILES, "[work]\nregion = eu-north-1\n")
    with online(services, tmp_path, **BEARER) as sidecar:
        assert converse(sidecar)["success"]
        assert region_of(services) == "eu-west-1"
        assert converse(sidecar, settings={"profile": "work"})["success"]
        assert region_of(services) == "eu-north-1"


@pytest.mark.parametrize("config", ["[profile bare]\n", "[default\n", "region = eu-west-1", "[default]\nregion =\n"])
def test_a_profile_without_a_region_is_told_and_mended_without_a_restart(
    services: Services, tmp_path: Path, config: str
) -> None:
    services.answer("*", text_of("bedrock_converse"))
    with online(services, tmp_path, **BEARER, **aws(tmp_path, config)) as sidecar:
        error = converse(sidecar)["error"]
        assert (error["code"], error["param"]) == ("invalid_request", "params.settings.region")
        assert "AWS_REGION" in error["hint"]
        aws(tmp_path)
        assert converse(sidecar)["success"]
    assert region_of(services) == "eu-west-1"


def test_a_key_can_be_stored_and_tried_with_the_region_of_a_profile(services: Services, tmp_path: Path) -> None:
    services.answer("GET *", document({"modelSummaries": [], "inferenceProfileSummaries": []}))
    env = {"SIDECAR_STORE_DIR": str(tmp_path / "store"), "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    with online(services, tmp_path, **aws(tmp_path), **env) as sidecar:
        login = {"op": "login", "api_key": "CANARY-stored"}
        assert sidecar.ask("authenticate", login, provider="bedrock")["success"]
        assert sidecar.ask("authenticate", {"op": "validate"}, provider="bedrock")["data"]["valid"]
        assert sidecar.ask("list_models", provider="bedrock")["success"]
    assert {seen.url.split("/")[2] for seen in services.asked()} == {"bedrock.eu-west-1.amazonaws.com"}
