"""Many requests for one list at the same time."""

from tests.support import app

KEY = {"api_key": "k"}


async def test_requests_for_one_list_at_the_same_time_share_one_question() -> None:
    async with app.running() as host:
        host.http.answer_with({"data": [{"id": "m"}]})
        asked = [host.send("list_models", KEY, provider="deepseek") for _ in range(50)]
        replies = [(await host.read_reply(each))[-1] for each in asked]
        assert len(host.http.asked) == 1
        assert all("m" in [model["id"] for model in reply["data"]["models"]] for reply in replies)


async def test_a_failure_is_told_to_each_of_them() -> None:
    async with app.running() as host:
        host.http.answer_with({"error": {"message": "No."}}, status=401)
        asked = [host.send("list_models", KEY, provider="deepseek") for _ in range(5)]
        errors = [(await host.read_reply(each))[-1]["error"] for each in asked]
        assert len(host.http.asked) == 1
        assert {(error["code"], error["attempts"], error["provider"]) for error in errors} == {
            ("auth_failed", 1, "deepseek")
        }


async def test_one_of_them_that_is_cancelled_leaves_the_question_to_the_others() -> None:
    async with app.running() as host:
        host.http.answer_with({"data": [{"id": "m"}]})
        first, second = (host.send("list_models", KEY, provider="deepseek") for _ in range(2))
        assert (await host.ask("cancel", {"id": first}))["data"]["found"]
        assert (await host.read_reply(first))[-1]["error"]["code"] == "cancelled"
        assert (await host.read_reply(second))[-1]["success"]


async def test_another_key_has_a_question_of_its_own() -> None:
    async with app.running() as host:
        for _ in range(2):
            host.http.answer_with({"data": [{"id": "m"}]})
        asked = [host.send("list_models", {"api_key": key}, provider="deepseek") for key in ("k1", "k2")]
        assert all([(await host.read_reply(each))[-1]["success"] for each in asked])
        assert len(host.http.asked) == 2
