"""What attackers try on the machine: programs that pry, names that would be paths, a folder full of traps, crashes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support import process_probes
from tests.support.fake_provider import Provider
from tests.support.fake_services import Services
from tests.support.listening_services import online
from tests.support.process import CANARY, ROOT, Object, Sidecar, environment
from tests.support.provider_rows import MODEL, ROWS, every_key, params, text_of, wires_of
from tests.support.reply_scripts import ANTHROPIC

# --- the process, when it crashes or is made to talk -------------------------------------------------


@process_probes.linux_only
@pytest.mark.parametrize("how", [{"PYTHONFAULTHANDLER": "1"}, {"PYTHONDEVMODE": "1"}], ids=lambda how: next(iter(how)))
def test_a_crash_shows_no_key_and_leaves_no_core(tmp_path: Path, provider: Provider, how: dict[str, str]) -> None:
    begun = provider.play("m", ANTHROPIC.begun("x"))
    # A user who has cores written, as far as this machine lets anybody.
    launcher = ("sh", "-c", 'ulimit -c "$(ulimit -H -c)"; exec "$@"', "sh")
    env = environment(tmp_path, **every_key(), **how)
    with Sidecar(tmp_path, provider, launcher=launcher, env=env) as sidecar:
        sidecar.chunk(sidecar.chat(begun), 1)
        assert process_probes.core_bytes(sidecar.process.pid) == "0"
        sidecar.expects_answers, sidecar.expected_exit = False, -signal.SIGABRT
        sidecar.process.send_signal(signal.SIGABRT)
        sidecar.exit()
    assert b"Fatal Python error" in sidecar.stderr
    assert not [path for path in tmp_path.rglob("*core*") if path.is_file()]


def test_what_a_host_writes_into_a_name_stays_on_its_line_of_the_log(tmp_path: Path, provider: Provider) -> None:
    name = '\n{"level":"fake","event":"x"}\r\x1b[2J\x7f\x9b31m\u202e'
    with Sidecar(tmp_path, provider) as sidecar:
        for model in (name, f"replay/{name}", f"anthropic/{name}"):
            sidecar.ask("stream_chat", sidecar.params(model), provider="anthropic")
            sidecar.ask(model, {"model": model}, provider=model)
    for line in sidecar.stderr.splitlines():
        assert json.loads(line)["level"] != "fake"
        assert line.isascii()
        assert not any(byte < 32 or byte == 127 for byte in line)


# --- programs that the user has configured ------------------------------------------------------------

PRYING = """
import json, os, sys
fds = {}
for fd in os.listdir("/proc/self/fd"):
    try:
        fds[fd] = os.readlink("/proc/self/fd/" + fd)
    except OSError:
        pass
with open(sys.argv[1], "w") as file:
    json.dump({"env": dict(os.environ), "argv": sys.argv, "fds": fds, "in": sys.stdin.read()}, file)
