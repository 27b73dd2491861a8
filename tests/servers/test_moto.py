"""AWS's login service as moto has it: roles whose keys sign a request."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.running import ask, chat, find_program, free_port, listening, running

MODEL = "anthropic.claude-haiku-4-5-20251001-v1:0"

PROFILES = """\
[profile base]
aws_access_key_id = AKIACANARY0000000000
aws_secret_access_key = CANARY/of/the/base/profile/00000000000000
region = eu-west-1

[profile role]
role_arn = arn:aws:iam::123456789012:role/dev
source_profile = base
region = eu-west-1
"""


@pytest.fixture(scope="module")
def sts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    program = find_program("moto", "moto_server")
    with running([program, "-H", "127.0.0.1", "-p", str(port)], port, tmp_path_factory.mktemp("moto")):
        yield f"http://127.0.0.1:{port}"


def write_profiles(home: Path) -> dict[str, str]:
    (home / ".aws").mkdir()
    (home / ".aws/config").write_text(PROFILES, encoding="utf-8")
    return {"AWS_CONFIG_FILE": str(home / ".aws/config")}


@pytest.mark.parametrize("how", ["variable", "setting"])
def test_a_role_of_a_profile_signs_with_its_own_keys(sts: str, tmp_path: Path, how: str) -> None:
    env = write_profiles(tmp_path) | {"AWS_ENDPOINT_URL_STS": sts}
    with listening() as (port, seen):
        config = f'[providers.bedrock]\nbase_url = "http://127.0.0.1:{port}"\n'
        if how == "variable":
            env["AWS_PROFILE"] = "role"
        else:
            config += 'profile = "role"\n'
        ends = ask(tmp_path, [chat(1, MODEL, "bedrock")], config, **env, SIDECAR_MAX_ATTEMPTS="1")
    assert len(seen) == 1, ends
    assert "Credential=ASIA" in seen[0]["authorization"]
    assert "/eu-west-1/bedrock/aws4_request" in seen[0]["authorization"]
    assert seen[0]["x-amz-security-token"]
    assert "CANARY" not in str(ends)


def test_a_web_identity_signs_with_the_keys_of_its_role(sts: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("CANARY.web.identity", encoding="utf-8")
    env = {
        "AWS_ENDPOINT_URL_STS": sts,
        "AWS_REGION": "eu-west-1",
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/web",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
    }
    with listening() as (port, seen):
        config = f'[providers.bedrock]\nbase_url = "http://127.0.0.1:{port}"\n'
        ends = ask(tmp_path, [chat(1, MODEL, "bedrock")], config, **env, SIDECAR_MAX_ATTEMPTS="1")
    assert len(seen) == 1, ends
    assert "Credential=ASIA" in seen[0]["authorization"]


def test_without_a_login_service_the_error_says_so(tmp_path: Path) -> None:
    env = write_profiles(tmp_path) | {
        "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{free_port()}",
        "AWS_PROFILE": "role",
        "AWS_MAX_ATTEMPTS": "1",
    }
    ends = ask(tmp_path, [chat(1, MODEL, "bedrock")], **env, SIDECAR_MAX_ATTEMPTS="1")
    assert ends[1]["error"]["code"] == "network_error"
    assert ends[1]["error"]["reason"] == "login"
