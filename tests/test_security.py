"""Security, where the code or what is installed shows it: no process is spawned."""

import ast
import importlib.metadata
import json
import os
import re
import site
import stat
import sys
import tomllib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from sidecar.auth.logins import store_file
from sidecar.core import log
from sidecar.core.errors import remove_secret
from sidecar.core.url_policy import has_dot_segments, is_link_local
from tests.support.locks import ROOT, read_pins
from tests.support.process_probes import posix_only
from tests.support.source import files, nodes_of
from tests.test_repo import LOCKS, environments

# --- addresses that names lead to ------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "::ffff:169.254.169.254",
        "2002:a9fe:a9fe::",
        "64:ff9b::169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "febf::1",
        "fd00:ec2::254",
        "fd20:ce::254",
    ],
)
def test_an_address_of_the_link_is_known_in_every_spelling(address: str) -> None:
    assert is_link_local(address)


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "127.0.0.1", "10.0.0.7", "::1", "fd00::1", "64:ff9b::93.184.216.34", "2606:2800::1", "", "name"],
)
def test_other_addresses_are_not(address: str) -> None:
    assert not is_link_local(address)


@pytest.mark.parametrize("path", ["/a/../b", "/..", "/./b", "/a/%2e%2E/b", "/a/.%2e?x", "/a/..#x", "//h/../x"])
def test_a_step_in_a_path_is_known(path: str) -> None:
    assert has_dot_segments(f"https://h.example{path}")


@pytest.mark.parametrize("path", ["", "/", "/v1.5/a..b/...", "/models/x-2.5:say", "/.well-known"])
def test_a_dot_in_a_name_is_none(path: str) -> None:
    assert not has_dot_segments(f"https://h.example{path}")


# --- credentials that come back ---------------------------------------------------------------------

_KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60)


@given(key=_KEYS, before=st.text("abc .", max_size=5), after=st.text("abc .", max_size=5))
def test_a_credential_is_taken_out_however_it_is_spelt(key: str, before: str, after: str) -> None:
    whole = f"{before}{key}{after}"
    spellings: list[Callable[[str], str]] = [
        str,
        quote,
        lambda text: quote(text, safe=""),
        lambda text: b64encode(text.encode()).decode(),
        lambda text: urlsafe_b64encode(text.encode()).decode(),
    ]
    for spell in spellings:
        shown = remove_secret(f"Bad: {spell(whole)}", key)
        assert key not in shown or key in "Bad: [redacted]"
        assert "[redacted]" in shown


def test_a_piece_of_a_long_credential_is_taken_out_and_a_short_one_is_left() -> None:
    key = "0123456789abcdef0123456789ABCDEF"
    assert remove_secret(f"It begins {key[:17]}*** here.", key) == "It begins [redacted] here."
    assert remove_secret(f"It ends in ...{key[-14:]}.", key) == "It ends in [redacted]."
    assert remove_secret("A word.", "word") == "A word."


# --- the log -----------------------------------------------------------------------------------------