print(json.dumps({"Version": 1, "AccessKeyId": "AKIAMADEUP", "SecretAccessKey": "CANARY-of-the-program"}))
"""


@process_probes.linux_only
@pytest.mark.parametrize("way", ["profile", "role's source profile"])
def test_a_program_that_gives_credentials_learns_nothing_else(services: Services, tmp_path: Path, way: str) -> None:
    program, told = tmp_path / "program.py", tmp_path / "told.json"
    program.write_text(PRYING, encoding="utf-8")
    process = f'credential_process = "{sys.executable}" "{program}" "{told}"\n'
    role = "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/a\nsource_profile = default\n"
    (tmp_path / "aws").write_text(f"[default]\n{process}{role}", encoding="utf-8")
    services.answer("POST *", text_of("bedrock_converse"))
    env = every_key() | {"AWS_CONFIG_FILE": str(tmp_path / "aws"), "AWS_REGION": "eu-west-1", "VAULT_ADDR": "mine"}
    env |= {"AWS_BEARER_TOKEN_BEDROCK": "", "SIDECAR_OPENAI_BASE_URL": "https://mine.example"}
    env |= {"AWS_PROFILE": "role"} if way != "profile" else {}
    with online(services, tmp_path, **env) as sidecar:
        sidecar.allowed.programs.append(str(program))
        # Of the role's own service there is none here: what counts is what its program was told.
        reply = sidecar.ask("stream_chat", params(), provider="bedrock")
        assert reply["success"] or way != "profile", reply
    seen = json.loads(told.read_bytes())
    shown = json.dumps(seen["env"]) + json.dumps(seen["argv"])
    assert not set(every_key().values()) & set(seen["env"].values())
    assert "CANARY" not in shown
    assert not [name for name in seen["env"] if name.startswith("SIDECAR_")]
    assert seen["env"]["AWS_REGION"] == "eu-west-1"
    assert (seen["env"]["VAULT_ADDR"], seen["in"]) == ("mine", "")
    # Beside the three, there are the folder that it lists and the file that it writes.
    kinds = {fd: target.split(":")[0] for fd, target in seen["fds"].items() if int(fd) > 2}
    assert all(target.startswith("/proc/") or target == str(told) for target in kinds.values()), kinds
    assert seen["fds"]["0"] == os.devnull
    assert len({seen["fds"]["1"], seen["fds"]["2"]}) == 2
    assert "AKIAMADEUP" not in json.dumps([line.data for line in sidecar.lines])


# --- names that would be paths -----------------------------------------------------------------------

PATHS = (
    "../../etc/passwd",
    "..",
    "/etc/passwd",
    "a/../../b",
    "\0",
    "CON",
    "x" * 5000,
    "~root",
    "a\\..\\b",
    ".",
    "%2e%2e",
)


@process_probes.posix_only
def test_no_name_is_a_path(tmp_path: Path, provider: Provider) -> None:
    home, folder = tmp_path / "home", tmp_path / "recorded"
    home.mkdir()
    (tmp_path / "openai_chat" / "text").mkdir(parents=True)
    (tmp_path / "openai_chat" / "text" / "response.sse").write_bytes(b"data: [DONE]\n\n")
    with Sidecar(home, provider, arguments=["--record", str(folder)]) as sidecar:
        for name in PATHS:
            provider.play(name, ANTHROPIC.answer("fine"))
            error = sidecar.ask("stream_chat", params(model=f"{name}/text"), provider="replay")["error"]
            assert error["code"] in ("model_not_found", "invalid_request")
            sidecar.ask("stream_chat", sidecar.params(name), provider="anthropic")
            for settings in ({"profile": name}, {"region": name}, {"project": name}, {"api_version": name}):
                for asked in ("bedrock", "vertex", "azure"):
                    more: Object = {"settings": settings | {"api_key": CANARY}}
                    reply = sidecar.ask("stream_chat", params(model="", **more), provider=asked)
                    assert not reply["success"]
            assert not sidecar.ask("authenticate", {"op": "status"}, provider=name)["success"]
    # What the harness has not asserted of the writes: that every recording is where recordings belong.
    cases = [path.parent for path in folder.rglob("call.json")]
    assert cases
    assert {case.parent for case in cases} == {folder / "anthropic_messages"}


MODELS = (
    "../../../evil",
    "a/../../../evil?x=y#z",
    "a?x=y",
    "a#z",
    "\r\nx-evil: 1",
    "%2e%2e/%2e%2e/evil",
    "..",
    "a b\0",
    "//evil.example",
)


@pytest.mark.parametrize("name", ROWS)
def test_no_model_leads_to_another_place(keyed: Sidecar, services: Services, name: str) -> None:
    """Some have the model in the path: whatever it is, the request stays below the provider's own address."""
    for wire in wires_of(ROWS[name]):
        services.answer("POST *", text_of(wire))
        services.received()
        keyed.ask("stream_chat", params(wire), provider=name)
        own = urlsplit(services.asked("POST *")[-1].url)
        for model in MODELS:
            services.forget()
            services.answer("POST *", text_of(wire))
            keyed.ask("stream_chat", params(wire, model=model), provider=name)
            for seen in services.asked("POST *"):
                there = urlsplit(seen.url)
                assert (there.scheme, there.netloc, there.query) == (own.scheme, own.netloc, own.query), (wire, model)
                # In front of the model, everything is as it was.
                kept = own.path.partition(MODEL)[0]
                assert there.path.startswith(kept), (wire, model, there.path)
                assert not {"..", "."} & set(there.path[len(kept) :].split("/")), (wire, model, there.path)
                assert "x-evil" not in seen.headers


