"""What the replies of counting endpoints have in common. [pure]"""

from sidecar.core.json_values import parse_json, read_count, read_object
from sidecar.wires.shared.errors import make_unexpected_body_error


def read_token_count(body: bytes, field: str) -> int:
    """Return the count in *field* of the document *body*.

    Raises: SidecarError `provider_error` for a document without one.
    """
    count = read_count(read_object(parse_json(body)).get(field))
    if count is None:
        raise make_unexpected_body_error()
    return count
