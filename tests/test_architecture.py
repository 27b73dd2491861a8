"""The invariants of ARCHITECTURE.md that can be read off the source, each as a test over its syntax tree.

Comments and docstrings are never looked at: they may name whatever explains the code.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from sidecar.catalogue import providers
from sidecar.resolve import Target
from sidecar.secret import Secret
from sidecar.wires.types import Route
from tests.e2e.harness import Sidecar, environment
from tests.e2e.probes import descriptors, linux_only, listening
from tests.e2e.provider import Provider
from tests.e2e.shapes import stream
from tests.source import (
    ROOT,
    Use,
    attributes,
    files,
    imports,
    our_file,
    program,
    report,
    strings_and_names,
    tree_of,
    within,
)

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


# --- layers ----------------------------------------------------------------------------------

OF_THE_SCHEMA = ("ast", "itertools", "json", "pathlib", "sys")
"""What `protocol/schema.py`, a development tool, needs beyond the contract."""

PURE = (
    *("base64", "binascii", "collections", "datetime", "decimal", "email.utils", "enum", "fnmatch", "functools"),
    *("hashlib", "importlib", "io.StringIO", "itertools", "math", "pkgutil", "re", "string", "struct", "typing"),
    *("urllib.parse", "uuid.UUID", "zlib", "msgspec", "protocol"),
)
"""What sans-IO modules may import: nothing here reads, writes, waits, asks the clock or draws lots by itself."""

IMPURE_CALLS = ("open", "print", "input", "datetime.now", "datetime.utcnow", "date.today", "datetime.today")


def test_protocol_imports_nothing_but_itself_msgspec_and_typing() -> None:
    """Invariant 1."""
    allowed = ("protocol", "msgspec", "typing")
    wrong = [
        use
        for file in files("protocol")
        for use in imports(file)
        if not within(use.what, (*allowed, *OF_THE_SCHEMA) if file == "protocol/schema.py" else allowed)
    ]
    assert not wrong, report(wrong)


def test_the_program_does_not_import_the_tool_that_makes_the_schema() -> None:
    """Invariant 1: `protocol/schema.py` may import more than the contract because nothing imports it."""
    wrong = [use for file in files("sidecar") for use in imports(file) if within(use.what, ["protocol.schema"])]
    assert not wrong, report(wrong)


def test_wires_and_codecs_are_sans_io() -> None:
    """Invariant 1: no event loop, no HTTP client, no os, no time, no chance, no log, in them or in what they import."""
    reached, pending = set[str](), set(files("sidecar/wires", "sidecar/codecs"))
    while pending:
        reached |= pending
        pending = {module for file in pending for use in imports(file) if (module := our_file(use.what))} - reached
    wrong = [
        use
        for file in sorted(reached)
        for use in imports(file)
        if not within(use.what, PURE) and not our_file(use.what)
    ]
    wrong += [use for file in sorted(reached) for use in attributes(file) if use.what in IMPURE_CALLS]
    assert len(reached) > 8
    assert not wrong, report(wrong)


def test_importing_every_wire_and_codec_loads_no_event_loop_and_no_socket() -> None:
    """Invariant 1, as the interpreter sees it."""
    modules = [file.removesuffix(".py").replace("/", ".") for file in files("sidecar/wires", "sidecar/codecs")]
    names = [module.removesuffix(".__init__") for module in modules]
    impure = ("anyio", "asyncio", "httpx2", "logging", "random", "socket", "ssl", "subprocess", "threading")
    # What the interpreter had loaded before us (a `.pth` file may import anything) is not our doing.
    script = (
        "import sys, importlib; before = set(sys.modules)\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(*sorted(({set(impure)!r} & set(sys.modules)) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


ONE_MODULE_FOR: dict[str, tuple[str, ...]] = {
    # Invariant 2: one module talks HTTP, one knows the loop beneath anyio, one the system that it runs on.
    "httpx2": ("sidecar/transport.py",),
    "truststore": ("sidecar/transport.py",),
    "ssl": ("sidecar/transport.py",),
    "asyncio": ("sidecar/stdio.py",),
    "threading": ("sidecar/stdio.py",),
    "platformdirs": ("sidecar/config.py",),
    "sidecar.config_file": ("sidecar/config.py",),
    "sidecar.config_catalogue": ("sidecar/config_file.py",),
    "pydantic": ("sidecar/config_catalogue.py", "sidecar/config_file.py"),
    "keyring": ("sidecar/store_keychain.py",),
    "tomllib": ("sidecar/config_file.py", "sidecar/catalogue/__init__.py"),
    "ctypes": ("sidecar/platforms.py",),
    "fcntl": ("sidecar/platforms.py",),
    "msvcrt": ("sidecar/platforms.py",),
    "select": ("sidecar/platforms.py",),
    "resource": ("sidecar/platforms.py",),
    "sqlite3": ("sidecar/ledger_file.py",),
    # The log is written by hand, so that no library's chatter gets into it.
    "logging": (),
    # There is no second way to the network, no listener, no child and no code in data.
    "aiohttp": (),
    "http.client": (),
    "httpx": (),
    "multiprocessing": (),
    "pickle": (),
    "requests": (),
    "socket": (),
    "socketserver": (),
    "subprocess": (),
    "urllib.request": (),
    "urllib3": (),
    "yaml": (),
}


@pytest.mark.parametrize(("package", "homes"), ONE_MODULE_FOR.items(), ids=list(ONE_MODULE_FOR))
def test_a_door_to_the_outside_has_one_module(package: str, homes: tuple[str, ...]) -> None:
    """Invariant 2."""
    found = [use for file in program() for use in imports(file) if within(use.what, [package])]
    wrong = [use for use in found if use.file not in homes]
    assert not wrong, report(wrong)
    assert {use.file for use in found} == set(homes), f"nobody uses {package} any more: take it off the table"


DESCRIPTORS = re.compile(
    r"os\.(read|write|readv|writev|dup|dup2|fdopen|close|pipe|set_blocking|set_inheritable|sendfile)"
    r"|sys\.(__)?std(in|out|err)(__)?|print|input|breakpoint"
)

DESCRIPTOR_USERS: dict[str, set[str]] = {
    # Before the descriptors are claimed, and for a start that cannot succeed, it says so itself.
    "sidecar/__main__.py": {"os.write", "sys.stderr"},
    # It writes to the stream that `stdio` has put in the place of stderr, which never blocks.
    "sidecar/log.py": {"sys.stderr"},
    # The descriptor of a folder, of which there is no file object.
    "sidecar/platforms.py": {"os.close"},
}


def test_only_stdio_touches_the_descriptors() -> None:
    """Invariants 2 and 3; the exceptions and their reasons stand in DESCRIPTOR_USERS."""
    wrong = [
        use
        for file in program()
        for use in attributes(file)
        if file != "sidecar/stdio.py"
        and DESCRIPTORS.fullmatch(use.what)
        and use.what not in DESCRIPTOR_USERS.get(file, ())
    ]
    assert not wrong, report(wrong)


def test_only_config_reads_the_environment_and_nothing_asks_for_the_working_directory() -> None:
    """Invariant 2: a project that is open in the editor must not configure the process that holds the keys."""
    environment = re.compile(r"os\.(environb?|getenvb?|putenv|unsetenv)|os\.path\.expandvars")
    directory = re.compile(r"os\.(getcwdb?|chdir|curdir)|Path\.(cwd|home)")
    uses = [use for file in program() for use in (*attributes(file), *imports(file))]
    wrong = [use for use in uses if environment.fullmatch(use.what) and use.file != "sidecar/config.py"]
    wrong += [use for use in uses if directory.fullmatch(use.what)]
    assert not wrong, report(wrong)


def test_only_platforms_asks_which_system_it_runs_on() -> None:
    """Invariant 2."""
    asks = re.compile(r"sys\.platform|os\.name|os\.uname|platform\.\w+")
    wrong = [use for file in program() for use in attributes(file) if asks.fullmatch(use.what)]
    wrong = [use for use in wrong if use.file != "sidecar/platforms.py"]
    assert not wrong, report(wrong)


# --- errors and state ------------------------------------------------------------------------


def test_only_dispatch_catches_every_exception() -> None:
    """Invariant 5: there is one boundary where any failure becomes a line; elsewhere what is caught is named.

    The entry has the last words of a process that fails: a code and a log line in the place of a traceback. What
    several requests wait for runs in a task of its own, whose failure is handed to each of them.
    """
    boundaries = ("sidecar/dispatch.py", "sidecar/__main__.py", "sidecar/flights.py")
    wrong = [
        Use(file, handler.lineno, "catches everything")
        for file in program()
        for handler in ast.walk(tree_of(file))
        if isinstance(handler, ast.ExceptHandler) and _catches_everything(handler) and file not in boundaries
    ]
    assert not wrong, report(wrong)


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        # It tidies up and lets the failure pass as it is.
        return False
    if handler.type is None:
        return True
    return any(
        isinstance(node, ast.Name) and node.id in ("Exception", "BaseException") for node in ast.walk(handler.type)
    )


MODULE_STATE: dict[tuple[str, str], str] = {
    ("sidecar/framing.py", "_decoders"): "one decoder for each struct of parameters, by its type",
    ("sidecar/log.py", "_threshold"): "the level of the process, set once at the start",
    ("sidecar/record.py", "_numbers"): "the number in the name of the next recording",
    ("sidecar/reply.py", "_codec"): "a module by the name that a wire gives, of which there are a handful",
    ("sidecar/wires/__init__.py", "load"): "a module by its name, once that is known to be a wire's",
    ("sidecar/catalogue/models.py", "_providers"): "one file, split by provider when first asked",
    ("sidecar/catalogue/models.py", "_split_models"): "one provider's rows, for the providers that the file has",
}
"""Everything that outlives a request at the level of a module, with why it is bounded."""

CHANGES = frozenset(
    {"add", "append", "appendleft", "clear", "extend", "insert", "pop", "popitem", "remove", "setdefault"}
)


def test_modules_keep_no_state_but_what_is_listed() -> None:
    """Invariant 8, and the reason that requests cannot mix: what changes lives in objects that are passed on."""
    found = {use[::2]: use for file in program() for use in _module_state(file)}
    wrong = [use for key, use in found.items() if key not in MODULE_STATE]
    assert not wrong, report(wrong)
    assert not MODULE_STATE.keys() - found.keys(), "take what is gone off the list"


def _module_state(file: str) -> Iterator[Use]:
    """Yield the names of *file*'s module that some function rebinds or changes, its counters and its caches."""
    tree = tree_of(file)
    names = {target.id for node in tree.body for target in _targets(node) if isinstance(target, ast.Name)}
    for statement in tree.body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and _is_counter(statement.value):
            targets = (target for target in _targets(statement) if isinstance(target, ast.Name))
            yield from (Use(file, statement.lineno, target.id) for target in targets)
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from (Use(file, node.lineno, name) for name in node.names)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _is_cached(node) and _arguments(node):
            # Without arguments it is a constant that is made late, and no state.
            yield Use(file, node.lineno, node.name)
        elif (name := _changed(node)) in names:
            yield Use(file, getattr(node, "lineno", 0), name)


