"""Amazon Bedrock through the whole process: bearer and signature, inference profiles, cancelling, threads."""

import re
import time
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support import process_probes
from tests.support.fake_services import Answer, Seen, Services, document
from tests.support.listening_services import online
from tests.support.process import Sidecar
from tests.support.provider_rows import case_of, check_chunks, params, secrets, text_of

CANCELLED_SECONDS = 0.25
"""How soon a connection is closed once its request is cancelled."""

STREAMS = 100

MODEL = "anthropic.claude-x-v1:0"
RUNTIME = "https://bedrock-runtime.eu-west-1.amazonaws.com"
CONTROL = "https://bedrock.eu-west-1.amazonaws.com"
BEARER = {"AWS_BEARER_TOKEN_BEDROCK": "CANARY-bearer", "AWS_REGION": "eu-west-1"}
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAMADEUP",
    "AWS_SECRET_ACCESS_KEY": "CANARY-secret",
    "AWS_SESSION_TOKEN": "made-up-session",
    "AWS_REGION": "eu-west-1",
}


def check_signature(seen: Seen) -> None:
    """Assert that botocore itself signs what came in the same way."""
    given = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=AKIAMADEUP/(\d{8})/eu-west-1/bedrock/aws4_request, "
        r"SignedHeaders=([\w;-]+), Signature=\w{64}",
        seen.headers["authorization"],
    )
    assert given
    at = seen.headers["x-amz-date"]
    assert at.startswith(given[1])
    assert {"host", "x-amz-date", "x-amz-security-token"} <= set(given[2].split(";"))
    signed = {name: seen.headers[name] for name in given[2].split(";") if name not in ("host", "x-amz-date")}
    request = AWSRequest(method=seen.method, url=seen.url, data=seen.body, headers=signed)
    signer = SigV4Auth(Credentials("AKIAMADEUP", "CANARY-secret", "made-up-session"), "bedrock", "eu-west-1")
    request.context["timestamp"] = at
    request.headers["X-Amz-Date"] = at
    names = signer.headers_to_sign(request)
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    assert signer.signed_headers(names) == given[2]
    assert seen.headers["authorization"].endswith(signature)


@pytest.mark.parametrize(
    "model", [MODEL, "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-x-v1:0"]
)
def test_keys_of_the_environment_sign_as_the_sdk_does(services: Services, tmp_path: Path, model: str) -> None:
    services.answer("POST *", text_of("bedrock_converse"))
    with online(services, tmp_path, **KEYS) as sidecar:
        lines = sidecar.stream(sidecar.send("stream_chat", params(model=model), provider="bedrock"))
    check_chunks(lines, case_of("bedrock_converse"))
    seen = services.only()
    assert seen.url == f"{RUNTIME}/model/{model.replace(':', '%3A').replace('/', '%2F')}/converse-stream"
    check_signature(seen)
    assert not secrets(seen)


def test_the_list_of_models_is_signed_too(services: Services, tmp_path: Path) -> None:
    services.answer("GET *", document({"modelSummaries": [], "inferenceProfileSummaries": []}))
    with online(services, tmp_path, **KEYS) as sidecar:
        assert sidecar.ask("list_models", provider="bedrock")["success"]
    for seen in services.asked():
        check_signature(seen)
    assert [seen.url for seen in services.asked()] == [
        f"{CONTROL}/foundation-models",
        f"{CONTROL}/inference-profiles?maxResults=1000",
    ]


def test_a_bearer_key_goes_before_a_pair_of_keys(services: Services, tmp_path: Path) -> None:
    services.answer("*", text_of("bedrock_converse"))
    with online(services, tmp_path, **KEYS, AWS_BEARER_TOKEN_BEDROCK="CANARY-bearer") as sidecar:
        assert sidecar.ask("stream_chat", params(model=MODEL), provider="bedrock")["success"]
    headers = services.only().headers
    assert headers["authorization"] == "Bearer CANARY-bearer"
    assert not [name for name in headers if name.startswith("x-amz")]