@given(st.text())
@example('\n{"level":"fake"}\r\x1b[2J\x7f\x9b\u2028\u202e')
def test_a_field_of_the_log_is_data_on_one_line(value: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr(sys, "stderr", type("Stream", (), {"write": staticmethod(lines.append)}))
        log.log("error", "x", field=value)
    (line,) = lines
    assert json.loads(line)["field"] == value
    assert line.endswith("\n")
    assert re.fullmatch(r"[\x20-\x7e]*", line[:-1])


# --- the store ----------------------------------------------------------------------------------------


@posix_only
def test_every_file_of_the_store_is_opened_for_the_user_alone(  # F17
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, int, int]] = []
    system = os.open

    def noted(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        opened.append((os.fspath(path), flags, mode))
        return system(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", noted)
    umask = os.umask(0)
    try:
        folder = tmp_path / "new" / "store"
        with store_file.open_lock(folder):
            store_file.write(folder, b"{}")
            store_file.read(folder)
    finally:
        os.umask(umask)
    files = [(Path(path).name, flags, mode) for path, flags, mode in opened if Path(path) != folder]
    assert len(files) == 3
    for name, flags, mode in files:
        assert mode == 0o600, name
        assert flags & os.O_NOFOLLOW, name
        assert flags & os.O_CLOEXEC, name
    (made,) = [flags for name, flags, _ in files if name.endswith(".tmp")]
    assert made & os.O_CREAT
    assert made & os.O_EXCL
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}
    assert {stat.S_IMODE(each.stat().st_mode) for each in (folder, folder.parent)} == {0o700}


# --- code --------------------------------------------------------------------------------------------


def _program() -> Iterator[tuple[str, ast.AST]]:
    for file in files("protocol", "sidecar"):
        for node in nodes_of(file):
            yield file, node


TEMPLATES = {
    ("protocol/emitters/rust.py", "DERIVE"),
    ("sidecar/cli/remedies.py", "text"),
    ("sidecar/completion/chat_prompt.py", "INSTRUCTIONS"),
    ("sidecar/config/environment.py", "template"),
    ("sidecar/auth/logins/device_flow.py", "template"),
    ("sidecar/upstream/gates/token_buckets.py", "template"),
    ("sidecar/branches/judging.py", "_ANSWER"),
    ("sidecar/branches/judging.py", "_PROMPT"),
    ("sidecar/generation/resume.py", "_PROMPT"),
    ("sidecar/providers/templates.py", "template"),
}
"""Columns of the catalogue, and constants. Whoever adds to it looks where the template comes from."""


@pytest.mark.long
def test_nothing_is_evaluated_and_no_input_is_a_template() -> None:
    """What is formatted as a template is a constant, or of the catalogue; never a word of a host's or a provider's."""
    called = {"eval", "exec", "compile", "__import__", "execfile"}
    wrong = [
        f"{file}:{node.lineno}"
        for file, node in _program()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in called
    ]
    assert not wrong
    templates = {
        (file, ast.unparse(node.func.value))
        for file, node in _program()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("format", "format_map")
        and not isinstance(node.func.value, ast.Constant)
        and ast.unparse(node.func.value) != "msgspec.json"
    }
    assert templates <= TEMPLATES, templates - TEMPLATES


def test_the_linter_looks_for_what_is_unsafe() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert lint["select"] == ["ALL"]
    assert not [rule for rule in lint["ignore"] if re.fullmatch(r"S(\d+)?", rule)]
    ours = [rules for pattern, rules in lint["per-file-ignores"].items() if not pattern.startswith("tests")]
    assert not [rule for rules in ours for rule in rules if re.fullmatch(r"S(\d+)?", rule)]


def test_tls_is_made_in_one_place_and_verification_is_never_off() -> None:
    wrong = [
        f"{file}:{node.lineno}"
        for file, node in _program()
        if (isinstance(node, ast.keyword) and node.arg in ("verify", "check_hostname"))
        and isinstance(node.value, ast.Constant)
        and not node.value.value
    ]
    wrong += [
        f"{file}:{node.lineno}"
        for file, node in _program()
        if isinstance(node, ast.Attribute)
        and (node.attr in ("CERT_NONE", "_create_unverified_context", "keylog_filename", "create_default_context"))
    ]
    assert not wrong


# --- what is installed -------------------------------------------------------------------------------


def _locked() -> dict[str, importlib.metadata.Distribution]:
    found = {}
    for name in read_pins(LOCKS[0]):
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def test_what_is_installed_is_what_is_locked() -> None:
    here = next(each for each in environments() if _is_here(each))
    for name, found in _locked().items():
        (version,) = [pin.version for pin in read_pins(LOCKS[0])[name] if pin.applies(here)] or [found.version]
        assert found.version == version, name
    assert len(_locked()) > 20


def _is_here(environment: dict[str, str]) -> bool:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return environment["sys_platform"] == sys.platform and environment["python_version"] == version


@pytest.mark.long
def test_no_package_runs_code_whenever_python_starts() -> None:
    """A `.pth` file with an import, or a `sitecustomize`, is how a stolen package ran without being imported."""
    for name, found in _locked().items():
        files = [str(each) for each in found.files or ()]
        assert not [each for each in files if each.endswith(".pth")], name
        assert not [each for each in files if Path(each).stem in ("sitecustomize", "usercustomize")], name


def test_no_file_of_the_environment_runs_code_but_those_that_are_known() -> None:
    """Of the packages of development too."""
    known = {"_virtualenv.pth", "distutils-precedence.pth", "_sidecar.pth", "sidecar.pth", "_editable_impl_sidecar.pth"}
    if sys.prefix == sys.base_prefix:
        pytest.skip("no environment of our own")
    places = [Path(each) for each in site.getsitepackages() if each.startswith(sys.prefix)]
    found = {path.name for place in places for path in place.glob("*.pth")}
    running = {
        path.name
        for place in places
        for path in place.glob("*.pth")
        if re.search(r"^import[ \t]", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    }
    assert running <= known, running - known
    assert not [name for name in found if name not in known and canonicalize_name(name[:-4]) in read_pins(LOCKS[0])]


def test_what_make_installs_is_what_is_locked_and_the_project() -> None:
    if not (Path(sys.prefix) / "requirements-dev.lock").exists():
        pytest.skip("the environment was not made by make")
    installed = {canonicalize_name(each.name) for each in importlib.metadata.distributions(path=site.getsitepackages())}
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    assert installed - set(read_pins(LOCKS[1])) == {canonicalize_name(ours)}
