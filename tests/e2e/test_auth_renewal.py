"""A machine's own login that is refused: one new token for all who were refused, one more try each, and no storm."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.e2e import test_auth_anthropic, test_auth_azure, test_auth_openai
from tests.e2e.test_vertex import movable
from tests.support.fake_services import Answer, Seen, Services, document
from tests.support.listening_services import online
from tests.support.logins import SESSIONS, TOKEN, Held
from tests.support.process import Sidecar
from tests.support.provider_rows import params, text_of

MANY = 20
REFUSED = document({"error": {"message": "Unauthorized"}}, 401)


class Scheme(msgspec.Struct, frozen=True):
    """How one provider's login is asked for a token."""

    provider: str
    wire: str
    tokens: str
    chats: str
    env: dict[str, str]


SCHEMES = [
    Scheme(
        "anthropic", "anthropic_messages", test_auth_anthropic.TOKENS, test_auth_anthropic.CHATS,
        test_auth_anthropic.WORKLOAD,
    ),
    Scheme("openai", "openai_chat", test_auth_openai.TOKENS, test_auth_openai.CHATS, test_auth_openai.IDENTITY),
    Scheme(
        "azure", "openai_chat", test_auth_azure.ENTRA, test_auth_azure.CHATS,
        test_auth_azure.RESOURCE | test_auth_azure.SECRET,
    ),
]  # fmt: skip


@pytest.fixture(params=SCHEMES, ids=lambda scheme: scheme.provider)
def scheme(request: pytest.FixtureRequest, tmp_path: Path) -> Scheme:
    """Return each scheme, with the file that a workload's own token is in."""
    (tmp_path / "subject").write_text("CANARY-subject", encoding="utf-8")
    found: Scheme = request.param
    return msgspec.structs.replace(found, env=found.env | {"OPENAI_IDENTITY_TOKEN_FILE": str(tmp_path / "subject")})


def granted(number: int) -> Answer:
    """Return the answer with a token."""
    return document({"access_token": f"CANARY-token-{number}", "expires_in": 3600, "token_type": "Bearer"})


def only_for(scheme: Scheme, *tokens: int) -> Callable[[Seen], Answer]:
    """Return a chat for those who come with one of the tokens, a refusal for all others."""
    good = {f"Bearer CANARY-token-{number}" for number in tokens}

    def answer(seen: Seen) -> Answer:
        return text_of(scheme.wire) if seen.headers["authorization"] in good else REFUSED

    return answer


def ids(sidecar: Sidecar, scheme: Scheme, count: int) -> list[object]:
    """Send chats at once and return their ids."""
    return [sidecar.send("stream_chat", params(), provider=scheme.provider) for _ in range(count)]


def codes(sidecar: Sidecar, sent: list[object]) -> list[str | None]:
    """Return the error codes of the chats, None for those that went well."""
    replies = [sidecar.reply(each, 60) for each in sent]
    return [None if reply["success"] else reply["error"]["code"] for reply in replies]


def test_many_refusals_are_one_new_token(services: Services, tmp_path: Path, scheme: Scheme) -> None:
    held, (ahead, clock) = Held(granted(2)), movable(tmp_path)
    services.answer(scheme.tokens, granted(1), held)
    services.answer(scheme.chats, only_for(scheme, 1))
    with online(services, tmp_path, **scheme.env, **clock) as sidecar:
        assert codes(sidecar, ids(sidecar, scheme, 1)) == [None]
        ahead.write_bytes(bytes(70))
        services.answer(scheme.chats, only_for(scheme, 2))
        sent = ids(sidecar, scheme, MANY)
        services.wait(lambda: len(services.asked(scheme.chats)) == 1 + MANY, "every refusal")
        services.wait(lambda: len(services.asked(scheme.tokens)) == 2, "the renewal")
        # Whoever leaves takes nobody with it.
        sidecar.ask("cancel", {"id": sent[0]})
        assert codes(sidecar, sent[:1]) == ["cancelled"]
        held.let_go()
        assert codes(sidecar, sent[1:]) == [None] * (MANY - 1)
    assert len(services.asked(scheme.tokens)) == 2
    assert len(services.asked(scheme.chats)) == 1 + MANY + MANY - 1


def test_a_new_token_that_is_refused_too_is_an_error_after_one_more_try(
    services: Services, tmp_path: Path, scheme: Scheme
) -> None:
    services.answer(scheme.tokens, granted(1), granted(2))
    services.answer(scheme.chats, text_of(scheme.wire), REFUSED)
    ahead, clock = movable(tmp_path)
    with online(services, tmp_path, **scheme.env, **clock) as sidecar:
        assert codes(sidecar, ids(sidecar, scheme, 1)) == [None]
        ahead.write_bytes(bytes(70))
        assert codes(sidecar, ids(sidecar, scheme, 1)) == ["auth_failed"]
        tried = [seen.headers["authorization"][-1] for seen in services.asked(scheme.chats)]
        assert tried == ["1", "1", "2"]
        # And the next minute makes no other.
        assert codes(sidecar, ids(sidecar, scheme, 3)) == ["auth_failed"] * 3
    assert len(services.asked(scheme.tokens)) == 2


