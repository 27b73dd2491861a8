"""What all branches share: a budget, and a host that reads as fast as it likes."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from protocol.requests import MAX_BRANCHES
from sidecar.config.values import Config
from sidecar.server.write_queue import LANE_BYTES
from tests.support import app
from tests.support.comparing import chunks, compare, compare_params, comparing, end, start
from tests.support.fake_provider import STALL, Provider
from tests.support.in_memory import QueueServer
from tests.support.lines import CANARY, Line, Object
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, SSE, document

PIECE = "x" * 400
"""A hundred tokens, as the sidecar counts them: 0.001 USD at the price of `cheap`."""


@pytest.fixture
def program(tmp_path: Path, provider: Provider) -> Iterator[Program]:
    with comparing(tmp_path, provider) as started:
        yield started


def test_a_budget_is_for_all_branches_together(program: Program, provider: Provider) -> None:
    gate = provider.gate()
    provider.play("cheap", [*ANTHROPIC.begun(), gate, *ANTHROPIC.begun(*[PIECE] * 9)[1:], STALL])
    request = start(program, ["cheap"] * 2, budget_usd="0.01")
    provider.call("cheap", 1)
    program.let_pass(1)
    gate.open()
    done = end(program.stream(request))
    assert [row["finish_reason"] for row in done["branches"]] == ["length", "length"]
    assert all(
        chunks(program.lines_of(request), n, "branch_done")[0]["provider_finish_reason"] == "budget_usd" for n in (0, 1)
    )
    # Each branch notices with its next piece.
    assert Decimal("0.01") <= Decimal(done["cost"]["usd"]) <= Decimal("0.012")
    provider.hung_up("cheap", 2)


def test_models_not_asked_yet_are_refused_once_the_budget_is_spent(program: Program, provider: Provider) -> None:
    provider.play("cheap", ANTHROPIC.begun(*[PIECE] * 20, STALL))
    lines = compare(program, ["cheap"] * 3, budget_usd="0.01", concurrency=1)
    done = end(lines)
    assert [row["state"] for row in done["branches"]] == ["completed", "failed", "failed"]
    for row in done["branches"][1:]:
        assert (row["error"]["code"], row["error"]["reason"]) == ("quota_exceeded", "budget_usd")
        assert row["error"]["param"] == "params.budget_usd"
    assert len(provider.calls("cheap")) == 1


def test_what_a_refused_attempt_was_expected_to_cost_is_left_for_others(program: Program, provider: Provider) -> None:
    provider.play_in_turn("dear", document({"error": {"message": "No."}}, 503), ANTHROPIC.answer("fine"))
    message = {"role": "user", "content": "word " * 300}
    lines = compare(program, ["dear"] * 2, messages=[message], budget_usd="0.06", concurrency=1)
    assert [row["state"] for row in end(lines)["branches"]] == ["failed", "completed"]


def test_the_judge_is_paid_from_the_same_budget(program: Program, provider: Provider) -> None:
    provider.play("cheap", ANTHROPIC.answer("fine"))
    provider.play("dear", ANTHROPIC.answer("[[A]]"))
    choose = {"by": "judge", "judge": {"model": "dear", "criteria": "word " * 1000}}
    done = end(compare(program, ["cheap"] * 2, choose=choose, budget_usd="0.05"))
    assert (done["chosen"], done["why"]) == (None, "judge_failed")
    assert {row["error"]["reason"] for row in done["judge"]} == {"budget_usd"}
    assert not provider.calls("dear")


def test_a_model_of_unknown_price_is_told_of_in_its_start(program: Program, provider: Provider) -> None:
    provider.play("unknown", ANTHROPIC.answer("fine"))
    lines = compare(program, ["unknown"] * 2, budget_usd="0.01")
    (begun,) = chunks(lines, 1, "start")
    assert [(each["code"], each["param"]) for each in begun["warnings"]] == [("option_left_out", "params.budget_usd")]


def test_an_unknown_field_is_told_of_at_the_end(program: Program, provider: Provider) -> None:
    provider.play("one", ANTHROPIC.answer("fine"))
    for stream in (True, False):
        (warning,) = end_of_any(compare(program, ["one"] * 2, stream=stream, temperature=1))["warnings"]
        assert (warning["code"], warning["param"]) == ("unknown_field", "params.temperature")


def size_bytes(line: Line) -> int:
    return len(msgspec.json.encode(line.data))


def end_of_any(lines: list[Any]) -> Any:
    return lines[-1].data["data"]


def test_lines_are_as_short_as_the_host_needs_them(program: Program, provider: Provider) -> None:
    limit = 16384
    program.ask("initialize", {"max_line_bytes": limit})
    provider.play("long", ANTHROPIC.answer("x" * 50_000))
    provider.play("down", document({"error": {"message": "No." * 200}}, 503))
    lines = compare(program, ["long", *["down"] * 15])
    assert max(map(size_bytes, lines)) <= limit
    (done,) = chunks(lines, 0, "branch_done")
    assert done["message_omitted"]
    assert sum(len(each["content"]) for each in chunks(lines, 0, "content")) == 50_000
    assert len(end(lines)["branches"]) == 16
    error = compare(program, ["down"] * 16)[-1]
    assert size_bytes(error) <= limit
    assert len(error.data["error"]["branches"]) == 16


@pytest.mark.parametrize("by", ["longest", "judge"])
def test_an_answer_that_is_too_long_for_the_line_is_chosen_by_all_of_it(
    program: Program, provider: Provider, by: str
) -> None:
    program.ask("initialize", {"max_line_bytes": 16384})
    provider.play("long", ANTHROPIC.answer("x" * 20_000))
    provider.play("short", ANTHROPIC.answer("y"))
    provider.play("judge", ANTHROPIC.answer("1"))
    choose = {"by": by} | ({"judge": {"model": "judge"}} if by == "judge" else {})
    done = end(compare(program, ["short", "long"], choose=choose))
    if by == "longest":
        assert done["chosen"] == 1
    else:
        assert all("x" * 20_000 in str(call.body) for call in provider.calls("judge"))
        assert len(provider.calls("judge")) == 2


class PausedHost(app.Host):
    """A host that reads one batch, and the rest once it is told to."""

    read_on: Callable[[bool], None] | None = None
    reads_on = False

    def _write(self, batch: bytes, on_written: Callable[[bool], None]) -> bool | None:
        super()._write(batch, on_written)
        self.read_on = on_written
        return True if self.reads_on else None


@pytest.mark.long
async def test_a_host_that_does_not_read_holds_all_branches_up_and_loses_nothing() -> None:
    text = "x" * 1000
    async with anyio.create_task_group() as tasks:
        host = PausedHost(Config(path=""), tasks, QueueServer(), reads=False)
        for _ in range(MAX_BRANCHES):
            host.http.answer(ANTHROPIC.opening, *[ANTHROPIC.text(text)] * 500, ANTHROPIC.closing, content_type=SSE)
        models = [{"model": "m", "api_key": CANARY}] * MAX_BRANCHES
        request = host.send("compare", compare_params(models), provider="anthropic")
        with anyio.move_on_after(1):
            while True:
                await anyio.lowlevel.checkpoint()
        # What one read brings of each branch may come on top.
        assert LANE_BYTES < host.app.write_queue.queued_bytes < LANE_BYTES + MAX_BRANCHES * 2 * len(text)
        assert len(host.lines) < 500
        host.reads_on = True
        assert host.read_on is not None
        host.read_on(True)
        lines = await host.read_reply(request)
        for branch in range(MAX_BRANCHES):
            pieces = [line["data"]["content"] for line in lines if is_content(line["data"], branch)]
            assert len("".join(pieces)) == 500 * len(text)
        assert lines[-1]["data"]["type"] == "done"
        tasks.cancel_scope.cancel()


def is_content(chunk: Object, branch: int) -> bool:
    return (chunk["type"], chunk.get("branch")) == ("content", branch)
