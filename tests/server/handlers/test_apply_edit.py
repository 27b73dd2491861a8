"""The action `apply_edit`."""

from typing import Any

import pytest

from tests.support.lines import Object
from tests.support.program import Program

TEXT = "a = 1\nb = 2\n"
PATCH = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a = 1\n-b = 2\n+b = 3\n"


def edit(search: str, replace: str) -> Object:
    return {"search": search, "replace": replace}


def outcome(sidecar: Program, text: str = TEXT, **params: Any) -> Object:
    data: Object = sidecar.ask("apply_edit", {"text": text, **params})["data"]
    return data


@pytest.mark.parametrize("params", [{"edits": [edit("b = 2", "b = 3")]}, {"patch": PATCH}, {"patch": PATCH[16:]}])
def test_a_text_comes_back_with_its_edits(sidecar: Program, params: Object) -> None:
    data = outcome(sidecar, **params)
    assert (data["text"], data["failed"]) == ("a = 1\nb = 3\n", [])
    assert [each["match"] for each in data["applied"]] == ["exact"]


def test_line_ends_stay_as_they_were(sidecar: Program) -> None:
    data = outcome(sidecar, "\ufeffa = 1\r\nb = 2", edits=[edit("a = 1\n", "a = 0\na = 1\n")])
    assert data["text"] == "\ufeffa = 0\r\na = 1\r\nb = 2"


def test_all_edits_apply_or_none_unless_some_will_do(sidecar: Program) -> None:
    edits = [edit("a = 1", "a = 0"), edit("c", "d")]
    data = outcome(sidecar, edits=edits)
    assert (data["text"], data["applied"], [each["problem"] for each in data["failed"]]) == (TEXT, [], ["not_found"])
    data = outcome(sidecar, edits=edits, partial=True)
    assert (data["text"], len(data["applied"]), len(data["failed"])) == ("a = 0\nb = 2\n", 1, 1)


def test_how_much_may_differ_is_for_the_host_to_say(sidecar: Program) -> None:
    shifted = [edit("  b = 2\n", "  b = 3\n")]
    assert outcome(sidecar, edits=shifted)["text"] == "a = 1\nb = 3\n"
    assert outcome(sidecar, edits=shifted, tolerance="whitespace")["failed"]


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"text": TEXT}, "params.edits"),
        ({"text": TEXT, "edits": [edit("a", "b")], "patch": PATCH}, "params.edits"),
        ({"text": TEXT, "edits": []}, "params.edits"),
        ({"text": TEXT, "edits": [edit("a", "b")] * 10_001}, "params.edits"),
        ({"text": "a" * (16 * 2**20 + 1), "edits": [edit("a", "b")]}, "params.text"),
        ({"text": "\n" * 10**6, "edits": [edit("a", "b")]}, "params.text"),
        ({"text": "\n" * 900_000, "edits": [edit("a", "b")] * 1000}, "params.edits"),
        ({"text": "a" * 2**22, "edits": [edit("a", "b")] * 9000}, "params.edits"),
        ({"text": TEXT, "patch": ""}, "params.patch"),
        ({"text": TEXT, "patch": "no patch"}, "params.patch"),
        ({"text": TEXT, "patch": PATCH + PATCH.replace("x", "y")}, "params.patch"),
        ({"text": TEXT, "edits": [edit("a", "b")], "tolerance": "any"}, "params.tolerance"),
        ({"edits": [edit("a", "b")]}, "params.text"),
    ],
    ids=[
        "neither",
        "both",
        "none",
        "many",
        "long",
        "lines",
        "work on lines",
        "work",
        "",
        "prose",
        "two",
        "word",
        "text",
    ],
)
def test_what_cannot_be_done_is_refused_by_the_name_of_its_field(sidecar: Program, params: Object, param: str) -> None:
    error = sidecar.ask("apply_edit", params)["error"]
    assert error["code"] == "invalid_request"
    assert param == error["param"]


@pytest.mark.long
def test_much_work_delays_no_other_request(sidecar: Program) -> None:
    lines = [f"line {at}" for at in range(100_000)]
    edits = [edit(f"{lines[at]}\n{lines[at + 1]}", "new") for at in range(0, 100_000, 200)]
    request_id = sidecar.send("apply_edit", {"text": "\n".join(lines), "edits": edits})
    assert sidecar.ask("ping")["data"]["in_flight"] == 1
    data = sidecar.reply(request_id)["data"]
    assert (len(data["applied"]), data["failed"]) == (500, [])


def test_edits_of_a_long_text_can_be_cancelled(sidecar: Program) -> None:
    text = "a\n" * 300_000
    request_id = sidecar.send("apply_edit", {"text": text, "edits": [edit("a\n" * 40 + "b", "c")] * 50})
    assert sidecar.ask("cancel", {"id": request_id})["data"]["found"]
    assert sidecar.reply(request_id)["error"]["code"] == "cancelled"
