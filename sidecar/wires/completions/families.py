"""Families of models that were trained to fill a gap, and the tokens that they were trained with. [pure]

The rows stand in `families.toml`. Must not know providers or HTTP.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache

import msgspec

from sidecar.core import resources
from sidecar.wires.completions.types import File

PATH = resources.find("wires/completions/families.toml")


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One family: a row of `families.toml`."""

    models: list[str]
    """Patterns of its models' names, in lower case and without what stands before the last `/`."""
    not_models: list[str] = []
    """Patterns of those among them that were not trained for it."""
    template: str
    """The prompt. `{p}` is the text before the cursor, `{s}` that after it, `{path}`, `{language}` and `{files}` what
    they say."""
    tokens: list[str]
    """The texts that are tokens of the model: they end the answer, and must not stand in the prompt by chance. The
    first four are sent as stops."""
    files: str = ""
    """How another file is written: `{path}` and `{text}`. Default: as comments, in front of the prompt."""
    files_start: str = ""
    """What comes before the first of the other files."""
    files_end: str = ""
    """What comes after the last: the head of the file itself."""
    file_mark: str = ""
    """One more stop if there are other files: how the next one would begin."""
    files_in_prefix: bool = False
    """Other files are part of the text before the cursor, at the provider's own endpoint too. Default: false."""


@cache
def read_families() -> dict[str, Family]:
    """Return the families by name, in the order in which they are tried."""
    return msgspec.toml.decode(PATH.read_bytes(), type=dict[str, Family])


def find_family(model: str) -> Family | None:
    """Return the family of *model*, or None if it is not known to have one: a wrong template is worse than none."""
    name = model.rpartition("/")[2].lower()
    for family in read_families().values():
        if _matches(name, family.models) and not _matches(name, family.not_models):
            return family
    return None


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """What a family's template is filled with."""

    prefix: str
    suffix: str
    path: str = ""
    language: str = ""
    files: tuple[File, ...] = ()


def fill_template(family: Family, given: Template) -> str:
    """Return the prompt of a model of *family*."""
    prefix = escape_tokens(given.prefix, family)
    files = write_files(family, given.files, given.path)
    in_template = "{files}" in family.template
    if files and family.files_in_prefix:
        prefix, files = files + prefix, ""
    values = {
        "{p}": prefix,
        "{s}": escape_tokens(given.suffix, family),
        "{path}": given.path,
        "{language}": given.language,
        "{files}": files if in_template else "",
    }
    filled = _fill(family.template, values)
    return filled if in_template else files + filled


def _fill(template: str, values: dict[str, str]) -> str:
    """Return *template* with its names replaced at once: a text that is put in may hold such a name too."""
    pieces, rest = [], template
    while rest:
        places = [(at, name) for name in values if (at := rest.find(name)) >= 0]
        if not places:
            break
        at, name = min(places)
        pieces += [rest[:at], values[name]]
        rest = rest[at + len(name) :]
    return "".join((*pieces, rest))


def write_files(family: Family | None, files: Sequence[File], path: str) -> str:
    """Return the *files* as a model of *family* reads them, up to the beginning of the file at *path*."""
    if not files:
        return ""
    if family is None or not family.files:
        return "".join(f"# {file.path}\n{file.text.rstrip(chr(10))}\n\n" for file in files) + f"# {path or 'file'}\n"
    written = (_fill(family.files, {"{path}": file.path, "{text}": escape_tokens(file.text, family)}) for file in files)
    return family.files_start + "".join(written) + _fill(family.files_end, {"{path}": path})


def escape_tokens(text: str, family: Family) -> str:
    """Return *text* with the tokens of *family* broken by a blank: the server would take them for its own."""
    for token in family.tokens:
        if token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
