"""The kit over the reference driver: everything passes, and with a flaw the scenario that looks for it does not.

So there is no scenario that cannot fail.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from sidecar.kit.__main__ import run
from sidecar.kit.run import Host, Result, run_all, run_scenario
from sidecar.kit.scenario import Scenario, list_scenarios
from tests.support import documents
from tests.support.source import ROOT

pytestmark = [pytest.mark.spawns, pytest.mark.longest]

HERE = Path(__file__).parent
DRIVER = [sys.executable, "-E", "-S", str(HERE / "driver.py")]
SCENARIOS = {scenario.name[4:]: scenario for scenario in list_scenarios()}

FLAWS = {
    "plain_stream": "drops chunks",
    "one_line_answers": "waits for streaming",
    "request_before_ready": "drops early requests",
    "one_byte_writes": "a read is a line",
    "many_lines_in_one_write": "one line of each read",
    "cut_inside_characters": "decodes each read",
    "crlf": "splits at CRLF",
    "empty_lines": "empty line is fatal",
    "long_line": "short lines only",
    "line_separators": "splits at other ends",
    "control_characters": "cuts at NUL",
    "ids_of_both_types": "ids as text",
    "interleaved_streams": "answers in order",
    "id_used_again": "never takes an id again",
    "unknown_fields": "known fields only",
    "unknown_chunk_type": "unknown chunk is fatal",
    "unknown_error_code": "drops unknown codes",
    "error_without_chunks": "waits for start",
    "error_after_content": "content makes success",
    "status_while_waiting": "status ends",
    "silence_with_a_deadline": "no cancel after deadline",
    "deadline_kept": "deadline goes on",
    "stderr_flood": "leaves stderr",
    "stdin_not_read": "writes before it reads",
    "long_request": "writes pretty JSON",
    "cancel_found": "cancel ends twice",
    "cancel_before_any_chunk": "cancels another id",
    "cancel_crosses_the_end": "cancel ends twice",
    "cancel_too_late": "late cancel ends again",
    "lines_after_the_end": "keeps ended requests",
    "lines_for_unknown_ids": "unknown id is fatal",
    "id_null": "null fails the first",
    "unsolicited_events": "drops events",
    "stdin_closed": "dies of a closed pipe",
    "death_with_open_requests": "sends requests again",
    "death_within_a_line": "half line ends the reader",
    "death_while_idle": "never restarts",
    "death_before_ready": "never restarts",
    "request_during_restart": "drops early requests",
    "death_at_every_start": "restarts at once",
    "exit_code_2": "restarts after 2",
    "configuration_refused": "ignores refusals",
    "other_protocol_version": "ignores refusals",
    "stdout_ends_alone": "waits for the exit",
    "close_with_an_open_request": "forgets open requests at close",
    "hang_at_shutdown": "kills at once",
    "tool_call_without_arguments": "null is empty",
    "big_integers": "big integers are fatal",
    "empty_objects_and_lists": "empty is a list",
    "refused_path": "known fields only",
    "superseded_completion": "keeps the code alone",
    "message_omitted": "known fields only",
}
"""Scenario → a flaw of the driver that it finds."""

OTHER_FLAWS = [
    ("control_characters", "one kind of line end"),
    ("death_with_open_requests", "forgets a request at death"),
    ("exit_code_2", "says no reason"),
    ("hang_at_shutdown", "never kills"),
    ("plain_stream", "ends badly"),
    ("silence_with_a_deadline", "late answers count"),
    ("silence_with_a_deadline", "no deadline"),
]
"""Further mistakes that the same scenarios find."""

ALL_FLAWS = [*FLAWS.items(), *OTHER_FLAWS]

VARIANTS = [
    "keeps the ids",
    "restarts in a second",
    "sends shutdown",
    "settles at once",
    "skips what is unknown",
    "writes before ready",
]
"""What a driver may do otherwise."""

HANGING = {
    "a read is a line",
    "answers in order",
    "big integers are fatal",
    "cancels another id",
    "drops early requests",
    "drops unknown codes",
    "empty is a list",
    "forgets a request at death",
    "half line ends the reader",
    "ids as text",
    "leaves stderr",
    "never takes an id again",
    "no cancel after deadline",
    "no deadline",
    "one line of each read",
    "short lines only",
    "splits at CRLF",
    "splits at other ends",
    "waits for start",
    "waits for streaming",
    "waits for the exit",
    "writes before it reads",
    "writes pretty JSON",
}
"""With these the scenario waits until its time is over."""

TOGETHER = 6
"""How many drivers run at a time."""


def run_together(scenarios: list[Scenario], *variant: str) -> list[Result]:
    """Return the results of the reference driver."""
    host = Host(command=[*DRIVER, *variant], env=os.environ)
    return anyio.run(run_all, scenarios, host, TOGETHER, lambda _: None)


def describe(results: list[Result]) -> list[str]:
    return [f"{result.scenario.name}: {problem}" for result in results for problem in result.problems]


async def find_flaws(flaws: list[tuple[str, str]], patience: float = 1.0) -> list[str]:
    """Return the flaws that their scenario does not find."""
    missed: list[str] = []
    turns = anyio.Semaphore(TOGETHER)

    async def find(name: str, flaw: str) -> None:
        async with turns:
            host = Host(command=[*DRIVER, flaw], env=os.environ, patience=patience)
            result = await run_scenario(SCENARIOS[name], host)
        missed.extend([] if result.problems else [f"{name}: {flaw}"])

    async with anyio.create_task_group() as group:
        for name, flaw in flaws:
            group.start_soon(find, name, flaw)
    return missed


def test_every_scenario_has_a_flaw_that_it_finds() -> None:
    assert set(FLAWS) == set(SCENARIOS)
    source = (HERE / "driver.py").read_text(encoding="utf-8") + (HERE / "spoiling.py").read_text(encoding="utf-8")
    assert [flaw for _, flaw in ALL_FLAWS if f'"{flaw}"' not in source] == []
    named = set(re.findall(r'FLAW [=!]= "([^"]+)"', source))
    assert sorted(named - {flaw for _, flaw in ALL_FLAWS}) == []
    assert set(re.findall(r'VARIANT [=!]= "([^"]+)"', source)) == set(VARIANTS)


def test_a_driver_without_a_flaw_passes_every_scenario() -> None:
    assert describe(run_together([each for each in SCENARIOS.values() if not each.expect.slow])) == []


@pytest.mark.slow
def test_a_driver_without_a_flaw_passes_the_slow_scenarios() -> None:
    assert describe(run_together([each for each in SCENARIOS.values() if each.expect.slow])) == []


def is_slow(name: str, flaw: str) -> bool:
    return SCENARIOS[name].expect.slow or flaw in HANGING


def test_each_flaw_is_found() -> None:
    flaws = [each for each in ALL_FLAWS if not is_slow(*each)]
    assert len(flaws) > 25
    assert anyio.run(find_flaws, flaws) == []


@pytest.mark.slow
def test_each_flaw_that_makes_a_scenario_wait_is_found() -> None:
    flaws = [each for each in ALL_FLAWS if is_slow(*each)]
    assert len(flaws) > 10
    assert anyio.run(find_flaws, flaws, 0.2) == []


BROAD = {"a read is a line", "drops chunks", "ends badly", "keeps ended requests", "known fields only", "null is empty"}
BROAD |= {"one line of each read", "splits at CRLF", "writes pretty JSON"}
"""Flaws that the simplest of streams shows too."""


@pytest.mark.slow
def test_a_flaw_is_found_for_what_it_is_and_not_because_nothing_works() -> None:
    flaws = {flaw for _, flaw in ALL_FLAWS} - BROAD
    assert len(flaws) > 35
    missed = anyio.run(find_flaws, [("plain_stream", flaw) for flaw in sorted(flaws)])
    assert {each.partition(": ")[2] for each in missed} == flaws


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--only", "plain_stream", "--junit", str(tmp_path), *DRIVER]) == 2
    assert f"{tmp_path} cannot be written" in capfd.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="the pipe is one of POSIX")
def test_the_kit_ends_quietly_when_nobody_reads_its_output() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "sidecar.kit", "--only", "plain_stream", *DRIVER]
    kit = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, timeout=30, check=False)
    os.close(writer)
    assert (kit.returncode, kit.stderr) == (130, b"")


def test_the_example_of_the_document_is_what_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    (block,) = (each for each in documents.blocks("protocol/KIT.md") if each.language == "console")
    ((command, shown),) = documents.commands(block)
    options = command.removeprefix("python -m sidecar.kit ").removesuffix(" node driver.js\n")
    assert run([*options.split(), *DRIVER]) == 0
    assert sorted(_without_times(capfd.readouterr().out)) == sorted(_without_times(shown.strip()))


def _without_times(text: str) -> list[str]:
    return [re.sub(r" +[0-9.]+ s$", "", line) for line in text.splitlines()]


def test_the_command_prints_a_table_and_writes_xml(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "junit.xml"
    assert run(["--only", "plain_stream", "--only", "crlf", "--junit", str(file), *DRIVER]) == 0
    assert capfd.readouterr().out.splitlines()[-1].startswith("2 passed, 0 failed, in ")
    assert 'tests="2" failures="0"' in file.read_text(encoding="utf-8")
    assert run(["--only", "plain_stream", "--trace", *DRIVER, "drops chunks"]) == 1
    shown = capfd.readouterr().out
    assert "hint:     The last line of a stream has `streaming` too" in shown
    assert "driver -> kit" in shown


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_driver_may_do_things_in_other_ways(variant: str) -> None:
    assert describe(run_together([*SCENARIOS.values()], variant)) == []
