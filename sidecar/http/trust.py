"""The roots that a system keeps in files, which Linux and the BSDs do. Must not know connections."""

import re
import ssl
from pathlib import Path

ROOT_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems keep their roots: Debian, Fedora, openSUSE, OpenELEC, RHEL, Alpine.

Source: Go, `crypto/x509/root_linux.go`, read 2026-11.
"""

_HASHED = re.compile("[0-9a-f]{8}[.][0-9]+")
"""The name of a certificate in a folder of them, as OpenSSL looks for it."""


def trust_files(context: ssl.SSLContext) -> None:
    """Have *context* trust the roots that OpenSSL was told of, as by SSL_CERT_FILE, or else the system's."""
    context.set_default_verify_paths()
    told = ssl.get_default_verify_paths()
    if told.cafile or (told.capath and _has_certificates(Path(told.capath))):
        return
    # A Python that was built elsewhere looks where nothing is.
    for file in ROOT_FILES:
        if Path(file).is_file():
            context.load_verify_locations(file)
            return


def _has_certificates(folder: Path) -> bool:
    return folder.is_dir() and any(_HASHED.fullmatch(path.name) for path in folder.iterdir())
