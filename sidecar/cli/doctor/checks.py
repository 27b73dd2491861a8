"""What is wrong and what to do about it: from the findings of `sidecar doctor` to its rows. [pure]

Each rule is a function of the findings. A remedy is something that the person can do now.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import msgspec

from sidecar.cli.doctor.findings import Failure, Findings, Folder, Provider

State = Literal["ok", "note", "warn", "fail"]

CLOCK_WARN_SECONDS = 60
CLOCK_FAIL_SECONDS = 300
"""Signatures of requests are valid for five minutes, as those of AWS are."""

FULL_BYTES = 1024 * 1024
LOW_BYTES = 100 * 1024 * 1024
"""What is free on a disk that is as good as full, and on one that soon will be."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One row."""

    name: str
    state: State
    found: str
    todo: str = ""


def judge(findings: Findings, now: datetime) -> list[Check]:
    """Return a row for everything that was looked at; *now* tells which logins have expired."""
    keyless = [each for each in findings.providers if _is_unused(each, findings)]
    return [
        Check(name="program", state="ok", found=findings.program),
        *_judge_configuration(findings),
        *_judge_folders(findings),
        *_judge_store(findings),
        *_judge_keychain(findings),
        *_judge_ledger(findings),
        *_judge_proxies(findings),
        *_judge_trust(findings),
        *_judge_clock(findings),
        *_judge_ipv6(findings),
        *(_judge_provider(each, findings, now) for each in findings.providers if each not in keyless),
        *_judge_keyless(findings, [each.id for each in keyless]),
    ]


# --- this machine ----------------------------------------------------------------------------


def _judge_configuration(findings: Findings) -> Iterator[Check]:
    for mistake in findings.config_mistakes:
        todo = "correct it: nothing is asked meanwhile; CONFIGURATION.md has every key and variable"
        yield Check(name="configuration", state="fail", found=mistake, todo=todo)
    if not findings.config_mistakes:
        found = findings.config_path if findings.config_exists else "none, and none is needed"
        yield Check(name="configuration", state="ok", found=found)


def _judge_folders(findings: Findings) -> Iterator[Check]:
    if findings.home is None:
        found = "no folder of yours is known: logins and the ledger last as long as the process"
        yield Check(name="folders", state="fail", found=found, todo="set HOME, or SIDECAR_HOME to an absolute path")
    for folder in findings.folders:
        yield _judge_folder(folder)


def _judge_folder(folder: Folder) -> Check:
    if folder.is_full or (folder.problem is None and folder.free_bytes is not None and folder.free_bytes < FULL_BYTES):
        found, todo = f"the disk of {folder.path} is full", "free some space, or set SIDECAR_HOME to another disk"
        return Check(name="folders", state="fail", found=found, todo=todo)
    if folder.problem is not None:
        found = f"{folder.path} cannot be written: {folder.problem}"
        todo = "let yourself write there, or set SIDECAR_HOME to a folder of yours"
        return Check(name="folders", state="fail", found=found, todo=todo)
    if folder.free_bytes is not None and folder.free_bytes < LOW_BYTES:
        found = f"the disk of {folder.path} has only {folder.free_bytes // FULL_BYTES} MB left"
        return Check(name="folders", state="warn", found=found, todo="free some space")
    return Check(name="folders", state="ok", found=folder.path)


_STORE_REMEDIES = {
    "store_refused": "make the folder and credentials.json in it your own (chown, chmod 600), or move them away",
    "store_unavailable": "let yourself read the file, or move it away and log in again",
    "store_corrupt": "log in again: the damaged file lies beside it",
    "store_was_open": "replace the keys that were stored: others could read them",
    "store_locked": "end the other sidecar process that hangs",
}
"""Code of a warning of the store → what to do."""


def _judge_store(findings: Findings) -> Iterator[Check]:
    problems = [(code, message) for code, message in findings.store_warnings if code in _STORE_REMEDIES]
    for code, message in problems:
        yield Check(name="store", state="fail", found=message, todo=_STORE_REMEDIES[code])
    if not problems and findings.home is not None:
        yield Check(name="store", state="ok", found="stored credentials can be read")


def _judge_keychain(findings: Findings) -> Iterator[Check]:
    silent = [message for code, message in findings.store_warnings if code == "keychain_unavailable"]
    if findings.locked or silent:
        whose = f" (it has the login of {', '.join(findings.locked)})" if findings.locked else ""
        found = f"the keychain is locked, or does not answer{whose}"
        todo = "unlock it (log in to the desktop, or `gnome-keyring-daemon --unlock`), or log in again to store a file"
        yield Check(name="keychain", state="fail", found=found, todo=todo)
    elif not findings.uses_keychain:
        yield Check(name="keychain", state="note", found="not used, because SIDECAR_HOME is set")
    else:
        yield Check(name="keychain", state="ok", found="nothing is wrong with what it keeps")


