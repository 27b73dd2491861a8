"""How often a login is asked after, and what of an answer is believed."""

from datetime import UTC, datetime

import msgspec
import pytest

from sidecar.auth.logins import device_flow
from sidecar.auth.logins.device_flow import Endpoints
from sidecar.auth.logins.pace import MARGIN, Pace
from sidecar.catalogue import provider_rows
from sidecar.core.errors import SidecarError
from tests.support.logins import GITHUB, code


def test_every_slow_down_counts_for_good() -> None:  # F02
    pace = Pace(5.0)
    waits = []
    for _ in range(3):
        pace = pace.slow_down(None)
        waits.append(pace.interval_seconds)
        pace = pace.adapt(is_answered=True)
    assert waits == [10, 15, 20]
    assert pace.wait_seconds == pytest.approx(24)


@pytest.mark.parametrize(
    ("told", "interval"), [(None, 10), (7, 10), (12, 12), (12.5, 12.5), ("x", 10), (True, 10), (-3, 10), (1e300, 10)]
)
def test_of_our_interval_and_the_providers_the_longer_counts(told: object, interval: float) -> None:  # F02
    assert Pace(5.0).slow_down(told).interval_seconds == interval


def test_the_wait_is_longer_than_the_interval() -> None:
    assert Pace(5.0).wait_seconds > 5.5


def test_answers_that_do_not_come_double_the_wait_up_to_a_minute_and_one_that_comes_ends_that() -> None:  # F05
    pace, waits = Pace(5.0), []
    for _ in range(12):
        pace = pace.adapt(is_answered=False)
        waits.append(round(pace.wait_seconds / MARGIN))
    assert waits == [10, 20, 40] + [60] * 9
    assert pace.adapt(is_answered=True) == Pace(5.0)


def endpoints(**settings: str) -> Endpoints:
    login = provider_rows.read_providers()["copilot"].auth.login
    assert login
    return device_flow.make_endpoints(login, {"domain": "github.com"} | settings)


@pytest.mark.parametrize(
    ("changed", "expires_in", "interval"),
    [
        ({}, 900, 0.1),
        ({"interval": None}, 900, 5.0),  # F01
        ({"expires_in": None}, 900, 0.1),
        ({"interval": "5", "expires_in": []}, 900, 5.0),
        ({"interval": -1, "expires_in": -1}, 900, 5.0),
        ({"expires_in": 1e6}, 3600, 0.1),
        ({"interval": 0, "expires_in": 0}, 1, 5.0),
        ({"interval": 1e-9}, 900, 0.1),
    ],
)
def test_times_that_are_none_are_the_usual_ones(changed: dict[str, object], expires_in: int, interval: float) -> None:
    answer = msgspec.json.decode(code(**changed).body)
    shown = device_flow._read_code(answer, endpoints()).shown  # noqa: SLF001 - what an answer becomes
    assert (shown.expires_in, shown.interval) == (expires_in, interval)
    assert shown.verification_uri == f"{GITHUB}/login/device"


@pytest.mark.parametrize("domain", ["user@evil.example", "a:b@c", "169.254.169.254", "x:99999"])
def test_a_domain_that_is_none_is_refused(domain: str) -> None:
    with pytest.raises(SidecarError) as caught:
        endpoints(domain=domain)
    assert caught.value.body.code == "invalid_request"
    assert domain not in caught.value.body.message


@pytest.mark.parametrize("token", ["", "a b", "tok\nen", "é", None, 5, [], {}])
def test_a_token_that_no_header_can_carry_is_none(token: object) -> None:
    with pytest.raises(SidecarError) as caught:
        device_flow.read_tokens({"access_token": token})
    assert caught.value.body.code == "provider_error"


def test_a_login_that_expires_comes_with_its_refresh_token() -> None:
    found = device_flow.read_tokens({"access_token": "ghu_1", "refresh_token": "ghr_1", "expires_in": 28_800})
    assert (found.access.reveal(), found.renewal and found.renewal.reveal()) == ("ghu_1", "ghr_1")
    assert device_flow.compute_expiry(found, datetime(2026, 11, 20, tzinfo=UTC)) == "2026-11-20T08:00:00+00:00"
    lasting = device_flow.read_tokens({"access_token": "gho_1", "refresh_token": None, "expires_in": None})
    assert (lasting.renewal, lasting.life_seconds) == (None, None)
