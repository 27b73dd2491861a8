"""What must never be seen again: the keys, tokens and private keys that tests give, in every spelling.

A test writes `CANARY` into each secret that it makes up. One that cannot hold the word is known by its name: a
variable such as `ACME_API_KEY`, a field such as `access_token`, in a request, a configuration or an answer.
"""

import re
import tomllib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

WORD = "CANARY"

MIN_CHARS = 8
"""The shortest secret without the word that is looked for: a shorter one may be a part of anything."""

_VARIABLE = re.compile(r"_(?:API_KEY|ACCESS_KEY|AUTH_TOKEN|TOKEN|SECRET|PASSWORD)$")
_FIELD = re.compile(
    r"(?i)(?:api_?key|(?:access|refresh|id|session|auth|gateway|bearer)_?token|device_?code|password|"
    r"client_?secret|client_?assertion|secret_?access_?key|private_?key)"
)

_TOKEN = re.compile(rf"[\w.-]*{WORD}[\w.-]*")


def spellings(secret: str) -> tuple[bytes, ...]:
    """Return how *secret* may stand in bytes: plain, for URLs, in hexadecimal, in base64 wherever it begins there."""
    plain = secret.encode()
    found = {plain, quote(secret).encode(), quote(secret, safe="").encode(), quote_plus(secret).encode()}
    found.add(plain.hex().encode())
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        # Characters that are of this secret alone, whatever stands before and after it.
        last = (shift + len(plain)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            found.add(encode(bytes(shift) + plain)[first:last])
    return tuple(sorted(found))


_known: dict[str, tuple[bytes, ...]] = {WORD: spellings(WORD)}
"""What is looked for. It grows with the session: what was a secret in one test is none of another's business."""

_forms: list[bytes] = [*_known[WORD]]
"""All of it, for who looks through every line of a process."""


def register(secret: str) -> None:
    """Look for *secret* from now on; of a long one, such as a private key, each line is one."""
    for line in secret.splitlines():
        if len(line) >= MIN_CHARS and WORD not in line and not line.startswith("-----") and line not in _known:
            _known[line] = spellings(line)
            _forms.extend(_known[line])


def register_fields(value: Any) -> None:
    """Look for what stands in *value*, JSON or TOML, under the name of a secret."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            if isinstance(each, str) and isinstance(name, str) and _FIELD.fullmatch(name):
                register(each)
            else:
                register_fields(each)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for each in value:
            register_fields(each)


def of_environment(env: Mapping[str, str]) -> set[str]:
    """Return the secrets among the variables of *env*, which are looked for from now on."""
    found = {value for name, value in env.items() if _VARIABLE.search(name) or WORD in value}
    for value in found:
        register(value)
    return found


def of_configuration(arguments: Sequence[str]) -> str:
    """Return the text of the configuration that *arguments* name, whose secrets are looked for from now on."""
    files = [Path(after) for before, after in pairwise(arguments) if before == "--config"]
    text = "".join(file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file())
    with suppress(tomllib.TOMLDecodeError):
        register_fields(tomllib.loads(text))
    return text


def seen_in(data: bytes) -> str | None:
    """Return the secret that stands in *data*, None where there is none."""
    for form in _forms:
        if form in data:
            return next(secret for secret, forms in _known.items() if form in forms)
    return None


def tokens(text: str) -> set[str]:
    """Return the secrets with the word that stand in *text*, each whole."""
    return set(_TOKEN.findall(text))
