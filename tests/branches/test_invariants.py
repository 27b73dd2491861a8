"""Whatever its branches do: each ends once, the request ends once, and the rows say what the chunks have said."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.comparing import chunks, compare_params, comparing
from tests.support.fake_provider import CLOSE, RESET, STALL, Pause, Provider, Step
from tests.support.lines import Line, Object
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, document

SCRIPTS: dict[str, list[Step]] = {
    "quick": ANTHROPIC.answer("yes"),
    "same": ANTHROPIC.answer("Yes."),
    "late": [Pause(2), *ANTHROPIC.answer("no")],
    "slow": [*ANTHROPIC.begun("a"), Pause(3), *ANTHROPIC.answer("b")[1:]],
    "silent": [*ANTHROPIC.begun(), STALL],
    "hanging": ANTHROPIC.begun("a", STALL),
    "cut": ANTHROPIC.begun("a", "b", CLOSE),
    "reset": ANTHROPIC.begun("a", RESET),
    "refused": document({"error": {"type": "invalid_request_error", "message": "No."}}, 400),
    "down": document({"error": {"message": "No."}}, 503),
    "empty": ANTHROPIC.answer(),
}
"""By model. `silent` and `hanging` end with the time of the request, or when they are cancelled."""

ENDS = {"completed": "branch_done", "failed": "branch_error", "cancelled": "branch_error"}

SEEDS = 60


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, Provider]]:
    from tests.support.in_memory import InMemoryProvider

    provider = InMemoryProvider()
    for name, steps in SCRIPTS.items():
        provider.play(name, steps)
    provider.play("judge", ANTHROPIC.answer("[[A]]"))
    with comparing(Path(tmp_path_factory.mktemp("home")), provider) as started:
        yield started, provider


def draw(chance: random.Random) -> Object:
    """Return the params of a comparison."""
    models: list[Any] = []
    for _ in range(chance.randint(2, 8)):
        options: Object = {}
        if chance.random() < 0.3:
            names = [f"anthropic/{chance.choice([*SCRIPTS])}" for _ in range(chance.randint(1, 2))]
            options["hedge"] = {"after_ms": chance.choice([0, 500, 2000]), "models": names}
        if chance.random() < 0.2:
            options["fallbacks"] = [f"anthropic/{chance.choice([*SCRIPTS])}"]
        models.append({"model": chance.choice([*SCRIPTS]), "options": options})
    by = chance.choice(["none", "first_valid", "longest", "vote", "judge"])
    choose: Object = {"by": by, "cancel_rest": by in ("first_valid", "vote") and chance.random() < 0.5}
    if by == "judge":
        choose["judge"] = {"model": "judge"}
    more: Object = {"concurrency": chance.choice([None, 1, 3]), "stream": chance.random() < 0.8}
    return compare_params(models, choose=choose, **more)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_branch_ends_once_and_its_row_says_how(program: tuple[Program, Provider], seed: int) -> None:
    chance, (host, _) = random.Random(seed), program
    params = draw(chance)
    request = host.send("compare", params, provider="anthropic", timeout=9000)
    for _ in range(chance.randint(0, 3)):
        host.let_pass(chance.uniform(0, 3))
        host.ask("cancel", {"id": request, "branch": chance.randrange(8)})
    if chance.random() < 0.1:
        host.ask("cancel", {"id": request})
    lines = host.stream(request, seconds=30)
    last = lines[-1].data
    rows = last["data"]["branches"] if last["success"] else last["error"].get("branches")
    if rows is None:
        assert last["error"]["code"] == "cancelled"
        return
    assert [row["branch"] for row in rows] == list(range(len(params["models"])))
    assert last["success"] == any(row["state"] == "completed" for row in rows)
    for row in rows:
        if params["stream"]:
            check_chunks(lines, row)
        # Of one that was answered, one attempt has succeeded; of the others none.
        answered = [attempt for attempt in row.get("attempts", []) if "code" not in attempt]
        assert len(answered) == (row["state"] == "completed")
    if last["success"]:
        check_choice(last["data"], rows)


def check_chunks(lines: list[Line], row: Object) -> None:
    """Assert that a branch has one end, that it is the last of its chunks, and that nothing precedes its `start`."""
    kinds = [each["type"] for each in chunks(lines, row["branch"]) if each["type"] != "status"]
    assert kinds.count("branch_done") + kinds.count("branch_error") == 1
    assert kinds[-1] == ENDS[row["state"]]
    assert len(kinds) == 1 or kinds[0] == "start"
    assert kinds.count("start") <= 1


def check_choice(done: Object, rows: list[Object]) -> None:
    """Assert that what was chosen has an answer."""
    chosen = done["chosen"]
    assert chosen is None or rows[chosen]["state"] == "completed"
    assert (chosen is None) == (
        done["why"] in ("host_chooses", "none_valid", "no_majority", "judge_tie", "judge_failed", "deadline")
    )
