"""The prompt of one way: the texts around the cursor as the wire sends them. [pure]"""

from protocol.completion import Complete, Method
from sidecar.completion.cuts import Place
from sidecar.wires.completions.families import Family, Template, fill_template, write_files
from sidecar.wires.completions.types import File, Prompt

ONE_LINE_STOP = "\n"

DEFAULT_TEMPERATURE = 0.0
"""Of several likely texts, the likeliest is wanted."""

SEVERAL_TEMPERATURE = 0.4
"""For several items, which would be alike otherwise."""


def make_prompt(params: Complete, family: Family | None, method: Method, *, has_file_field: bool) -> Prompt:
    """Return the prompt with which a model of *family* is asked by *method*, which is not `chat`.

    *has_file_field* says that the wire has a field for other files.
    """
    is_one_line = make_place(params).wants_one_line
    files = tuple(File(each.path, each.text) for each in params.context)
    prefix, suffix, tokens = params.prefix, params.suffix, list[str]()
    if method == "template" and family is not None:
        given = Template(
            prefix=prefix, suffix=suffix, path=params.path or "", language=params.language or "", files=files
        )
        prefix, suffix, files, tokens = fill_template(family, given), "", (), family.tokens
    elif not has_file_field:
        written = family if family is not None and family.files_in_prefix else None
        prefix, files = write_files(written, files, params.path or "") + prefix, ()
    return Prompt(
        prefix=prefix,
        suffix=suffix,
        is_raw=method == "template",
        files=files,
        path=params.path,
        language=params.language,
        max_tokens=params.options.max_tokens,
        n=params.options.n,
        temperature=choose_temperature(params),
        seed=params.options.seed,
        stops=_list_stops(params, family, tokens, is_one_line=is_one_line),
        is_one_line=is_one_line,
        budget_ms=params.options.budget_ms,
        provider_options=params.options.provider_options,
    )


def choose_temperature(params: Complete) -> float:
    """Return the temperature: the host's, or the usual one."""
    if params.options.temperature is not None:
        return params.options.temperature
    return DEFAULT_TEMPERATURE if params.options.n == 1 else SEVERAL_TEMPERATURE


def _list_stops(params: Complete, family: Family | None, tokens: list[str], *, is_one_line: bool) -> tuple[str, ...]:
    """Return the stops, the most useful first: a server may take only some of them."""
    first = [*([ONE_LINE_STOP] if is_one_line else []), *params.options.stop]
    mark = [family.file_mark] if family is not None and family.file_mark and params.context else []
    return tuple(dict.fromkeys((*first, *mark, *tokens)))


def list_cuts(params: Complete, family: Family | None) -> tuple[str, ...]:
    """Return the texts at which an answer ends although a server may not know it."""
    if family is None:
        return ()
    return (*family.tokens, family.file_mark) if family.file_mark and params.context else tuple(family.tokens)


MARKDOWN = ("markdown", "md", "mdx", "quarto", "rst")
"""Languages in which a fence is a part of the text."""


def make_place(params: Complete) -> Place:
    """Return where the text goes."""
    ending = (params.path or "").rpartition(".")[2].lower()
    return Place(
        prefix=params.prefix,
        suffix=params.suffix,
        lines=params.options.lines,
        tokens=tuple(params.options.stop),
        is_markdown=(params.language or ending) in MARKDOWN,
    )
