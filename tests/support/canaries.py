"""What must never be seen again: the keys, tokens and private keys that tests give, in every spelling.

A test writes `CANARY` into each secret that it makes up. One that cannot hold the word is known by its name: a
variable such as `ACME_API_KEY`, a field such as `access_token`, in a request, a configuration or an answer.
"""

import json
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


MAX_SECRETS = 40
"""What one test may make up: each costs a search of every byte that comes back."""


class Secrets:
    """What is looked for in all that one test sees, the word always among it."""

    def __init__(self) -> None:
        self._forms: dict[bytes, str] = {}
        """Each spelling, and the secret that it is one of."""
        self._known = set[str]()
        self.forget()

    def forget(self) -> None:
        """Look for the word alone."""
        self._known = {WORD}
        self._forms = dict.fromkeys(spellings(WORD), WORD)

    def register(self, secret: str) -> None:
        """Look for *secret* from now on; of one with many lines, such as a private key, for the one in the middle."""
        fit = [each for each in secret.splitlines() if len(each) >= MIN_CHARS and not each.startswith("-----")]
        line = fit[len(fit) // 2] if fit else WORD
        if WORD not in line and line not in self._known:
            self._known.add(line)
            assert len(self._known) <= MAX_SECRETS, "so many secrets would take longer to look for than the test"
            # Replaced and never changed: a thread that reads may be going through it.
            self._forms = self._forms | dict.fromkeys(spellings(line), line)
        if secret.startswith("{"):
            self._register_document(secret)

    def _register_document(self, text: str) -> None:
        with suppress(ValueError):
            self.register_fields(json.loads(text))

    def register_fields(self, value: Any) -> None:
        """Look for what stands in *value*, JSON or TOML, under the name of a secret."""
        if isinstance(value, Mapping):
            for name, each in value.items():
                if isinstance(each, str) and isinstance(name, str) and _FIELD.fullmatch(name):
                    self.register(each)
                else:
                    self.register_fields(each)
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            for each in value:
                self.register_fields(each)

    def register_environment(self, env: Mapping[str, str]) -> set[str]:
        """Return the secrets among the variables of *env*; they, and those in files that it names, are looked for."""
        found = {value for name, value in env.items() if _VARIABLE.search(name) or WORD in value}
        for value in found:
            self.register(value)
        for value in env.values():
            if value.endswith(".json") and Path(value).is_file():
                self._register_document(Path(value).read_text(encoding="utf-8", errors="replace"))
        return found

    def register_configuration(self, arguments: Sequence[str]) -> str:
        """Return the text of the configuration that *arguments* name; its secrets are looked for from now on."""
        files = [Path(after) for before, after in pairwise(arguments) if before == "--config"]
        text = "".join(file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file())
        with suppress(tomllib.TOMLDecodeError):
            self.register_fields(tomllib.loads(text))
        return text

    def find_in(self, data: bytes) -> str | None:
        """Return the secret that stands in *data*, None where there is none."""
        return next((secret for form, secret in self._forms.items() if form in data), None)


def tokens(text: str) -> set[str]:
    """Return the secrets with the word that stand in *text*, each whole."""
    return set(_TOKEN.findall(text))