def _targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign) else []


def _is_counter(value: ast.expr | None) -> bool:
    return (
        isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in ("count", "cycle", "iter")
    )


def _is_cached(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether *node* remembers its results."""
    return any("cache" in ast.unparse(decorator) for decorator in node.decorator_list)


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def _changed(node: ast.AST) -> str:
    """Return the plain name whose content *node* changes, or an empty one."""
    owner: ast.expr | None = None
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
        owner = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
        owner = node.func.value
    return owner.id if isinstance(owner, ast.Name) else ""


# --- names and sizes -------------------------------------------------------------------------


def test_no_code_names_a_provider() -> None:
    """Invariant 7: a name occurs in data, and in the wire or scheme whose file is called after it.

    The names of wires and schemes are no names of providers, and `replay` is a part of the program.
    """
    table = tomllib.loads((ROOT / "sidecar/catalogue/providers.toml").read_text(encoding="utf-8"))
    known = msgspec.json.decode((ROOT / "sidecar/catalogue/models.json").read_bytes(), type=dict[str, msgspec.Raw])
    names = {*table, *known, *(alias for row in table.values() for alias in row.get("aliases", ()))} - {"replay"}
    modules = sorted(map(_called, files("sidecar/wires", "sidecar/auth")), key=len, reverse=True)
    # A module that is called like the provider itself is no reason to let the name pass.
    module = re.compile("|".join(stem for stem in modules if stem not in names))
    word = re.compile(rf"(?<![a-z0-9])(?:{'|'.join(map(re.escape, sorted(names)))})(?![a-z0-9])")
    wrong = [
        Use(use.file, use.line, f"{found[0]} in {use.what[:60]!r}")
        for file in program()
        for use in strings_and_names(file)
        if (found := word.search(module.sub("", use.what.lower()))) and not _is_its_own(file, found[0])
    ]
    assert {"anthropic", "openai"} <= names
    assert not wrong, report(wrong)


def _is_its_own(file: str, name: str) -> bool:
    return file.startswith(("sidecar/wires/", "sidecar/auth/")) and name.replace("-", "_") in _called(file)


def _called(file: str) -> str:
    """Return the name of the wire or scheme that *file* is, or is a part of."""
    parts = Path(file).with_suffix("").parts[2:]
    return parts[1] if parts[0] == "counts" and len(parts) > 1 else parts[0]


def test_files_and_functions_are_short() -> None:
    """Ours: a file is read in one sitting, a function on one screen."""
    everything = files("protocol", "sidecar", "tests")
    lengths = {file: len((ROOT / file).read_bytes().splitlines()) for file in everything}
    wrong = [Use(file, 1, f"{lines} lines") for file, lines in lengths.items() if lines >= MAX_FILE_LINES]
    for file in everything:
        for node in ast.walk(tree_of(file)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                wrong += [Use(file, node.lineno, f"{node.name}: {lines} lines")] if lines > MAX_FUNCTION_LINES else []
    assert not wrong, report(wrong)


# --- what a process loads, and what it shows -------------------------------------------------

SDKS = ("anthropic", "boto3", "botocore", "google", "keyring", "openai", "pydantic", "requests", "tiktoken")


def test_a_plain_chat_loads_no_sdk(tmp_path: Path) -> None:
    """Invariant 6: a key, a stream over HTTP, and none of the slow packages, as the interpreter lists them."""
    recorded = (ROOT / "fixtures/anthropic_messages/text/response.sse").read_bytes()
    listing = environment(tmp_path, PYTHONPROFILEIMPORTTIME="1")
    with Provider() as provider, Sidecar(tmp_path, provider, env=listing) as sidecar:
        end = sidecar.reply(sidecar.chat(provider.play("text", stream([recorded]))))
        assert end["data"]["type"] == "done"
    loaded = re.findall(r"^import time: +\d+ \| +\d+ \| +([\w.]+)$", sidecar.stderr.decode(), re.MULTILINE)
    assert "httpx2" in loaded
    assert not [name for name in loaded if within(name, SDKS)]


@linux_only
def test_a_process_listens_nowhere(tmp_path: Path) -> None:
    """Ours: whoever wants something of the process has its pipes, and nobody else gets near the keys."""
    recorded = (ROOT / "fixtures/anthropic_messages/text/response.sse").read_bytes()
    with Provider() as provider, Sidecar(tmp_path, provider) as sidecar:
        sidecar.reply(sidecar.chat(provider.play("text", stream([recorded]))))
        opened = descriptors(sidecar.process.pid).values()
        found = listening(sidecar.process.pid)
    assert any(each.startswith("socket:") for each in opened)
    assert not found


def test_a_secret_does_not_show_itself() -> None:
    """Invariant 9."""
    hidden = Secret("sk-canary-0123456789", "request")
    target = Target(
        row=next(iter(providers().values())),
        route=Route(provider="p", wire="w", model="m", base_url="https://provider.test"),
        credential=hidden,
        list_base_url="https://provider.test",
    )
    assert "canary" in hidden.reveal()
    for shown in (repr(hidden), str(hidden), f"{hidden}", f"{hidden!r:>40}", repr(target), repr([hidden])):
        assert "canary" not in shown
        assert "***" in shown
    with pytest.raises(TypeError):
        msgspec.json.encode(hidden)
