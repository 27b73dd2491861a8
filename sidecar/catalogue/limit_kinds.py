"""What rate limits count. [pure]"""

from typing import Literal

LimitKind = Literal["requests", "tokens"]