def test_what_is_forbidden_is_no_reason_for_a_new_token(services: Services, tmp_path: Path, scheme: Scheme) -> None:
    services.answer(scheme.tokens, granted(1), granted(2))
    services.answer(scheme.chats, text_of(scheme.wire), document({"error": {"message": "Forbidden"}}, 403))
    ahead, clock = movable(tmp_path)
    with online(services, tmp_path, **scheme.env, **clock) as sidecar:
        assert codes(sidecar, ids(sidecar, scheme, 1)) == [None]
        ahead.write_bytes(bytes(70))
        assert codes(sidecar, ids(sidecar, scheme, 1)) == ["permission_denied"]
    assert len(services.asked(scheme.tokens)) == 1
    assert len(services.asked(scheme.chats)) == 2


def test_a_token_that_is_refused_at_once_is_not_replaced(services: Services, tmp_path: Path, scheme: Scheme) -> None:
    services.answer(scheme.tokens, granted(1), granted(2))
    services.answer(scheme.chats, REFUSED)
    with online(services, tmp_path, **scheme.env) as sidecar:
        assert codes(sidecar, ids(sidecar, scheme, 5)) == ["auth_failed"] * 5
        assert codes(sidecar, ids(sidecar, scheme, 1)) == ["auth_failed"]
    assert len(services.asked(scheme.tokens)) == 1
    assert len(services.asked(scheme.chats)) == 6


def test_a_refusal_that_comes_late_gets_the_token_that_others_have_renewed(
    services: Services, tmp_path: Path, scheme: Scheme
) -> None:
    late, (ahead, clock) = Held(REFUSED), movable(tmp_path)
    services.answer(scheme.tokens, granted(1), granted(2))
    services.answer(scheme.chats, text_of(scheme.wire), late, only_for(scheme, 2))
    with online(services, tmp_path, **scheme.env, **clock) as sidecar:
        assert codes(sidecar, ids(sidecar, scheme, 1)) == [None]
        first = ids(sidecar, scheme, 1)
        services.wait(lambda: len(services.asked(scheme.chats)) == 2, "the first")
        ahead.write_bytes(bytes(70))
        others = ids(sidecar, scheme, 3)
        assert codes(sidecar, others) == [None] * 3
        late.let_go()
        assert codes(sidecar, first) == [None]


@pytest.mark.parametrize("status", [401, 403])
def test_a_session_that_is_refused_later_is_exchanged_once_for_all(
    services: Services, tmp_path: Path, status: int
) -> None:
    chats = "POST https://api.githubcopilot.com/*"

    def only(session: str) -> Callable[[Seen], Answer]:
        refused = document({"message": "token expired"}, status)
        return lambda seen: text_of("openai_chat") if session in seen.headers["authorization"] else refused

    copilot = Scheme("copilot", "openai_chat", SESSIONS, chats, {"GH_COPILOT_TOKEN": TOKEN})
    given = [document({"token": f"tid=CANARY-session-{number}", "refresh_in": 1500}) for number in (1, 2)]
    services.answer(SESSIONS, *given)
    services.answer(chats, only("session-1"))
    ahead, clock = movable(tmp_path)
    with online(services, tmp_path, **copilot.env, **clock) as sidecar:
        assert codes(sidecar, ids(sidecar, copilot, 1)) == [None]
        ahead.write_bytes(bytes(70))
        services.answer(chats, only("session-2"))
        assert codes(sidecar, ids(sidecar, copilot, MANY)) == [None] * MANY
    assert len(services.asked(SESSIONS)) == 2


def test_a_token_that_its_provider_repeats_is_not_shown(services: Services, tmp_path: Path, scheme: Scheme) -> None:
    def repeats(seen: Seen) -> Answer:
        token = seen.headers["authorization"].removeprefix("Bearer ")
        return document({"error": {"message": f"The token {token} may not.", "code": token, "type": token}}, 403)

    services.answer(scheme.tokens, granted(1))
    services.answer(scheme.chats, repeats)
    with online(services, tmp_path, **scheme.env) as sidecar:
        error = sidecar.reply(ids(sidecar, scheme, 1)[0], 60)["error"]
        assert error["message"].startswith("The token [redacted] may not")
    # The harness has looked through every line.
