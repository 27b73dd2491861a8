"""What the answers of counting endpoints have in common. [pure]"""

from sidecar.wires.shared import faults


def whole_number(body: bytes, field: str) -> int:
    """Return the count that the document *body* has at *field*.

    Raises: SidecarError `provider_error` for a document that has none.
    """
    raw = faults.document(body)
    found = raw.get(field) if isinstance(raw, dict) else None
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise faults.unexpected_body()
    return found
