"""What gcloud's configuration and a document of credentials know of a project and a location."""

from pathlib import Path
from typing import Any

import pytest

from sidecar.auth.schemes import google_settings
from tests.support.google_files import EXTERNAL, USER, service_account

IMPERSONATION = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{}:generateAccessToken"
POOL = "//iam.googleapis.com/projects/{}/locations/global/workloadIdentityPools/pool/providers/p"


def robot(account: str, **more: str) -> dict[str, Any]:
    url = IMPERSONATION.format(account)
    return {"type": "impersonated_service_account", "service_account_impersonation_url": url} | more


@pytest.mark.parametrize(
    ("info", "project"),
    [
        (service_account(), "p"),
        (service_account() | {"project_id": ""}, None),
        (service_account() | {"project_id": 7}, None),
        (USER, "payer"),
        ({"type": "authorized_user"}, None),
        (robot("robot@robots-1.iam.gserviceaccount.com", quota_project_id="payer"), "payer"),
    ],
)
def test_the_project_in_a_document(info: dict[str, Any], project: str | None) -> None:
    assert google_settings.read_project(info) == project


@pytest.mark.parametrize(
    ("account", "project"),
    [
        ("robot@robots-1.iam.gserviceaccount.com", "robots-1"),
        ("123-compute@developer.gserviceaccount.com", None),
        ("robot@evil.example/x.iam.gserviceaccount.com", None),
        ("", None),
    ],
)
def test_the_project_of_an_account(account: str, project: str | None) -> None:
    assert google_settings.read_account_project(robot(account)) == project


@pytest.mark.parametrize(
    ("more", "number"),
    [
        ({"audience": POOL.format("123456")}, "123456"),
        ({"audience": POOL.format("../1")}, None),
        ({"audience": "//iam.googleapis.com/locations/global/workforcePools/p/providers/q"}, None),
        ({"audience": "//iam.test/workforce", "workforce_pool_user_project": "99"}, "99"),
        ({"audience": 7}, None),
        ({"audience": POOL.format("1"), "type": "external_account_authorized_user"}, None),
    ],
)
def test_the_number_of_a_pools_project(more: dict[str, Any], number: str | None) -> None:
    assert google_settings.read_project_number(EXTERNAL | more) == number


def test_the_number_is_that_of_the_library() -> None:
    from google.auth import identity_pool

    info = EXTERNAL | {"audience": POOL.format("123456"), "credential_source": {"file": "/nowhere"}}
    assert google_settings.read_project_number(info) == identity_pool.Credentials.from_info(info).project_number


def configured(folder: Path, text: str, name: str = "default") -> dict[str, str]:
    place = folder / "configurations"
    place.mkdir(exist_ok=True)
    (place / f"config_{name}").write_text(text, encoding="utf-8")
    return {"CLOUDSDK_CONFIG": str(folder)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[core]\nproject = a-1\n", {"core/project": "a-1"}),
        ("[core]\nproject=a-1\n[ai]\nregion=x\n[compute]\nregion=y\nzone=z\n", "all"),
        ("[core]\nproject = a%(b)s\n", {"core/project": "a%(b)s"}),
        ("[core]\nproject =\n", {}),
        ("[core]\nproject = a-1\nproject = b-1\n", {"core/project": "b-1"}),
        ("", {}),
        ("project = a-1\n", {}),
    ],
)
def test_gclouds_configuration(tmp_path: Path, text: str, said: Any) -> None:
    everything = {"core/project": "a-1", "ai/region": "x"}
    assert google_settings.read_gcloud(configured(tmp_path, text)) == (everything if said == "all" else said)


@pytest.mark.parametrize("name", ["a/../../evil", "UP", "a/b", "", ".", "a" * 65, "NONE"])
def test_a_name_that_is_none_leads_to_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "configurations" / "config_a").mkdir(parents=True)
    (tmp_path / "evil").write_text("[core]\nproject = evil-1\n", encoding="utf-8")
    (tmp_path / "active_config").write_text(name, encoding="utf-8")
    env = {"CLOUDSDK_CONFIG": str(tmp_path)}
    assert google_settings.read_gcloud(env) == {}
    assert google_settings.read_gcloud(env | {"CLOUDSDK_ACTIVE_CONFIG_NAME": name}) == {}


def test_no_more_of_a_file_is_read_than_a_configuration_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_settings, "MAX_FILE_BYTES", 21)
    env = configured(tmp_path, "[core]\nproject = a-1\n\n[ai]\nregion = x\n")
    assert google_settings.read_gcloud(env) == {"core/project": "a-1"}


def test_without_a_home_nothing_is_read() -> None:
    assert google_settings.read_gcloud({}) == {}
