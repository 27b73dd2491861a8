"""Which test covers which case of the catalogue of faults, and why the others have none.

A case has a letter for its part and a number: `D08`. A test says which it covers in a comment on its
signature, or in the table that it goes through; tests that were not written for a case stand in `ELSEWHERE`.
"""

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
README = Path(__file__).parent / "README.md"

PARTS = {
    "A": ("stdin framing", 26),
    "B": ("stdout", 14),
    "C": ("lifecycle", 22),
    "D": ("network", 30),
    "E": ("what providers answer", 30),
    "F": ("authorization", 26),
    "G": ("cancelling", 12),
    "H": ("load and fairness", 10),
    "I": ("time", 7),
}
"""Part → its subject, and how many cases it has."""

CASES = [f"{part}{number:02}" for part, (_, count) in PARTS.items() for number in range(1, count + 1)]

ELSEWHERE = {
    "C11": "tests/config/test_loader.py::test_a_huge_file_is_refused_and_not_read",
    "C19": "tests/tokens/test_estimates.py::test_without_a_vocabulary_bytes_are_counted",
    "D14": "tests/codecs/test_sse.py::test_any_split_gives_the_same_events",
    "D15": "tests/wires/test_fixtures.py::test_a_reply_decodes_to_the_chunks_of_its_fixture_however_it_is_split",
    "D18": "tests/codecs/test_sse.py::test_the_events_are_those_of_the_specification",
    "D26": "tests/upstream/test_http_client_outside.py::test_a_proxy_that_refuses",
    "D29": "tests/auth/test_aws.py::test_a_wrong_clock_is_set_right_by_what_aws_says_however_often_it_says_so",
    "E10": "tests/auth/test_copilot.py::test_a_refused_session_is_exchanged_once_more_and_then_told",
    "E13": "tests/wires/test_fixtures.py::test_a_reply_decodes_to_the_chunks_of_its_fixture_however_it_is_split",
    "E14": "tests/wires/test_fixtures.py::test_a_reply_decodes_to_the_chunks_of_its_fixture_however_it_is_split",
    "E17": "tests/wires/test_fixtures.py::test_a_reply_decodes_to_the_chunks_of_its_fixture_however_it_is_split",
    "E18": "tests/wires/test_draft.py::test_arguments_are_parsed_or_flagged_and_never_altered",
    "E19": "tests/wires/test_properties.py::test_any_value_may_be_replaced_by_another",
    "E20": "tests/wires/test_properties.py::test_what_follows_the_end_changes_nothing",
    "E21": "tests/wires/test_fixtures.py::test_a_reply_decodes_to_the_chunks_of_its_fixture_however_it_is_split",
    "E22": "tests/wires/test_properties.py::test_any_value_may_be_replaced_by_another",
    "E23": "tests/wires/test_properties.py::test_a_corrupted_stream_raises_only_a_sidecar_error",
    "F22": "tests/auth/test_google.py::test_without_any_credentials_it_says_what_to_do_and_probes_nothing",
    "F23": "tests/auth/test_aws_chain.py::test_a_login_that_is_missing_is_told_with_the_command_that_mends_it",
    "G05": "tests/e2e/test_bedrock.py::test_a_cancelled_stream_is_closed_at_once",
    "G11": "tests/auth/test_copilot.py::test_whoever_leaves_takes_nobody_with_it",
    "H07": "tests/e2e/test_bedrock.py::test_a_hundred_streams_need_one_more_thread_at_most",
    "I03": "tests/server/test_refusals.py::test_a_wrong_field_is_named_and_its_value_never_repeated",
}
"""Case → a test that was not written for it and covers it."""

_TEST = re.compile(r"^(?:async )?def (test_\w+)\(.*?\) -> None:.*?$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"#\s*((?:[A-I]\d\d(?:,\s*)?)+)")


def covering() -> dict[str, list[str]]:
    """Return case → the tests that cover it, as `file::function`."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        source = file.read_text(encoding="utf-8")
        signatures = list(_TEST.finditer(source))
        for comment in _COMMENT.finditer(source):
            # A comment in a table is of the test that goes through it, which comes next.
            test = next((each for each in signatures if each.end() >= comment.start()), None)
            if test:
                name = f"{file.relative_to(ROOT).as_posix()}::{test[1]}"
                for case in re.findall(r"[A-I]\d\d", comment[1]):
                    found[case] += [] if name in found[case] else [name]
    for case, name in ELSEWHERE.items():
        found[case].append(name)
    return found


def reasons() -> dict[str, str]:
    """Return case → why no test covers it, from the table of the README."""
    rows = re.findall(r"^\| ([A-I]\d\d) \| (.+?) \|$", README.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(rows)
