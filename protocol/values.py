"""Values that several requests share, with their bounds."""

from typing import Annotated

import msgspec

MAX_TIMEOUT_MS = 86_400_000
"""The longest `timeout`: a day."""

Id = (
    Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    | Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[^\x00]*(?!\n)$")]
)
TimeoutMs = Annotated[int, msgspec.Meta(ge=1, le=MAX_TIMEOUT_MS)]
Model = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[\x20-\x7e]+(?!\n)$")]
Provider = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+(?!\n)$")]
Secret = Annotated[str, msgspec.Meta(max_length=16384)]
Url = Annotated[str, msgspec.Meta(max_length=2048)]
ChainName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""A list of models in `[chains]`. It has no pattern: msgspec 0.22.0 frees what is not its own when a type that joins a
list and a string with a pattern is torn down, at the end of an interpreter for one."""
Text = str
Usd = (
    Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,12})?(?!\n)$")]
    | Annotated[float, msgspec.Meta(ge=0, le=1e9)]
)
"""US dollars, as a decimal string or a number."""
