"""Looks at this machine and asks the providers, for `sidecar doctor`. Must not judge what it finds.

Everything has a limit of time, and what asks the network is done all at once. No request carries a prompt.
"""

import errno
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import msgspec

from protocol.replies import PROTOCOL_VERSION
from sidecar import __version__
from sidecar.cli.client import Client, Question
from sidecar.cli.doctor.findings import Findings, Folder, Ledger, Provider, Proxy
from sidecar.config import proxies
from sidecar.config.values import Config
from sidecar.core import platforms, url_policy
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.values import TargetSpec
from sidecar.upstream.context import Upstream
from sidecar.usage.ledger_errors import LedgerError
from sidecar.usage.ledger_schema import VERSION

REACH_TIMEOUTS = HttpTimeouts(connect_seconds=4, first_byte_seconds=8, idle_seconds=4)
TEST_TIMEOUT_MS = 10_000
CONNECT_SECONDS = 4.0

IPV6_PLACE = "2001:4860:4860::8888"
"""A public name server. Nothing is sent to it: the system only says whether there is a route."""

NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
"""Why a file cannot be written where the disk, or the user's share of it, is full."""

ROOTS = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""What OpenSSL reads (https://docs.openssl.org/3.0/man3/SSL_CTX_load_verify_locations/, read 2026-11)."""


class _Reached(NamedTuple):
    """What came of asking an address."""

    failure: dict[str, Any] | None = None
    is_web_page: bool = False
    is_ipv6_only: bool = False
    ahead_seconds: float | None = None


def examine(client: Client, named: Sequence[str], own: Config, mistakes: Sequence[str]) -> Findings:
    """Return what there is to find, of the providers *named* or of all.

    *own* is the user's configuration, and *mistakes* what is wrong with it. That of *client* has no ledger: looking
    changes no file.

    Raises: FailedError for a provider that does not exist.
    """
    up = client.app.upstream
    statuses = {name: client.ask("authenticate", {"op": "status"}, provider=name) for name in named}
    named = [each["provider"] for each in statuses.values()]
    listed = client.ask("list_providers")["providers"]
    looked_at = [each for each in listed if not named or each["id"] in named]
    statuses = {each["id"]: client.ask("authenticate", {"op": "status"}, provider=each["id"]) for each in looked_at}
    addresses = {each["id"]: _find_address(up, each["id"]) for each in looked_at if each["ready"]}
    # A provider that cannot be asked is not contacted.
    reached, found_proxies, ledger, has_ipv6 = client.run(
        _look_around(up, {name: url for name, url in addresses.items() if url}, own.ledger_path),
        waiting="looking around",
    )
    tested = [
        each["id"]
        for each in looked_at
        if each["ready"] and each["auth"] != "none" and (each["id"] not in reached or not reached[each["id"]].failure)
    ]
    answers = client.ask_all(
        [Question("authenticate", {"op": "validate"}, name, TEST_TIMEOUT_MS) for name in tested],
        waiting="testing credentials",
    )
    tests = dict(zip(tested, answers, strict=True))
    clocks = [each.ahead_seconds for each in reached.values() if each.ahead_seconds is not None]
    providers = tuple(
        _describe(each, statuses[each["id"]], addresses.get(each["id"]), reached.get(each["id"]), tests, named)
        for each in looked_at
    )
    return Findings(
        program=f"{__version__}, protocol {PROTOCOL_VERSION}, {describe_python()}, {platforms.describe_system()}",
        config_path=own.path,
        config_exists=Path(own.path).is_file(),
        config_mistakes=tuple(mistakes),
        home=own.store_dir,
        folders=tuple(look_at_folder(each) for each in _list_folders(own)),
        store_warnings=tuple((each.code, each.message) for each in up.store.warnings),
        locked=tuple(sorted(up.store.locked)),
        uses_keychain=own.uses_keychain,
        ledger=ledger,
        proxies=found_proxies,
        missing_roots=_find_missing_roots(own.env),
        clock_ahead_seconds=median(clocks) if clocks else None,
        has_ipv6=has_ipv6,
        providers=providers,
    )


def describe_python() -> str:
    """Return the version of Python."""
    return f"Python {'.'.join(map(str, sys.version_info[:3]))}"


def _describe(
    listed: Mapping[str, Any],
    status: Mapping[str, Any],
    address: str | None,
    reached: _Reached | None,
    tests: Mapping[str, dict[str, Any]],
    named: Sequence[str],
) -> Provider:
    test = tests.get(listed["id"])
    failure = test.get("error") if test else None
    # Not every provider has something that tests a key free of charge.
    is_untestable = failure is not None and failure.get("param") == "params.op"
    reached = reached or _Reached()
    return Provider(
        id=listed["id"],
        ready=listed["ready"],
        needs_credential=listed["credential_source"] is not None or listed["method"] is not None or not listed["ready"],
        was_named=listed["id"] in named,
        source=listed["credential_source"],
        env=tuple(listed["env"]),
        expires_at=status.get("expires_at"),
        problem=listed.get("problem"),
        origin=None if address is None else _shorten(address),
        is_ipv6_only=reached.is_ipv6_only,
        reach_failure=reached.failure,
        is_web_page=reached.is_web_page,
        was_tested=test is not None and failure is None,
        test_failure=None if is_untestable else failure,
    )


# --- this machine ----------------------------------------------------------------------------


def _list_folders(config: Config) -> list[str]:
    ledger = None if config.ledger_path is None else str(Path(config.ledger_path).parent)
    return list(dict.fromkeys(filter(None, (config.store_dir, ledger, config.cache_dir))))


def look_at_folder(path: str) -> Folder:
    """Return whether files can be written in *path*, or where it would be made. Leaves nothing behind."""
    place = next(each for each in (Path(path), *Path(path).parents) if each.exists())
    problem, is_full = None, False
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        problem, is_full = error.strerror or type(error).__name__, error.errno in NO_ROOM
    try:
        free_bytes = read_free_bytes(place)
    except OSError:
        free_bytes = None
    return Folder(path=path, free_bytes=free_bytes, problem=problem, is_full=is_full)


def read_free_bytes(place: Path) -> int:
    """Return how much can be written to the disk of *place*."""
    return shutil.disk_usage(place).free


def _find_missing_roots(env: Mapping[str, str]) -> str | None:
    return next((name for name in ROOTS if env.get(name) and not Path(env[name]).exists()), None)


def inspect_ledger(path: str | None) -> Ledger:
    """Return the state of the ledger in *path*. Reads it all, and changes nothing."""
    from sidecar.usage import ledger_file  # SQLite.

    if path is None or not Path(path).exists():
        return Ledger(path=path, newest=VERSION)
    try:
        version = ledger_file.inspect(Path(path))
    except LedgerError as error:
        return Ledger(path=path, newest=VERSION, problem=error.hint)
    return Ledger(path=path, newest=VERSION, version=version)


# --- the network -----------------------------------------------------------------------------


def _find_address(up: Upstream, name: str) -> str | None:
    """Return the base address of a provider; None if there is none, or a setting is missing."""
    try:
        target = make_target(resolve_provider(up.setup, TargetSpec(provider=name)))
    except SidecarError:
        return None
    url = target.route.base_url
    # RFC 2606: such a name leads nowhere; the provider of recordings has one.
    return None if (urlsplit(url).hostname or ".invalid").endswith(".invalid") else url


async def _look_around(
    up: Upstream, addresses: Mapping[str, str], ledger_path: str | None
) -> tuple[dict[str, _Reached], tuple[Proxy, ...], Ledger, bool]:
    reached = dict[str, _Reached]()
    found = dict[str, Proxy]()
    ledgers = list[Ledger]()

    async def reach(name: str, url: str) -> None:
        reached[name] = await _reach(up, url)

    async def try_proxy(proxy: proxies.NamedProxy) -> None:
        found[proxy.variable] = await _look_at_proxy(proxy)

    async def read_ledger() -> None:
        ledgers.append(await anyio.to_thread.run_sync(inspect_ledger, ledger_path))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_ledger)
        for proxy in proxies.read_all().values():
            tasks.start_soon(try_proxy, proxy)
        for name, url in addresses.items():
            tasks.start_soon(reach, name, url)
    return reached, tuple(found[name] for name in sorted(found)), ledgers[0], await has_ipv6_route()


