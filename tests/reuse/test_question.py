"""What makes two questions the same."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.options import Options, ResponseFormat
from sidecar.catalogue.provider_rows import read_providers
from sidecar.core.http import HttpRequest
from sidecar.core.secret import Secret
from sidecar.providers.values import Target
from sidecar.reuse.question import Question, hash_question
from sidecar.wires.shared.types import Route

REQUEST = HttpRequest(method="POST", url="https://a.example/v1", headers={"x": "1"}, body=b"{}")
ROUTE = Route(provider="openai", wire="openai_chat", model="m", base_url="https://a.example")


def target(*keys: str, **changes: Any) -> Target:
    secrets = tuple(Secret(key, "configuration") for key in keys)
    route = msgspec.structs.replace(ROUTE, **changes)
    row = read_providers()["openai"]
    return Target(row=row, route=route, credential=secrets[0] if secrets else None, keys=secrets, list_base_url="")


SAME = hash_question(target("k"), REQUEST, Options())


def test_the_same_question_has_the_same_digest_in_any_request() -> None:
    seeded = target("k", seed="another_")
    assert hash_question(seeded, msgspec.structs.replace(REQUEST), Options(max_tokens=5)) == SAME
    assert hash_question(target("k", "l"), REQUEST, Options()) == hash_question(target("l", "k"), REQUEST, Options())


@pytest.mark.parametrize(
    "digest",
    [
        hash_question(target("other"), REQUEST, Options()),
        hash_question(target(), REQUEST, Options()),
        hash_question(target("k", "l"), REQUEST, Options()),
        hash_question(target("k", provider="azure"), REQUEST, Options()),
        hash_question(target("k", wire="openai_responses"), REQUEST, Options()),
        hash_question(target("k", settings={"region": "eu"}), REQUEST, Options()),
        hash_question(target("k"), msgspec.structs.replace(REQUEST, url="https://b.example/v1"), Options()),
        hash_question(target("k"), msgspec.structs.replace(REQUEST, headers={"x": "2"}), Options()),
        hash_question(target("k"), msgspec.structs.replace(REQUEST, body=b"{ }"), Options()),
        hash_question(target("k"), REQUEST, Options(token_limit=9)),
        hash_question(target("k"), REQUEST, Options(response_format=ResponseFormat(type="json"))),
    ],
)
def test_whatever_differs_makes_another_question(digest: bytes) -> None:
    assert digest != SAME


@given(st.text(max_size=20), st.text(max_size=20), st.binary(max_size=8), st.binary(max_size=8))
def test_no_two_scopes_share_a_key(one: str, other: str, digest: bytes, other_digest: bytes) -> None:
    keys = {Question(each, scope).make_key(b"salt") for each, scope in ((digest, one), (other_digest, other))}
    assert len(keys) == (1 if (digest, one) == (other_digest, other) else 2)
    assert Question(digest, one).make_key(b"pepper") not in keys