def _judge_ledger(findings: Findings) -> Iterator[Check]:
    ledger = findings.ledger
    if ledger.path is None:
        yield Check(name="ledger", state="note", found="switched off")
    elif ledger.problem is not None:
        todo = "move the file away, or set SIDECAR_LEDGER to another one (`off` for none)"
        yield Check(name="ledger", state="fail", found=f"{ledger.path}: {ledger.problem}", todo=todo)
    elif ledger.version is not None and ledger.version < ledger.newest:
        found = f"{ledger.path} has version {ledger.version}, and this program writes {ledger.newest}"
        todo = "run `sidecar usage`, which upgrades it; older programs cannot use it afterwards"
        yield Check(name="ledger", state="warn", found=found, todo=todo)
    else:
        yield Check(name="ledger", state="ok", found=ledger.path if ledger.version is not None else "no request yet")


# --- the network -----------------------------------------------------------------------------


def _judge_proxies(findings: Findings) -> Iterator[Check]:
    for proxy in findings.proxies:
        if proxy.origin is None:
            found = f"{proxy.variable} names no proxy that can be used"
            todo = f"set {proxy.variable} to http://host:port (SOCKS is not supported), or unset it"
            yield Check(name="proxy", state="fail", found=found, todo=todo)
        elif proxy.problem is not None:
            found = f"the proxy {proxy.origin} of {proxy.variable} {proxy.problem}"
            todo = f"start it, correct or unset {proxy.variable}, or exclude hosts with NO_PROXY"
            yield Check(name="proxy", state="fail", found=found, todo=todo)
        else:
            yield Check(name="proxy", state="ok", found=f"{proxy.origin} ({proxy.variable})")
    if not findings.proxies:
        yield Check(name="proxy", state="ok", found="none")


def _judge_trust(findings: Findings) -> Iterator[Check]:
    untrusted = [each.id for each in findings.providers if _has_reason(each, "tls") and not _blames_clock(each)]
    if findings.missing_roots:
        found = f"{findings.missing_roots} names certificates that are not there"
        yield Check(name="certificates", state="fail", found=found, todo=f"correct or unset {findings.missing_roots}")
    elif untrusted:
        found = f"the TLS connection to {', '.join(untrusted)} is not trusted or fails"
        todo = "if your organization inspects TLS, add its root certificate to the system's, or set SSL_CERT_FILE to it"
        yield Check(name="certificates", state="fail", found=found, todo=todo)
    else:
        yield Check(name="certificates", state="ok", found="the system's")


def _judge_clock(findings: Findings) -> Iterator[Check]:
    ahead = findings.clock_ahead_seconds
    if ahead is None:
        if blaming := [each.id for each in findings.providers if _blames_clock(each)]:
            found = f"the certificate of {', '.join(blaming)} is not valid by this machine's clock"
            todo = "set the clock (`timedatectl set-ntp true`); if it is right, the server needs a new certificate"
            yield Check(name="clock", state="fail", found=found, todo=todo)
        else:
            yield Check(name="clock", state="note", found="no provider has told the time")
        return
    away = abs(ahead)
    if away < CLOCK_WARN_SECONDS:
        yield Check(name="clock", state="ok", found="right")
        return
    minutes = round(away / 60)
    found = f"this machine's clock is {minutes} minutes {'ahead' if ahead > 0 else 'behind'}"
    state: State = "fail" if away >= CLOCK_FAIL_SECONDS else "warn"
    yield Check(name="clock", state=state, found=found, todo="set the clock, for instance `timedatectl set-ntp true`")


def _judge_ipv6(findings: Findings) -> Iterator[Check]:
    stuck = [each.id for each in findings.providers if each.is_ipv6_only and each.reach_failure]
    if not findings.has_ipv6 and stuck:
        found = f"{', '.join(stuck)} has IPv6 addresses alone, and this machine has no IPv6"
        todo = "use a network with IPv6, a proxy (HTTPS_PROXY), or an IPv4 address as `base_url`"
        yield Check(name="IPv6", state="fail", found=found, todo=todo)
    else:
        found = "there is a route" if findings.has_ipv6 else "none, and none is needed"
        yield Check(name="IPv6", state="ok" if findings.has_ipv6 else "note", found=found)


def _has_reason(provider: Provider, reason: str) -> bool:
    return (provider.reach_failure or {}).get("reason") == reason


