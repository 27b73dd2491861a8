"""What the answers of counting endpoints have in common. [pure]"""

from sidecar.core.json_values import parse_json
from sidecar.wires.shared.errors import make_unexpected_body_error


def whole_number(body: bytes, field: str) -> int:
    """Return the count that the document *body* has at *field*.

    Raises: SidecarError `provider_error` for a document that has none.
    """
    raw = parse_json(body)
    found = raw.get(field) if isinstance(raw, dict) else None
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise make_unexpected_body_error()
    return found
