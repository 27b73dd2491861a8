"""Every case of the catalogue has a test, or a reason why not, in writing."""

from tests.e2e.faults.registry import CASES, ELSEWHERE, ROOT, covering, reasons


def test_each_case_has_a_test_or_a_reason() -> None:
    covered, excused = set(covering()), set(reasons())
    assert len(CASES) == 177
    assert set(CASES) - covered - excused == set()
    assert covered & excused == set()
    assert covered | excused <= set(CASES)


def test_what_covers_a_case_elsewhere_is_there() -> None:
    for name in ELSEWHERE.values():
        file, _, function = name.partition("::")
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), name