def _blames_clock(provider: Provider) -> bool:
    return _has_reason(provider, "tls") and "clock" in str((provider.reach_failure or {}).get("hint"))


# --- providers -------------------------------------------------------------------------------


def _is_unused(provider: Provider, findings: Findings) -> bool:
    """Return whether nothing need be said of a provider but that it has no key."""
    return not (provider.ready or provider.was_named or provider.problem or provider.id in findings.locked)


def _judge_keyless(findings: Findings, names: list[str]) -> Iterator[Check]:
    if names:
        used = any(each.ready and each.needs_credential for each in findings.providers)
        todo = "sidecar login PROVIDER; `sidecar providers` lists the variables, too"
        yield Check(name="others", state="note" if used else "warn", found=f"no key: {', '.join(names)}", todo=todo)


def _judge_provider(provider: Provider, findings: Findings, now: datetime) -> Check:
    login = f"sidecar login {provider.id}"
    if provider.reach_failure:
        return _judge_reach(provider, provider.reach_failure)
    if provider.id in findings.locked:
        return _row(provider, "fail", "its key is in a keychain that is locked", "unlock the keychain")
    if provider.problem:
        return _row(provider, "fail", provider.problem, f"correct it, or replace it: {login}")
    if provider.test_failure:
        return _judge_test(provider, provider.test_failure, now)
    return _judge_ready(provider) if provider.ready else _judge_missing_key(provider)


def _judge_missing_key(provider: Provider) -> Check:
    variable = f", or set {provider.env[0]}" if provider.env else ""
    return _row(provider, "fail", "there is no key", f"sidecar login {provider.id}{variable}")


def _judge_ready(provider: Provider) -> Check:
    if not provider.needs_credential:
        return _row(provider, "ok", "no key is needed")
    where = f"the key from the {provider.source}" if provider.source else "this machine's identity"
    return _row(provider, "ok", f"accepts {where}" if provider.was_tested else f"has {where}, which was not tested")


def _judge_reach(provider: Provider, failure: Failure) -> Check:
    place, reason = provider.origin or "its address", failure.get("reason")
    if reason == "refused" and not provider.needs_credential and not provider.was_named:
        return _row(provider, "note", f"nothing listens at {place}", "start the server, if you use it")
    if reason == "dns":
        found, todo = f"the name of {place} is not known", "check the connection, the DNS server and `base_url`"
        return _row(provider, "fail", found, todo)
    if reason == "refused":
        return _row(provider, "fail", f"nothing listens at {place}", "start the server, or check `base_url`")
    if failure["code"] == "timeout":
        found = f"{place} does not answer in time"
        todo = "look for a firewall that drops the connection; set HTTPS_PROXY if there is a proxy"
        return _row(provider, "fail", found, todo)
    todo = str(failure.get("hint") or "check the connection and `base_url`")
    return _row(provider, "fail", f"{place}: {failure['message']}", todo)


def _judge_test(provider: Provider, failure: Failure, now: datetime) -> Check:
    code = failure["code"]
    if failure.get("reason") == "extra_missing":
        return _row(provider, "fail", failure["message"], failure["hint"])
    if provider.is_web_page and code not in ("auth_failed", "auth_required", "permission_denied", "rate_limited"):
        found = f"there is a web page at {provider.origin}, and no API"
        return _row(provider, "fail", found, "correct `base_url`: it is the address of the API, often with /v1")
    if code in ("auth_failed", "auth_required"):
        return _judge_refusal(provider, failure, now)
    if code in ("rate_limited", "quota_exceeded"):
        todo = "wait, or ask another model" if code == "rate_limited" else "pay, or raise the limit at the provider"
        return _row(provider, "warn", f"the key is limited: {failure['message']}", todo)
    return _row(provider, "fail", failure["message"], str(failure.get("hint") or "try again later"))


def _judge_refusal(provider: Provider, failure: Failure, now: datetime) -> Check:
    login = f"sidecar login {provider.id}"
    if provider.expires_at and _is_past(provider.expires_at, now):
        return _row(provider, "fail", f"the login has expired on {provider.expires_at[:10]}", f"log in again: {login}")
    where = f" (from the {provider.source})" if provider.source else ""
    todo = f"store a valid key: {login}"
    if provider.source == "environment" and provider.env:
        todo = f"correct or unset {' or '.join(provider.env)}, or {login}"
    return _row(provider, "fail", f"the credential is refused{where}: {failure['message']}", todo)


def _row(provider: Provider, state: State, found: str, todo: str = "") -> Check:
    return Check(name=provider.id, state=state, found=found, todo=todo)


def _is_past(time: str, now: datetime) -> bool:
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return False
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) < now
