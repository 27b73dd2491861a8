"""A long list of models holds nobody up."""

from pathlib import Path

import pytest

from tests.support.fake_services import Services, document
from tests.support.listening_services import online
from tests.support.process import in_time

pytestmark = pytest.mark.alone


def test_nothing_waits_while_thousands_of_models_are_read(services: Services, tmp_path: Path) -> None:
    entry = {"context_length": 100_000, "supported_parameters": ["tools"], "pricing": {"prompt": "0.000001"}}
    services.answer("GET *", document({"data": [entry | {"id": f"lab/{n}", "name": f"M {n}"} for n in range(3000)]}))

    def slowest_ping() -> float:
        request_id, pings = sidecar.send("list_models", {"refresh": True}, provider="openrouter"), list[float]()
        while not sidecar.lines_of(request_id):
            pings.append(sidecar.ping())
        assert len(sidecar.reply(request_id)["data"]["models"]) == 3000
        return max(pings)

    with online(services, tmp_path, OPENROUTER_API_KEY="CANARY-key") as sidecar:
        sidecar.ask("list_models", provider="openrouter")
        in_time(slowest_ping, 0.05)
