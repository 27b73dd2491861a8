"""AWS's own chain: which credentials win, when they are asked for again, and what to do when there are none."""

import json
import sys
import threading
from pathlib import Path

import anyio
import msgspec
import pytest
from botocore.exceptions import SSLError

from sidecar.auth import token_cache
from sidecar.auth.memory import Memory
from sidecar.auth.schemes import aws_chain
from sidecar.auth.token_cache import Key
from tests.auth.test_aws import KEYS, call, files, headers, isolated, pair, refusal, signer_of, write
from tests.support.scheme_calls import TokenClock

pytestmark = pytest.mark.long

__all__ = ["files", "isolated"]


async def test_the_default_profile_of_the_files_signs(files: dict[str, str], memory: Memory) -> None:
    write(files, credentials=pair("default", "AKIDFILE"))
    assert signer_of(await headers(call(files, memory=memory))) == "AKIDFILE"


@pytest.mark.parametrize(
    ("env", "profile", "signer"),
    [
        ({}, "work", "AKIDWORK"),
        (KEYS, "work", "AKIDWORK"),
        (KEYS | {"AWS_PROFILE": "work"}, "work", "AKIDENVIRONMENT"),
        ({"AWS_PROFILE": "work"}, "work", "AKIDWORK"),
    ],
    ids=["profile", "a chosen profile before keys", "keys before a profile of the environment", "that profile"],
)
async def test_which_credentials_win(
    files: dict[str, str], env: dict[str, str], profile: str, signer: str, memory: Memory
) -> None:
    write(files, credentials=pair("default", "AKIDFILE") + pair("work", "AKIDWORK"))
    assert signer_of(await headers(call(files | env, profile=profile, memory=memory))) == signer


async def test_chains_are_remembered_for_so_many_profiles(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch, memory: Memory
) -> None:
    write(files, credentials="".join(pair(f"p{number}", "AKIDFILE") for number in range(3)))
    monkeypatch.setattr(token_cache, "MAX_TOKENS", 2)
    for number in (0, 1, 0, 2):
        await headers(call(files, profile=f"p{number}", memory=memory))
    sources = [aws_chain.find_source(call(files, memory=memory, profile=f"p{number}").target) for number in range(3)]
    kept = [memory.tokens.peek(Key("aws", "bedrock", source=source)) is not None for source in sources]
    assert kept == [True, False, True]


async def test_keys_that_another_program_writes_are_seen(
    files: dict[str, str], token_clock: TokenClock, memory: Memory
) -> None:
    write(files, credentials=pair("default", "AKIDOLD"))
    assert signer_of(await headers(call(files, memory=memory))) == "AKIDOLD"
    write(files, credentials=pair("default", "AKIDNEW"))
    assert signer_of(await headers(call(files, memory=memory))) == "AKIDOLD"
    token_clock.pass_by(aws_chain.REREAD_SECONDS)
    assert signer_of(await headers(call(files, memory=memory))) == "AKIDNEW"


def program(tmp_path: Path, source: str) -> str:
    (tmp_path / "program.py").write_text(source)
    return f'credential_process = "{sys.executable}" "{tmp_path / "program.py"}"\n'


@pytest.mark.spawns
async def test_a_program_is_asked_once_for_as_long_as_its_credentials_are_good(
    files: dict[str, str], tmp_path: Path, memory: Memory
) -> None:
    source = (
        "import json, pathlib\n"
        f"with open({str(tmp_path / 'asked')!r}, 'a') as file: file.write('x')\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': 'AKIDPROGRAM', 'SecretAccessKey': 's',"
        " 'SessionToken': 't', 'Expiration': '2099-01-01T00:00:00Z'}))\n"
    )
    write(files, config="[default]\n" + program(tmp_path, source))
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(headers, call(files, memory=memory))
    made = await headers(call(files, memory=memory))
    assert signer_of(made) == "AKIDPROGRAM"
    assert made["x-amz-security-token"] == "t"
    assert (tmp_path / "asked").read_text() == "x"


async def test_the_chain_is_asked_through_boto3(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch, memory: Memory
) -> None:
    from boto3.session import Session

    asked: list[Session] = []
    ask = Session.get_credentials

    def noted(session: Session) -> object:
        asked.append(session)
        return ask(session)

    monkeypatch.setattr(Session, "get_credentials", noted)
    write(files, credentials=pair("work", "AKIDWORK"))
    assert signer_of(await headers(call(files, profile="work", memory=memory))) == "AKIDWORK"
    assert [(session.profile_name, session.region_name) for session in asked] == [("work", "eu-west-1")]


def test_behind_a_proxy_that_reads_tls_the_variable_that_helps_is_named() -> None:
    source = aws_chain.Source(
        profile=None, is_chosen=False, config_file=None, credentials_file=None, instance_metadata=False
    )
    error = SSLError(endpoint_url="https://sts.test", error="untrusted")
    body = aws_chain._explain(error, source).body  # noqa: SLF001 - no request leads there without a network
    assert (body.code, body.reason) == ("network_error", "login")
    assert "AWS_CA_BUNDLE" in (body.hint or "")