def test_without_any_credential_a_login_is_asked_for(services: Services, tmp_path: Path) -> None:
    with online(services, tmp_path, AWS_REGION="eu-west-1") as sidecar:
        error = sidecar.ask("stream_chat", params(model=MODEL), provider="bedrock")["error"]
    assert error["code"] == "auth_required"
    assert "aws sso login" in error["hint"]
    assert not services.asked()


def test_a_model_that_needs_an_inference_profile_is_asked_through_one(services: Services, tmp_path: Path) -> None:
    refusal = {
        "message": f"Invocation of model ID {MODEL} with on-demand throughput isn\u2019t supported. "
        "Retry your request with the ID or ARN of an inference profile that contains this model."
    }
    arn = "arn:aws:bedrock:{region}::foundation-model/" + MODEL
    profiles = [
        {
            "inferenceProfileId": f"{prefix}.{MODEL}",
            "status": "ACTIVE",
            "type": "SYSTEM_DEFINED",
            "models": [{"modelArn": arn.format(region=region)}],
        }
        for prefix, region in (("global", ""), ("us", "us-east-1"), ("eu", "eu-west-1"))
    ]
    services.answer(f"POST {RUNTIME}/model/*", text_of("bedrock_converse"))
    services.answer(f"POST {RUNTIME}/model/anthropic*", document(refusal, 400, x_amzn_errortype="ValidationException"))
    services.answer(f"GET {CONTROL}/inference-profiles*", document({"inferenceProfileSummaries": profiles}))
    with online(services, tmp_path, **BEARER) as sidecar:
        done = sidecar.ask("stream_chat", params(model=MODEL), provider="bedrock")
        assert done["success"], done
    assert [seen.path for seen in services.asked()] == [
        f"/model/{MODEL.replace(':', '%3A')}/converse-stream",
        "/inference-profiles",
        f"/model/eu.{MODEL.replace(':', '%3A')}/converse-stream",
    ]


def begun() -> Answer:
    """Return the recorded answer without its end."""
    whole = text_of("bedrock_converse")
    first, second = (
        int.from_bytes(whole.body[at : at + 4], "big") for at in (0, int.from_bytes(whole.body[:4], "big"))
    )
    return Answer(whole.body[: first + second], headers=whole.headers, stalls=True)


def test_a_cancelled_stream_is_closed_at_once(services: Services, tmp_path: Path) -> None:
    services.answer("*", begun())
    env = BEARER | {"SIDECAR_BEDROCK_BASE_URL": services.url}
    with online(services, tmp_path, **env) as sidecar:
        request_id = sidecar.send("stream_chat", params(model=MODEL), provider="bedrock")
        sidecar.chunk(request_id, 1)
        seen = services.only()
        start = time.monotonic()
        assert sidecar.ask("cancel", {"id": request_id})["data"] == {"found": True}
        assert sidecar.reply(request_id)["error"]["code"] == "cancelled"
        services.wait(lambda: seen.closed_at is not None, "the end of the connection")
        assert seen.closed_at is not None
        assert seen.closed_at - start <= CANCELLED_SECONDS


@process_probes.linux_only
@pytest.mark.parametrize("env", [BEARER, KEYS], ids=["bearer", "signed"])
def test_a_hundred_streams_need_one_more_thread_at_most(
    services: Services, tmp_path: Path, env: dict[str, str]
) -> None:
    services.answer("*", begun())
    with online(services, tmp_path, **env, SIDECAR_BEDROCK_BASE_URL=services.url) as sidecar:
        # The first makes the client and asks the chain.
        sidecar.chunk(sidecar.send("stream_chat", params(model=MODEL), provider="bedrock", id="first"), 1)
        before = threads(sidecar)
        ids = [sidecar.send("stream_chat", params(model=MODEL), provider="bedrock") for _ in range(STREAMS)]
        for request_id in ids:
            sidecar.chunk(request_id, 1)
        assert threads(sidecar) - before <= 1
        for request_id in (*ids, "first"):
            sidecar.send("cancel", {"id": request_id})
            assert sidecar.reply(request_id)["error"]["code"] == "cancelled"
    assert len(services.asked()) == STREAMS + 1


def threads(sidecar: Sidecar) -> int:
    return len(list(Path(f"/proc/{sidecar.process.pid}/task").iterdir()))
