"""The user's configuration: which source wins, what a mistake is told, what is never read or shown."""

import os
import textwrap
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.config import loader
from sidecar.config.loader import MAX_FILE_BYTES
from sidecar.config.values import Config, ConfigError

CANARY = "sk-CANARY-0123456789"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty home, which the process believes in; the working directory is elsewhere."""
    for name in (*os.environ,):
        if name.startswith(("XDG_", "SIDECAR_")):
            monkeypatch.delenv(name)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return tmp_path


def user_file(home: Path, text: str) -> Path:
    file = home / "xdg" / "sidecar" / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    return file


def mistakes(file: Path, content: str | bytes) -> list[str]:
    """Return the lines that the *content* of a configuration is refused with, without its path."""
    file.write_bytes(textwrap.dedent(content).encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError) as caught:
        loader.load(path=str(file), env={})
    lines = str(caught.value).splitlines()
    assert all(line.startswith(str(file)) for line in lines)
    return [line.removeprefix(str(file)).removeprefix(":") for line in lines]


def tables(loaded: Config) -> tuple[object, ...]:
    """Return all that a file may say."""
    return loaded.providers, loaded.models, loaded.gateway, loaded.limits, loaded.log_level, loaded.replay_dir


# --- which source wins -----------------------------------------------------------------------


def test_without_a_file_everything_has_its_default(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    loaded = loader.load(env={})
    assert loaded.path == str(home / "xdg" / "sidecar" / "config.toml")
    assert loaded.store_dir == str(home / "data" / "sidecar")
    assert tables(loaded) == tables(Config(path=""))
    assert loaded.log_level == "warn"


def test_the_users_own_file_is_read(home: Path) -> None:
    user_file(home, '[log]\nlevel = "debug"\n')
    assert loader.load(env={}).log_level == "debug"


@pytest.mark.parametrize(
    ("argument", "env", "file", "level"),
    [
        (None, {}, None, "warn"),
        (None, {}, "info", "info"),
        (None, {"SIDECAR_LOG": "error"}, "info", "error"),
        (None, {"SIDECAR_LOG": ""}, "info", "info"),
        ("off", {"SIDECAR_LOG": "error"}, "info", "off"),
    ],
)
def test_the_command_line_goes_before_the_environment_and_that_before_the_file(
    home: Path, argument: str | None, env: dict[str, str], file: str | None, level: str
) -> None:
    if file:
        user_file(home, f'[log]\nlevel = "{file}"\n')
    assert loader.load(log_level=argument, env=env).log_level == level


def test_a_named_file_stands_in_for_the_users_own(home: Path) -> None:
    user_file(home, '[log]\nlevel = "debug"\n')
    named, of_env = home / "named.toml", home / "env.toml"
    named.write_text('[log]\nlevel = "error"\n')
    of_env.write_text('[log]\nlevel = "info"\n')
    assert loader.load(path=str(named), env={"SIDECAR_CONFIG": str(of_env)}).log_level == "error"
    assert loader.load(env={"SIDECAR_CONFIG": str(of_env)}).log_level == "info"
    assert loader.load(env={"SIDECAR_CONFIG": ""}).log_level == "debug"


def test_where_the_exchanges_are(home: Path) -> None:
    user_file(home, '[replay]\ndir = "/from/file"\n')
    assert loader.load(env={}).replay_dir == "/from/file"
    assert loader.load(env={"SIDECAR_REPLAY_DIR": "/from/env"}).replay_dir == "/from/env"
    assert loader.load(env={}, record_dir="/from/flag").record_dir == "/from/flag"


def test_the_environment_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    assert home.exists()
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    assert loader.load().env["OPENAI_API_KEY"] == CANARY


def test_a_provider_of_the_users_own(home: Path) -> None:
    user_file(
        home,
        f"""
        [providers.mylab]
        wire = "openai_chat"
        base_url = "https://mylab.example/v1"
        api_key = "{CANARY}"
        headers = {{ x-team = "seven" }}
        quirks = {{ done_marker = false }}
        """,
    )
    assert loader.load(env={}).providers == {
        "mylab": {
            "wire": "openai_chat",
            "base_url": "https://mylab.example/v1",
            "api_key": CANARY,
            "headers": {"x-team": "seven"},
            "quirks": {"done_marker": False},
        }
    }


# --- what is never read ----------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["XDG_CONFIG_HOME", "HOME"])
@pytest.mark.parametrize("value", [".", "", "relative/home", None])
def test_the_working_directory_is_never_read(
    home: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None
) -> None:
    here = Path.cwd()
    assert here != home
    hostile = '[log]\nlevel = "debug"\n'
    for folder in (here, here / ".config", here / "relative" / "home", here / "relative" / "home" / ".config"):
        for file in (
            folder / "config.toml",
            folder / "sidecar.toml",
            folder / "sidecar" / "config.toml",
            folder / ".env",
        ):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(hostile)
    if variable == "HOME":
        monkeypatch.delenv("XDG_CONFIG_HOME")
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    loaded = loader.load()
    assert loaded.log_level == "warn"
    assert not {key for key in loaded.env if key.startswith("SIDECAR_")}


# --- what cannot be read ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"\n\n  \n", b"# nothing but a comment\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf[log]\n", b"[log]\r\n"]
)
def test_a_file_may_be_empty(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(content)
    assert tables(loader.load(path=str(file), env={})) == tables(Config(path=""))


def test_the_working_directory_is_no_place_for_credentials(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="SIDECAR_STORE_DIR must be an absolute path"):
        loader.load(env={"SIDECAR_STORE_DIR": "here"})
    for variable in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(variable, "here")
        folder = loader.load(env={}).store_dir
        assert folder is None or not Path(folder).is_relative_to(home)


def test_a_missing_file_that_was_asked_for_is_a_mistake(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path / "none" / "none.toml"):
        with pytest.raises(ConfigError, match="there is no such file"):
            loader.load(path=str(path), env={})


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loader.load(path=str(tmp_path), env={})
    assert str(caught.value).startswith(f"{tmp_path}: cannot be read")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="who is root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.touch(mode=0)
    with pytest.raises(ConfigError, match="cannot be read"):
        loader.load(path=str(file), env={})


def test_a_huge_file_is_refused_and_not_read(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    with file.open("wb") as opened:
        opened.truncate(1024**3)
    with pytest.raises(ConfigError, match=f"is larger than {MAX_FILE_BYTES} bytes"):
        loader.load(path=str(file), env={})


@pytest.mark.parametrize(
    ("content", "mistake"),
    [
        (b'[log]\nlevel = "\xff"\n', "is not TOML"),
        (b"[log\n", "(at line 1, column 5)"),
        (b"[log]\nlevel\n", "(at line 2, column 6)"),
        (b'[log]\nlevel = "info"\nlevel = "info"\n', "is not TOML"),
        (b"[log]\n[log]\n", "is not TOML"),
        (b"[log]\x00\n", "is not TOML"),
        (b"x = " + b"9" * 5000, "is not TOML"),
        (b"x = " + b"[" * 50_000, "nested too deeply"),
    ],
)
def test_what_is_no_toml(tmp_path: Path, content: bytes, mistake: str) -> None:
    (line,) = mistakes(tmp_path / "config.toml", content)
    assert mistake in line


# --- mistakes --------------------------------------------------------------------------------


def test_all_mistakes_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path / "config.toml",
        """\
        colour = "red"
        # a comment, and \u2028 is no line end

        [providers.mylab]
        wire = "openai_chat"
        base_url = 7
        api_key = ["not", "a", "key"]

        [providers.mylab.headers]
        x-team = 7

        [ providers."other" ]  # spaces and quotes
        wire = "telepathy"
        base_url = "https://other.example"
        api_key_env = "not a name"
        surprise = 1

        [providers.third]
        name = "Third"

        [log]
        level = "loud"

        [replay]
        """,
    )
    places = {line.split(": ", 2)[1]: line.split(": ", 2)[0] for line in found}
    expected = {
        "colour": "1",
        "providers.mylab.base_url": "6",
        "providers.mylab.api_key": "7",
        "providers.mylab.headers.x-team": "10",
        "providers.other.wire": "13",
        "providers.other.api_key_env": "15",
        "providers.other.surprise": "16",
        "log.level": "22",
        "replay.dir": "24",
    }
    assert places == expected
    assert all(line.split(": ", 2)[2][:1].islower() for line in found)


@pytest.mark.parametrize(
    "content",
    [
        f'[providers.openai]\napi_key = ["{CANARY}"]\n',
        f'[providers.openai]\nkey = "{CANARY}"\n',
        f'[providers.openai]\napi_key_env = "{CANARY} "\n',
        f'[providers.openai]\nheaders = {{ authorization = ["{CANARY}"] }}\n',
        f'[providers.openai]\nbase_url = {{ x = "{CANARY}" }}\n',
        f'[providers.openai]\nwire = "{CANARY}"\n',
        f'[providers.openai]\nquirks = {{ done_marker = "{CANARY}" }}\n',
        f'[providers.openai]\nregion = "{CANARY}\\u0000"\n',
        f'[log]\nlevel = "{CANARY}"\n',
        f'providers = "{CANARY}"\n',
        f"[providers.openai]\napi_key = {CANARY}\n",
        f'[providers.openai]\napi_key = "{CANARY}\n',
        f'[providers.openai]\napi_key = "{CANARY}" "\n',
        f'[providers.openai]\napi_key = "{CANARY}\\q"\n',
    ],
)
def test_a_mistake_never_repeats_the_value(tmp_path: Path, content: str) -> None:
    found = mistakes(tmp_path / "config.toml", content)
    assert found
    assert "CANARY" not in "\n".join(found)


@pytest.mark.parametrize("value", ["abc", "0", "6", "-1", "2.5", "²", "٣", "9" * 5000])
def test_a_limit_of_the_environment_that_cannot_be_is_told_and_not_passed_over(value: str) -> None:
    """A limit that is not kept is found out by the bill; a digit of another script once ended in a traceback."""
    with pytest.raises(ConfigError) as caught:
        loader.load(env={"SIDECAR_MAX_ATTEMPTS": value, "SIDECAR_QUEUE_LENGTH": "0"})
    assert str(caught.value).splitlines() == [
        "SIDECAR_MAX_ATTEMPTS must be a number from 1 to 5",
        "SIDECAR_QUEUE_LENGTH must be a number from 1 to 65536",
    ]


def test_limits_of_the_environment_go_before_those_of_the_file(home: Path) -> None:
    user_file(home, "[limits]\nmax_attempts = 2\nconcurrency = 7\n")
    assert loader.load(env={"SIDECAR_MAX_ATTEMPTS": "5", "SIDECAR_CONCURRENCY": ""}).limits == {
        "max_attempts": 5,
        "concurrency": 7,
    }


@pytest.mark.parametrize("where", ["flag", "environment"])
def test_a_log_level_that_is_none_is_a_mistake(home: Path, where: str) -> None:
    assert home.exists()
    flag, env = ("loud", {}) if where == "flag" else (None, {"SIDECAR_LOG": "loud"})
    with pytest.raises(ConfigError, match="debug, info, warn, error, off"):
        loader.load(log_level=flag, env=env)


def test_secrets_do_not_show(home: Path) -> None:
    user_file(home, f'[providers.openai]\napi_key = "{CANARY}"\nheaders = {{ x-token = "{CANARY}" }}\n')
    loaded = loader.load(env={"ANTHROPIC_API_KEY": CANARY})
    assert loaded.providers["openai"]["api_key"] == CANARY
    for shown in (repr(loaded), str(loaded), f"{loaded}", f"{loaded!r}", repr([loaded])):
        assert "CANARY" not in shown


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Config(path="x").path = "y"  # type: ignore[misc]
    assert msgspec.structs.replace(Config(path="x"), path="y").path == "y"


@pytest.mark.long
@settings(max_examples=100)
@given(
    st.binary(max_size=80)
    | st.lists(
        st.sampled_from(
            [
                "[providers.x]",
                "[log]",
                "level",
                "=",
                '"',
                "'",
                "\n",
                "{",
                "}",
                "[",
                "]",
                ".",
                "wire",
                "1",
                "true",
                "#",
                "\\u",
            ]
        ),
        max_size=20,
    ).map(lambda words: " ".join(words).encode())
)
def test_no_file_raises_anything_of_its_own(content: bytes) -> None:
    from sidecar.config import file

    try:
        file.parse(content, "config.toml")
    except ConfigError as error:
        assert str(error).startswith("config.toml")  # noqa: PT017 - a file may be good
