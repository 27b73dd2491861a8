"""`sidecar login` and `sidecar logout`."""

import json
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.fake_services import Services, document

MODELS = document({"data": [], "has_more": False})
REFUSED = document({"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}, 401)
KEY = "sk-ant-CANARY-key"


@pytest.fixture
def typing(services: Services, tmp_path: Path) -> CommandLine:
    return CommandLine(services, tmp_path)


def test_a_key_is_tested_and_stored_and_then_used(services: Services, typing: CommandLine) -> None:
    services.answer("GET https://api.anthropic.com/*", MODELS)
    code, out, err = typing.type("login", "anthropic", stdin=f"{KEY}\n")
    assert (code, out) == (0, "")
    assert err == "Logged in to anthropic. The credential is in a file that only you can read.\n"
    assert KEY in services.only().text
    rows = [line.split() for line in typing.type("providers").out.splitlines()]
    assert ["anthropic", "Anthropic", "ready", "api", "key", "from", "store"] in rows


def test_a_key_that_is_refused_is_not_stored(services: Services, typing: CommandLine) -> None:
    services.answer("GET https://api.anthropic.com/*", REFUSED)
    code, _, err = typing.type("login", "anthropic", stdin=KEY)
    assert code == 1
    assert "invalid x-api-key" in err
    assert not [*typing.home.rglob("credentials.json")]


def test_a_person_may_try_again(services: Services, typing: CommandLine) -> None:
    services.answer("GET https://api.anthropic.com/*", REFUSED, MODELS)
    code, _, err = typing.type("login", "anthropic", stdin=f"sk-ant-CANARY-wrong\n{KEY}\n", is_terminal=True)
    assert code == 0
    assert "Try again." in err


def test_a_login_works_offline(services: Services, typing: CommandLine) -> None:
    services.answer("GET https://api.anthropic.com/*", document({}, 503))
    code, _, err = typing.type("login", "anthropic", stdin=KEY)
    assert code == 0
    assert "the key was not tested" in err


def test_missing_settings_are_asked_for(services: Services, typing: CommandLine) -> None:
    services.answer("GET https://contoso.openai.azure.com/*", document({"data": []}))
    code, _, err = typing.type("login", "azure", stdin="contoso\nCANARY-azure-key\n", is_terminal=True)
    assert (code, "resource" in err) == (0, False)
    code, _, err = typing.type("login", "cloudflare", stdin="CANARY-key")
    assert code == 2
    assert "add --setting account_id=VALUE" in err


def test_a_setting_can_stand_on_the_command_line(services: Services, typing: CommandLine) -> None:
    services.answer("GET https://contoso.openai.azure.com/*", document({"data": []}))
    assert typing.type("login", "azure", "--setting", "resource=contoso", stdin="CANARY-azure-key").code == 0
    code, _, err = typing.type("login", "azure", "--setting", "resource", stdin="CANARY-azure-key")
    assert code == 2
    assert "'resource' has no value" in err


def test_a_key_on_the_command_line_is_refused_and_not_repeated(typing: CommandLine) -> None:
    code, _, err = typing.type("login", "anthropic", KEY)
    assert code == 2
    assert "other programs see it" in err


def test_an_empty_key_is_none(typing: CommandLine) -> None:
    assert typing.type("login", "anthropic", stdin="\n")[::2] == (
        2,
        "sidecar: There is no key.\n  try: sidecar login anthropic\n",
    )


def test_a_provider_without_a_login_says_so(typing: CommandLine) -> None:
    code, _, err = typing.type("login", "replay", stdin="CANARY")
    assert code == 2
    assert "needs no login" in err


def test_a_code_is_shown_until_it_is_entered(services: Services, typing: CommandLine) -> None:
    services.answer(
        "POST https://github.com/login/device/code",
        document(
            {
                "device_code": "CANARY-device",
                "user_code": "WDJB-MJHT",
                "verification_uri": "https://github.com/login/device",
                "expires_in": 900,
                "interval": 5,
            }
        ),
    )
    services.answer(
        "POST https://github.com/login/oauth/access_token",
        document({"error": "authorization_pending"}),
        document({"access_token": "gho_CANARY-token", "token_type": "bearer"}),
    )
    services.answer("GET https://api.github.com/user", document({"login": "octocat"}))
    code, _, err = typing.type("login", "copilot", is_terminal=True)
    assert code == 0
    assert "Open https://github.com/login/device in a browser and enter the code WDJB-MJHT\n" in err
    assert "waiting for you to enter the code" in err
    assert "Logged in to copilot as octocat." in err


@pytest.fixture
def left_behind(typing: CommandLine) -> CommandLine:
    """Return a person for whom another program has left a login."""
    folder = Path(typing.env["XDG_CONFIG_HOME"], "github-copilot")
    folder.mkdir(parents=True)
    login = {"user": "octocat", "oauth_token": "gho_CANARY-theirs", "githubAppId": "Iv1.0123456789abcdef"}
    (folder / "apps.json").write_text(json.dumps({"github.com:Iv1.0123456789abcdef": login}))
    return typing


def test_the_login_of_another_program_is_offered(left_behind: CommandLine) -> None:
    code, out, err = left_behind.type("login", "copilot", stdin="y\n", is_terminal=True)
    assert (code, out) == (0, "")
    assert "Logged in to copilot as octocat." in err


def test_the_login_of_another_program_may_be_declined(services: Services, left_behind: CommandLine) -> None:
    services.answer("POST https://github.com/login/device/code", document({"error": "unavailable"}, 503))
    code, _, err = left_behind.type("login", "copilot", stdin="n\n", is_terminal=True)
    assert code == 1
    assert "octocat" not in err
    assert left_behind.type("login", "copilot", "--existing").code == 0


def test_ctrl_c_gives_a_login_up(services: Services, typing: CommandLine) -> None:
    services.answer("GET https://api.anthropic.com/*", lambda _: MODELS.__class__(stalls=True))
    typing.interrupt_after = 3.0
    assert typing.type("login", "anthropic", stdin=KEY).code == 130
    assert not [*typing.home.rglob("credentials.json")]


def test_logging_out_says_what_is_left(services: Services, typing: CommandLine) -> None:
    assert typing.type("logout", "anthropic").err == "Nothing was stored for anthropic.\n"
    services.answer("GET https://api.anthropic.com/*", MODELS)
    typing.type("login", "anthropic", stdin=KEY)
    typing.env["ANTHROPIC_API_KEY"] = "CANARY-other"
    assert typing.type("logout", "anthropic").err == (
        "Logged out of anthropic.\nIt still has a credential from the environment.\n"
    )
