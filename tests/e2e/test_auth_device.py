"""A login with a code, as only processes show it: signals, ports, programs, files, and two of them at once."""

import signal
from pathlib import Path

from tests.support.fake_services import Services
from tests.support.logins import (
    GRANTED,
    PENDING,
    RENEWAL,
    SESSIONS,
    TOKEN,
    TOKENS,
    Held,
    begin,
    chats,
    github,
    log_in_and_expire,
    logged_off_process,
    stored,
    with_life,
)
from tests.support.process_probes import linux_only, listening, posix_only


@posix_only
def test_a_login_does_not_hold_up_the_end(services: Services, tmp_path: Path) -> None:  # F06
    github(services, PENDING)
    with logged_off_process(services, tmp_path) as sidecar:
        request_id = begin(sidecar)
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.reply(request_id)["error"]["code"] == "shutting_down"
        sidecar.exit()


@linux_only
def test_a_login_opens_no_port_starts_no_program_and_writes_nothing_else(services: Services, tmp_path: Path) -> None:
    github(services, PENDING)
    with logged_off_process(services, tmp_path) as sidecar:
        request_id = begin(sidecar)
        assert not listening(sidecar.process.pid)
        services.answer(TOKENS, GRANTED)
        assert sidecar.reply(request_id)["success"]
        assert not listening(sidecar.process.pid)
    assert not [*(tmp_path / "home").rglob("*")]
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["credentials.json", "credentials.lock"]
    assert not services.asked(SESSIONS)


def test_two_processes_renew_a_login_once(services: Services, tmp_path: Path) -> None:  # F18
    log_in_and_expire(services, tmp_path, logged_off_process)
    held = Held(with_life(28_800, 2))
    services.answer(TOKENS, held)
    with logged_off_process(services, tmp_path) as one, logged_off_process(services, tmp_path) as two:
        ids = [(process, each) for process in (one, two) for each in chats(process, 5)]
        services.wait(lambda: bool(services.asked(TOKENS)), "the renewal")
        # The others wait, and so does the other process; nobody else is held up.
        assert max(process.ping() for process in (one, two)) < 1
        held.let_go()
        assert all(process.reply(each)["success"] for process, each in ids)
    assert f"refresh_token={RENEWAL}-1" in services.only(TOKENS).body.decode()
    assert stored(tmp_path)["copilot"]["secrets"] == {"value": f"{TOKEN}-2", "renewal": f"{RENEWAL}-2"}
    assert stored(tmp_path)["copilot"]["account"] == "octocat"
