"""The harness itself: whatever a process does that it may not, the test that started it fails."""

import base64
import os
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tests.support.canaries import Secrets
from tests.support.fake_provider import Provider
from tests.support.fake_services import Services, document
from tests.support.listening_services import online
from tests.support.process import CANARY, ROOT, Sidecar, environment
from tests.support.process_probes import posix_only
from tests.support.provider_rows import ROWS, astray
from tests.support.reply_scripts import ANTHROPIC

KEY_OF_ANOTHER_SHAPE = "0123456789abcdef-no-word-in-it"

FAULTY = """
import base64, os, pathlib, socket, subprocess, sys

class Finder:
    # The program's own module is there once it imports another.
    def find_spec(self, name, path=None, target=None):
        if name == "httptools":
            sys.meta_path.remove(self)
            from sidecar.core import log
            from sidecar.upstream import http_client
            send = http_client.HttpClient.send

            def faulty(self, request, auth, *rest, **more):
                key = auth.get("authorization", auth.get("x-api-key", "")).removeprefix("Bearer ")
                {fault}
                return send(self, request, auth, *rest, **more)

            http_client.HttpClient.send = faulty

sys.meta_path.insert(0, Finder())
"""

FAULTS = {
    "a header in the log": ('log.log("debug", "request", headers=auth)', "CANARY"),
    "a key in base64": ("print(base64.b64encode(b'user:' + key.encode()))", "CANARY"),
    "a key in hexadecimal": ("print(key.encode().hex())", "CANARY"),
    "a file in the home directory": ("open('notes.txt', 'w').close()", "notes.txt"),
    "a key in the ledger's folder": (
        "pathlib.Path('data', 'sidecar', 'x').write_text(key)",
        "CANARY",
    ),
    "a folder elsewhere": ("os.mkdir(os.path.join(os.path.dirname(os.getcwd()), 'elsewhere'))", "elsewhere"),
    "a program": ("subprocess.run(['true'])", "true"),
    "a shell": ("os.system('true')", "true"),
    "a child that outlives nobody": ("os.waitpid(os.fork() or os._exit(0), 0)", "os.fork|start"),
    "a listener that is closed at once": ("s = socket.create_server(('127.0.0.1', 0)); s.close()", "bind"),
    "another machine": (
        "s = socket.socket(); s.settimeout(0); s.connect_ex(('192.0.2.1', 443)); s.close()",
        "192.0.2.1",
    ),
}


@posix_only
@pytest.mark.parametrize(("fault", "told"), FAULTS.values(), ids=list(FAULTS))
def test_a_process_that_does_wrong_fails_its_test(tmp_path: Path, provider: Provider, fault: str, told: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "sitecustomize.py").write_text(FAULTY.replace("{fault}", fault), encoding="ascii")
    env = environment(home, PYTHONPATH=os.pathsep.join((str(tmp_path), str(ROOT))))
    # The import of the client is what the fault is put in at: the first request makes it, the second does wrong.
    warm, last = (provider.play(name, ANTHROPIC.answer("fine")) for name in ("warm", "m"))
    (home / "data" / "sidecar").mkdir(parents=True)

    def ask() -> None:
        with Sidecar(home, provider, env=env) as sidecar:
            for model in (warm, last):
                sidecar.stream(sidecar.chat(model))

    with pytest.raises(AssertionError, match=told):
        ask()


def test_a_process_that_does_nothing_wrong_does_not(sidecar: Sidecar, provider: Provider) -> None:
    sidecar.stream(sidecar.chat(provider.play("m", ANTHROPIC.answer("fine"))))


def test_a_key_of_the_environment_that_comes_to_a_strange_server_fails_the_test(
    tmp_path: Path, provider: Provider
) -> None:
    env = environment(tmp_path, OPENAI_API_KEY=CANARY)
    # It stands in the request as well, so the process does as it is told; to the harness it is the user's own.
    with (
        pytest.raises(AssertionError, match="not given for"),
        Sidecar(tmp_path, provider, env=env) as sidecar,
    ):
        sidecar.stream(sidecar.chat(provider.play("m", ANTHROPIC.answer("fine"))))


def test_a_secret_without_the_word_is_known_by_the_name_of_its_field(services: Services, tmp_path: Path) -> None:
    services.answer("POST *", document({"error": {"message": f"{KEY_OF_ANOTHER_SHAPE} is bad"}}, 401))
    with online(services, tmp_path) as sidecar:
        params = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "api_key": KEY_OF_ANOTHER_SHAPE}
        error = sidecar.ask("stream_chat", params, provider="openai")["error"]
    assert error["code"] == "auth_failed"
    assert services.secrets.find_in(f"the key {KEY_OF_ANOTHER_SHAPE}".encode()) == KEY_OF_ANOTHER_SHAPE


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "user:"])
def test_every_spelling_of_a_secret_is_seen(before: str) -> None:
    secret = "p/+& of a secret"
    secrets = Secrets()
    secrets.register(secret)
    whole = f"{before}{secret}xyz".encode()
    for form in (base64.b64encode, base64.urlsafe_b64encode, bytes.hex, quote, quote_plus, bytes):
        shown = form(whole)
        assert secrets.find_in(b"<" + (shown if isinstance(shown, bytes) else shown.encode()) + b">") == secret, form


def test_a_secret_belongs_to_one_owner_and_a_key_to_its_provider() -> None:
    assert not astray({"x-CANARY": {"github.com", "api.github.com", "api.githubcopilot.com"}})
    assert not astray(
        {f"CANARY-{name}": {row.address.base_url.split("/")[2].split(":")[0]} for name, row in ROWS.items()}
    )
    assert astray({"x-CANARY": {"api.openai.com", "api.anthropic.com"}})
    assert astray({"CANARY-openai": {"api.anthropic.com"}})