@pytest.mark.spawns
async def test_a_program_sees_no_variable_that_may_hold_another_key(
    files: dict[str, str], tmp_path: Path, memory: Memory
) -> None:
    source = (
        "import json, os, pathlib\n"
        f"pathlib.Path({str(tmp_path / 'seen')!r}).write_text(json.dumps(dict(os.environ)))\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': 'AKIDPROGRAM', 'SecretAccessKey': 's'}))\n"
    )
    write(files, config="[default]\n" + program(tmp_path, source))
    foreign = dict.fromkeys(
        ("LAB_KEY", "GW_TOKEN", "AZURE_CLIENT_SECRET", "ANTHROPIC_IDENTITY_TOKEN", "IDENTITY_HEADER", "OPENAI_API_KEY"),
        "CANARY-of-another",
    )
    foreign["GOOGLE_APPLICATION_CREDENTIALS"] = '{"private_key": "CANARY"}'
    kept = {"VAULT_TOKEN": "of the program", "HTTPS_PROXY": "http://user:password@proxy.test:3128"}
    made = call(files | foreign | kept, memory=memory)
    named = frozenset({"LAB_KEY", "GW_TOKEN"})
    made = msgspec.structs.replace(made, target=msgspec.structs.replace(made.target, key_variables=named))
    assert signer_of(await headers(made)) == "AKIDPROGRAM"
    seen = json.loads((tmp_path / "seen").read_text())
    assert "CANARY" not in json.dumps(seen)
    assert kept.items() <= seen.items()


@pytest.mark.spawns
async def test_what_a_program_prints_when_it_fails_is_not_shown(
    files: dict[str, str], tmp_path: Path, memory: Memory
) -> None:
    source = "import sys; sys.exit('the secret is CANARY')\n"
    write(files, config="[profile work]\n" + program(tmp_path, source))
    error = await refusal(call(files, profile="work", memory=memory))
    assert error.body.code == "auth_required"
    assert error.body.hint == "Run `aws sts get-caller-identity --profile work`."
    assert "CANARY" not in repr(error.body)


async def test_a_role_that_asks_for_a_code_does_not_prompt_for_it(files: dict[str, str], memory: Memory) -> None:
    write(files, credentials=pair("base", "AKIDBASE"))
    write(
        files,
        config="[profile admin]\nrole_arn = arn:aws:iam::123456789012:role/admin\nsource_profile = base\n"
        "mfa_serial = arn:aws:iam::123456789012:mfa/ada\n",
    )
    error = await refusal(call(files, profile="admin", memory=memory))
    assert error.body.code == "auth_required"
    assert "code" in error.body.message


SSO = "sso_account_id = 123456789012\nsso_role_name = dev\n"
SSO_START = "sso_region = eu-west-1\nsso_start_url = https://corp.test/start\n"
CONFIGURATIONS = {
    "sso session": (
        f"[profile dev]\nsso_session = corp\n{SSO}[sso-session corp]\n{SSO_START}",
        "Run `aws sso login --profile dev`.",
    ),
    "sso without session": (
        f"[profile dev]\n{SSO}{SSO_START}",
        "Run `aws sso login --profile dev`.",
    ),
    "aws login without its package": (
        "[profile dev]\nlogin_session = arn:aws:iam::123456789012:user/ada\n",
        "Run `pip install 'botocore[crt]'`.",
    ),
    "no such profile": ("[profile other]\n", "Run `aws configure --profile dev`."),
    "half a pair": ("[profile dev]\naws_access_key_id = AKIDHALF\n", "Run `aws configure --profile dev`."),
    "no configuration": ("[profile dev\n", "Run `aws configure list --profile dev`."),
    "nothing in it": ("[profile dev]\noutput = json\n", "Run `aws sso login --profile dev`."),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
async def test_a_login_that_is_missing_is_told_with_the_command_that_mends_it(
    files: dict[str, str], name: str, memory: Memory
) -> None:
    configuration, hint = CONFIGURATIONS[name]
    write(files, config=configuration)
    error = await refusal(call(files, profile="dev", memory=memory))
    assert (error.body.code, error.body.retryable) == ("auth_required", False)
    assert error.body.hint == hint


async def test_a_login_that_was_made_meanwhile_is_found(files: dict[str, str], memory: Memory) -> None:
    assert (await refusal(call(files, memory=memory))).body.code == "auth_required"
    write(files, credentials=pair("default", "AKIDFILE"))
    assert signer_of(await headers(call(files, memory=memory))) == "AKIDFILE"


@pytest.mark.parametrize(("setting", "asked"), [({}, 0), ({"AWS_EC2_METADATA_DISABLED": "false"}, 1)])
async def test_the_machines_own_role_is_asked_for_only_where_the_user_says_so(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch, setting: dict[str, str], asked: int, memory: Memory
) -> None:
    from botocore.utils import InstanceMetadataFetcher

    times: list[object] = []

    def ask(fetcher: object) -> dict[str, str]:
        times.append(fetcher)
        return {}

    monkeypatch.setattr(InstanceMetadataFetcher, "retrieve_iam_role_credentials", ask)
    assert (await refusal(call(files | setting, memory=memory))).body.code == "auth_required"
    assert len(times) == asked


async def test_a_login_out_of_reach_may_be_tried_again(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch, memory: Memory
) -> None:
    from botocore.exceptions import EndpointConnectionError

    def unreachable(*_: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://oidc.test")

    monkeypatch.setattr(aws_chain, "_load", unreachable)
    error = await refusal(call(files, memory=memory))
    assert (error.body.code, error.body.retryable) == ("network_error", True)


async def test_credentials_that_hang_hold_one_thread_and_no_request_for_longer_than_the_limit(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch, memory: Memory
) -> None:
    release, threads = threading.Event(), list[None]()

    def hang(*_: object) -> None:
        threads.append(None)
        release.wait(30)

    monkeypatch.setattr(aws_chain, "_load", hang)
    monkeypatch.setattr(aws_chain, "LIMIT_SECONDS", 0.05)
    try:
        for _ in range(3):
            error = await refusal(call(files, profile="slow", memory=memory))
            assert (error.body.code, error.body.reason) == ("auth_required", "timeout")
            assert error.body.hint == "Run `aws sts get-caller-identity --profile slow`."
        assert len(threads) == 1
    finally:
        release.set()
