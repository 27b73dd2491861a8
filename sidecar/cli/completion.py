"""`sidecar completion`: scripts for shells, which ask the program itself for what may come next.

The scripts are short: what may come next is known here alone. Must not ask a provider, or read the configuration.
"""

from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem, ShellComplete

from sidecar.catalogue import models, provider_rows

SCRIPTS = {
    "bash": r"""_sidecar() {
  local IFS=$'\n'
  COMPREPLY=($(sidecar completion bash --words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  [[ ${COMPREPLY[0]-} == */ ]] && compopt -o nospace
}
complete -o default -F _sidecar sidecar
""",
    "zsh": r"""#compdef sidecar
_sidecar() {
  local -a found
  found=("${(@f)$(sidecar completion zsh --words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n ${found[1]} ]]; then
    compadd -S '' -- ${(M)found:#*/}
    compadd -- ${found:#*/}
  else
    _files
  fi
}
compdef _sidecar sidecar
""",
    "fish": r"""function __sidecar_words
  sidecar completion fish --words -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null
end
complete -c sidecar -a '(__sidecar_words)'
""",
}
"""Shell → the script that completes what is typed there."""


def complete_words(command: click.Command, shell: str, words: Sequence[str]) -> str:
    """Return what may stand in the place of the last of *words*, one a line."""
    *before, incomplete = words or [""]
    found = ShellComplete(command, {}, "sidecar", "").get_completions(before, incomplete)
    # Files are for the shell itself.
    return "".join(f"{_format(shell, item)}\n" for item in found if item.type == "plain")


def _format(shell: str, item: CompletionItem) -> str:
    value = str(item.value)
    return f"{value}\t{item.help}" if shell == "fish" and item.help else value


def complete_provider(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - what click calls
    """Return the built-in providers that begin so."""
    return [name for name in sorted(provider_rows.read_providers()) if name.startswith(incomplete)]


def complete_model(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the models of the provider that is typed; before that, the providers."""
    provider, slash, begun = incomplete.partition("/")
    if not slash:
        return [f"{name}/" for name in complete_provider(context, parameter, incomplete)]
    return [f"{provider}/{name}" for name in sorted(models.list_names(provider)) if name.startswith(begun)]