async def _reach(up: Upstream, url: str) -> _Reached:
    """Ask an address for nothing in particular, without a credential."""
    request = HttpRequest(method="GET", url=url, headers={"accept": "application/json"})
    try:
        async with up.http.send(request, {}, REACH_TIMEOUTS) as response:
            page = response.headers.get("content-type", "").startswith("text/html") and response.status < 400
            return _Reached(is_web_page=page, ahead_seconds=_compare_clocks(response.headers.get("date")))
    except SidecarError as error:
        host = urlsplit(url).hostname or ""
        return _Reached(failure=msgspec.to_builtins(error.body), is_ipv6_only=await is_ipv6_only(host))


def _compare_clocks(date: str | None) -> float | None:
    try:
        return None if date is None else time.time() - parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def _shorten(url: str) -> str:
    """Return scheme, host and port of *url*, without a port that goes without saying: no name, password or query."""
    scheme, _, place = url_policy.get_origin(url).partition("://")
    return f"{scheme}://{place.removesuffix({'https': ':443', 'http': ':80'}.get(scheme, ' '))}"


async def _look_at_proxy(proxy: proxies.NamedProxy) -> Proxy:
    if proxy.url is None:
        return Proxy(variable=proxy.variable, origin=None)
    parts = urlsplit(proxy.url)
    problem = await try_connecting(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    return Proxy(variable=proxy.variable, origin=_shorten(proxy.url), problem=problem)


async def try_connecting(host: str, port: int) -> str | None:
    """Return why nothing can be sent to a port; None: something listens there."""
    try:
        with anyio.fail_after(CONNECT_SECONDS):
            stream = await anyio.connect_tcp(host, port)
    except TimeoutError:
        return "does not answer in time"
    except OSError:
        return "cannot be reached"
    await stream.aclose()
    return None


async def is_ipv6_only(host: str) -> bool:
    """Return whether every address of *host* is one of IPv6."""
    try:
        with anyio.fail_after(CONNECT_SECONDS):
            found = await anyio.getaddrinfo(host, None)
    except (OSError, TimeoutError, UnicodeError):
        return False
    return bool(found) and all(":" in str(each[4][0]) for each in found)


async def has_ipv6_route() -> bool:
    """Return whether the system knows a way to addresses of IPv6."""
    try:
        with anyio.fail_after(CONNECT_SECONDS):
            socket = await anyio.create_connected_udp_socket(IPV6_PLACE, 53)
    except (OSError, TimeoutError):
        return False
    await socket.aclose()
    return True