# --- a working directory that is somebody else's --------------------------------------------------------

START = """
import os, sys
here = os.getcwd() + os.sep
def hear(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and os.path.abspath(arguments[0]).startswith(here):
        os.write(2, f"opened {arguments[0]}\\n".encode())
sys.addaudithook(hear)
from sidecar.__main__ import main
main()
"""
"""What the installed script does, and who is heard opening a file of the folder."""


@pytest.mark.parametrize("isolated", [False, True])
def test_a_hostile_working_directory_is_not_looked_at(tmp_path: Path, isolated: bool) -> None:
    here, home, script = tmp_path / "project", tmp_path / "home", tmp_path / "sidecar"
    trap = "import os; os.write(2, b'opened by import'); os._exit(9)\n"
    for name in ("json", "sitecustomize", "usercustomize", "msgspec/__init__", "anyio/__init__", "sidecar/__init__"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / f"{name}.py").write_text(trap, encoding="ascii")
    configuration = '[log]\nlevel = "nonsense"\n[providers.openai]\nbase_url = "https://evil.example"\n'
    for name in ("config.toml", "sidecar.toml", ".sidecar.toml", "sidecar/config.toml", ".config/sidecar/config.toml"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(configuration, encoding="ascii")
    for name in (".env", ".aws/config", ".aws/credentials", "pyproject.toml", "tox.ini", ".netrc", "keyringrc.cfg"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(
            "OPENAI_API_KEY=CANARY-stolen\n[default]\naws_access_key_id=CANARY\n", encoding="ascii"
        )
    home.mkdir()
    script.write_text(
        START
        if not isolated
        else START.replace("import os, sys", f"import os, sys; sys.path.insert(0, {str(ROOT)!r})"),
        encoding="utf-8",
    )
    asked = [
        {"id": 1, "action": "list_providers"},
        {"id": 2, "action": "stream_chat", "provider": "openai", "params": params()},
        {"id": 3, "action": "stream_chat", "provider": "replay", "params": params() | {"model": "openai_chat/text"}},
        {"id": 4, "action": "stream_chat", "provider": "bedrock", "params": params()},
        {"id": 5, "action": "stream_chat", "provider": "vertex", "params": params()},
        {"id": 6, "action": "authenticate", "provider": "openai", "params": {"op": "status"}},
    ]
    done = subprocess.run(
        [sys.executable, *(["-I"] if isolated else []), str(script)],
        input="".join(json.dumps(each) + "\n" for each in asked).encode(),
        capture_output=True,
        cwd=here,
        env=environment(home, AWS_REGION="eu-west-1", GOOGLE_CLOUD_PROJECT="p"),
        timeout=60,
        check=True,
    )
    assert b"opened" not in done.stderr, done.stderr
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert {reply["id"] for reply in replies} == {1, 2, 3, 4, 5, 6}
    rows = next(reply for reply in replies if reply["id"] == 1)["data"]["providers"]
    assert not next(row for row in rows if row["id"] == "openai")["ready"]
    assert {reply["error"]["code"] for reply in replies if not reply["success"]} == {"auth_required"}
    assert not secrets_in(done.stdout + done.stderr)


def secrets_in(data: bytes) -> bool:
    return b"CANARY" in data or b"evil.example" in data
