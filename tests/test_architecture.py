"""The invariants of ARCHITECTURE.md that can be read off the source, each as a test over its syntax tree.

Comments and docstrings are never looked at: they may name whatever explains the code.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from sidecar.catalogue.provider_rows import read_providers
from sidecar.core.secret import Secret
from sidecar.providers.values import Target
from sidecar.wires.shared.types import Route
from tests.support.listening_provider import ListeningProvider
from tests.support.process import Sidecar, environment
from tests.support.process_probes import descriptors, linux_only, listening
from tests.support.reply_scripts import stream
from tests.support.source import (
    ROOT,
    Use,
    attributes,
    files,
    imports,
    nodes_of,
    our_file,
    program,
    report,
    tree_of,
    within,
)

pytestmark = pytest.mark.long

# --- layers ----------------------------------------------------------------------------------

OF_THE_SCHEMA = ("ast", "gc", "importlib", "itertools", "json", "pathlib", "sys", "types.UnionType")
"""What `protocol/schema.py`, a development tool, needs beyond the contract."""

FOR_HOSTS = "protocol/clients/"
"""The clients, which no module of ours imports."""

STANDARD = (
    "base64 binascii bisect collections contextlib datetime decimal email.utils enum fnmatch functools hashlib "
    "importlib io.StringIO itertools math re string struct types.MappingProxyType typing unicodedata urllib.parse "
    "uuid.UUID zlib"
)
PURE = (*STANDARD.split(), "msgspec", "protocol")
"""What sans-IO modules may import: nothing here reads, writes, waits, asks the clock or draws lots by itself."""

IMPURE_CALLS = ("open", "print", "input", "datetime.now", "datetime.utcnow", "date.today", "datetime.today")


def test_protocol_imports_nothing_but_itself_msgspec_and_typing() -> None:
    """Invariant 1."""
    allowed = ("protocol", "msgspec", "typing")
    wrong = [
        use
        for file in files("protocol")
        if not file.startswith(FOR_HOSTS)
        for use in imports(file)
        if not within(use.what, (*allowed, *OF_THE_SCHEMA) if file == "protocol/schema.py" else allowed)
    ]
    assert not wrong, report(wrong)


def test_the_program_does_not_import_the_tool_that_makes_the_schema() -> None:
    """Invariant 1: `protocol/schema.py` may import more than the contract because nothing imports it."""
    tools = ["protocol.schema", "protocol.emitters", "protocol.clients"]
    wrong = [use for file in files("sidecar") for use in imports(file) if within(use.what, tools)]
    assert not wrong, report(wrong)


def test_wires_and_codecs_are_sans_io() -> None:
    """Invariant 1: no event loop, no HTTP client, no os, no time, no chance, no log, in them or in what they import."""
    reached, pending = set[str](), set(files("sidecar/wires", "sidecar/codecs", "sidecar/formats"))
    while pending:
        reached |= pending
        pending = {module for file in pending for use in imports(file) if (module := our_file(use.what))} - reached
        # The program's own tables are data, wherever they lie.
        pending.discard("sidecar/core/resources.py")
    wrong = [
        use
        for file in sorted(reached)
        for use in imports(file)
        if not within(use.what, PURE) and not our_file(use.what)
    ]
    wrong += [use for file in sorted(reached) for use in attributes(file) if use.what in IMPURE_CALLS]
    assert len(reached) > 8
    assert not wrong, report(wrong)


@pytest.mark.spawns
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
    "httpx2": ("sidecar/http/proxied.py",),
    "httptools": ("sidecar/http/reply_parser.py",),
    "truststore": ("sidecar/http/dial.py",),
    "ssl": tuple(f"sidecar/http/{name}.py" for name in ("dial", "direct", "failures", "proxied", "trust", "unread")),
    # A connection is the loop's own protocol: each layer above that costs more than the work itself.
    "asyncio": (
        "sidecar/core/event_loop.py",
        *(f"sidecar/http/{name}.py" for name in ("connection", "dial", "direct", "pool", "spares", "turns")),
    ),
    "uvloop": ("sidecar/core/event_loop.py",),
    "threading": ("sidecar/core/event_loop.py", "sidecar/server/stdio.py"),
    "platformdirs": ("sidecar/config/loader.py",),
    # A process that an editor spawned imports neither.
    "click": tuple(f"sidecar/cli/{name}.py" for name in ("commands", "completion", "manual")),
    "rich": ("sidecar/cli/tables.py",),
    "sidecar.cli.commands": ("sidecar/__main__.py", "sidecar/cli/manual.py"),
    "sidecar.cli.trace": ("sidecar/__main__.py", "sidecar/cli/commands.py"),
    "sidecar.config.file": ("sidecar/config/loader.py",),
    "sidecar.config.tables": ("sidecar/config/file.py",),
    "sidecar.config.catalogue_table": ("sidecar/config/tables.py",),
    "pydantic": ("sidecar/config/catalogue_table.py", "sidecar/config/file.py", "sidecar/config/tables.py"),
    "keyring": ("sidecar/auth/logins/store_keychain.py",),
    "tomllib": ("sidecar/config/file.py", "sidecar/core/resources.py"),
    "ctypes": ("sidecar/core/platforms.py",),
    "fcntl": ("sidecar/core/platforms.py",),
    "msvcrt": ("sidecar/core/platforms.py",),
    "select": ("sidecar/core/platforms.py",),
    "resource": ("sidecar/core/platforms.py",),
    "sqlite3": ("sidecar/reuse/answer_file.py", "sidecar/usage/ledger_file.py"),
    # The log is written by hand, so that no library's chatter gets into it.
    "logging": (),
    # There is no second way to the network, no listener, no child and no code in data.
    "aiohttp": (),
    "http.client": (),
    "httpx": (),
    "multiprocessing": (),
    "pickle": (),
    "requests": (),
    "socket": ("sidecar/core/event_loop.py", "sidecar/http/dial.py", "sidecar/http/unread.py"),
    "socketserver": (),
    "subprocess": (),
    # What the system says of proxies.
    "urllib.request": ("sidecar/config/proxies.py",),
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
    "sidecar/http/unread.py": {"os.dup"},  # a second descriptor of a socket
    # Before the descriptors are claimed, and for a start that cannot succeed, it says so itself.
    "sidecar/__main__.py": {"os.write", "sys.stderr"},
    # The streams of a command, which serves no host.
    "sidecar/cli/manual.py": {"sys.stdout"},  # a command of ours alone
    "sidecar/cli/trace.py": {"sys.stderr"},
    "sidecar/cli/terminal.py": {"sys.stdin", "sys.stdout", "sys.stderr", "input"},
    "sidecar/core/log.py": {"sys.stderr"},  # the stream that `stdio` has put there, which never blocks
    "sidecar/core/platforms.py": {"os.close"},  # the descriptor of a folder, of which there is no file object
}


def test_only_stdio_touches_the_descriptors() -> None:
    """Invariants 2 and 3; the exceptions and their reasons stand in DESCRIPTOR_USERS."""
    wrong = [
        use
        for file in program()
        for use in attributes(file)
        if file != "sidecar/server/stdio.py"
        and DESCRIPTORS.fullmatch(use.what)
        and use.what not in DESCRIPTOR_USERS.get(file, ())
    ]
    assert not wrong, report(wrong)


def test_only_config_reads_the_environment_and_nothing_asks_for_the_working_directory() -> None:
    """Invariant 2: a project that is open in the editor must not configure the process that holds the keys."""
    environment = re.compile(r"os\.(environb?|getenvb?|putenv|unsetenv)|os\.path\.expandvars")
    directory = re.compile(r"os\.(getcwdb?|chdir|curdir)|Path\.(cwd|home)")
    uses = [use for file in program() for use in (*attributes(file), *imports(file))]
    readers = ("sidecar/config/loader.py", "sidecar/config/proxies.py")
    wrong = [use for use in uses if environment.fullmatch(use.what) and use.file not in readers]
    wrong += [use for use in uses if directory.fullmatch(use.what)]
    assert not wrong, report(wrong)


def test_only_platforms_asks_which_system_it_runs_on() -> None:
    """Invariant 2."""
    asks = re.compile(r"sys\.platform|os\.name|os\.uname|platform\.\w+")
    wrong = [use for file in program() for use in attributes(file) if asks.fullmatch(use.what)]
    wrong = [use for use in wrong if use.file != "sidecar/core/platforms.py"]
    assert not wrong, report(wrong)


# --- errors and state ------------------------------------------------------------------------


CATCH_ALL = {"sidecar/server/dispatch.py": 2} | dict.fromkeys(
    (f"sidecar/{name}.py" for name in ("branches/run", "core/single_flight", "http/connection", "__main__")), 1
)
"""How often a module catches every exception. ARCHITECTURE.md names the same modules and says why."""


def test_every_exception_is_caught_only_where_it_becomes_a_line() -> None:
    """Invariant 5: everywhere else the exceptions that are caught are named."""
    found = [
        Use(file, handler.lineno, "catches everything")
        for file in program()
        for handler in nodes_of(file)
        if isinstance(handler, ast.ExceptHandler) and _catches_everything(handler)
    ]
    assert Counter(use.file for use in found) == CATCH_ALL, report(found)


def test_the_document_names_every_module_that_catches_all_exceptions() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    paragraph = text.partition("`except Exception` stands in")[2].partition("Everywhere else")[0]
    assert set(re.findall(r"`(sidecar/[\w/]+\.py)`", paragraph)) == set(CATCH_ALL)


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return False  # It tidies up and lets the failure pass as it is.
    if handler.type is None:
        return True
    return any(
        isinstance(node, ast.Name) and node.id in ("Exception", "BaseException") for node in ast.walk(handler.type)
    )


MODULE_STATE: dict[tuple[str, str], str] = {
    ("sidecar/server/lenient.py", "_find_decoders"): "the decoders of a struct's fields, by its type",
    ("sidecar/server/lenient.py", "_list_fields"): "the fields of a struct, by its type",
    ("sidecar/server/lenient.py", "_find_item_decoder"): "the decoders of the entries of its lists, by its type",
    ("sidecar/outputs/schema_check.py", "_compile"): "the last patterns of schemas, of which 64 are kept",
    ("sidecar/server/framing.py", "_decoders"): "one decoder for each struct of parameters, by its type",
    ("sidecar/core/log.py", "_threshold"): "the level of the process, set once at the start",
    ("sidecar/upstream/recorder.py", "_numbers"): "the number in the name of the next recording",
    ("sidecar/catalogue/models.py", "_split_providers"): "one file, split by provider when first asked",
    ("sidecar/catalogue/models.py", "_split_known"): "one provider's rows, for the providers that the file has",
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
    names = [ast.unparse(decorator) for decorator in node.decorator_list]
    # What a `cached_property` remembers goes with its object.
    return any("cache" in name and name != "cached_property" for name in names)


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


# --- what a process loads, and what it shows -------------------------------------------------

RECORDED = ROOT / "fixtures/anthropic_messages/text/response.sse"
SDKS = ("anthropic", "boto3", "botocore", "google", "keyring", "openai", "pydantic", "requests", "tiktoken")


@pytest.mark.spawns
def test_a_plain_chat_loads_no_sdk(tmp_path: Path) -> None:
    """Invariant 6: a key, a stream over HTTP, and none of the slow packages, as the interpreter lists them."""
    listing = environment(tmp_path, PYTHONPROFILEIMPORTTIME="1")
    with ListeningProvider() as provider, Sidecar(tmp_path, provider, env=listing) as sidecar:
        end = sidecar.reply(sidecar.chat(provider.play("text", stream([RECORDED.read_bytes()]))))
        assert end["data"]["type"] == "done"
    loaded = re.findall(r"^import time: +\d+ \| +\d+ \| +([\w.]+)$", sidecar.stderr.decode(), re.MULTILINE)
    assert "httptools" in loaded
    assert not [name for name in loaded if within(name, SDKS)]


@pytest.mark.spawns
@linux_only
def test_a_process_listens_nowhere(tmp_path: Path) -> None:
    """Ours: whoever wants something of the process has its pipes, and nobody else gets near the keys."""
    with ListeningProvider() as provider, Sidecar(tmp_path, provider) as sidecar:
        sidecar.reply(sidecar.chat(provider.play("text", stream([RECORDED.read_bytes()]))))
        opened = descriptors(sidecar.process.pid).values()
        found = listening(sidecar.process.pid)
    assert any(each.startswith("socket:") for each in opened)
    assert not found


def test_a_secret_does_not_show_itself() -> None:
    """Invariant 9."""
    hidden = Secret("sk-canary-0123456789", "request")
    target = Target(
        row=next(iter(read_providers().values())),
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
