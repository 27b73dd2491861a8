"""The packages that only some logins need: optional parts of an installation, which pip calls extras."""

import importlib

from sidecar.core.errors import SidecarError

DISTRIBUTION = "sidecar-stdio"
"""The name under which the program is installed."""


def require_extra(extra: str, module: str) -> None:
    """Import the *module* of a package that the *extra* installs. The first import of one takes up to a second.

    Raises: SidecarError `auth_required`, reason `extra_missing`, when it is not installed.
    """
    try:
        importlib.import_module(module)
    except ImportError:
        raise SidecarError(
            "auth_required",
            f"This login needs the package `{module.partition('.')[0]}`, which is not installed.",
            reason="extra_missing",
            hint=f'Install the program with it: `uv tool install "{DISTRIBUTION}[{extra}]"`, or use a key.',
        ) from None
