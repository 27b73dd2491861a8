"""Sums of the ledger, as a host reads them."""

from typing import Any, cast

import pytest

from protocol.requests import UsageReport
from sidecar.core.json_values import MAX_INTEGER
from sidecar.usage import report
from sidecar.usage.ledger import Ledger
from sidecar.usage.ledger_file import Found


class FakeLedger:
    """A ledger whose rows have so many tokens together."""

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens

    async def report(self, *_: Any) -> Found:
        return Found([], {"requests": 9, "succeeded": 9, "input_tokens": self._tokens}, truncated=False)


@pytest.mark.parametrize(("tokens", "told"), [(MAX_INTEGER, MAX_INTEGER), (MAX_INTEGER + 1, None)])
async def test_a_sum_that_many_languages_cannot_hold_is_not_told(tokens: int, told: int | None) -> None:
    table = await report.report(cast("Ledger", FakeLedger(tokens)), UsageReport())
    assert table.totals.input_tokens == told
