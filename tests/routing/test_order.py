"""The order of a route's models, from what is known of each."""

from decimal import Decimal
from itertools import permutations
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.routes import Preference, RouteReason
from sidecar.routing.order import ModelFacts, rank


def facts(model: str, position: int, usd: str | None, ms: int | None, misfit: RouteReason | None = None) -> ModelFacts:
    price = None if usd is None else Decimal(usd)
    return ModelFacts(model=model, position=position, expected_usd=price, first_chunk_ms=ms, misfit=misfit)


CHEAP = facts("cheap", 0, "0.001", 900)
QUICK = facts("quick", 1, "0.02", 100)
MIDDLE = facts("middle", 2, "0.003", 200)
UNKNOWN = facts("unknown", 3, None, None)
LACKING = facts("lacking", 4, "0.0001", 10, "no_tools")
ALL = (CHEAP, QUICK, MIDDLE, UNKNOWN, LACKING)

ORDERS: list[tuple[Preference, str, list[str], dict[str, str]]] = [
    (
        "cost",
        "cheapest",
        ["cheap", "middle", "quick", "unknown"],
        {"middle": "dearer", "quick": "dearer", "unknown": "price_unknown"},
    ),
    (
        "latency",
        "fastest",
        ["quick", "middle", "cheap", "unknown"],
        {"middle": "slower", "cheap": "slower", "unknown": "latency_unknown"},
    ),
    (
        "balanced",
        "best_balance",
        # 0.6, 0.9, 2, and the worst of both.
        ["middle", "cheap", "quick", "unknown"],
        {"cheap": "worse_balance", "quick": "worse_balance", "unknown": "worse_balance"},
    ),
]


@pytest.mark.parametrize(("prefer", "why", "order", "reasons"), ORDERS, ids=[each[0] for each in ORDERS])
def test_models_are_ordered_by_what_is_preferred_whatever_order_they_come_in(
    prefer: Preference, why: str, order: list[str], reasons: dict[str, str]
) -> None:
    for several in permutations(ALL):
        ranking = rank(several, prefer)
        assert [each.model for each in ranking.fitting] == order
        assert ranking.reasons == reasons | {"lacking": "no_tools"}
        assert ranking.why == why


def test_the_order_covers_every_preference() -> None:
    assert {each[0] for each in ORDERS} == {*get_args(Preference)}


def test_the_faster_of_two_that_cost_the_same_goes_first() -> None:
    ranking = rank([facts("a", 0, "0.5", 20), facts("b", 1, "0.50", 10)], "cost")
    assert [each.model for each in ranking.fitting] == ["b", "a"]
    assert (ranking.reasons, ranking.why) == ({"a": "slower"}, "fastest")


@pytest.mark.parametrize("prefer", get_args(Preference))
def test_a_tie_is_settled_by_the_list(prefer: Preference) -> None:
    for several in permutations([facts("z", 0, None, None), facts("a", 1, None, None), facts("b", 2, None, None)]):
        ranking = rank(several, prefer)
        assert [each.model for each in ranking.fitting] == ["z", "a", "b"]
        assert (ranking.reasons, ranking.why) == ({"a": "listed_later", "b": "listed_later"}, "listed_first")


def test_what_is_free_does_not_win_a_balance_however_slow_it_is() -> None:
    ranking = rank([facts("free", 0, "0", 30_000), facts("paid", 1, "0.001", 400)], "balanced")
    assert [each.model for each in ranking.fitting] == ["paid", "free"]


def test_a_conversation_stays_with_its_model_while_that_fits() -> None:
    ranking = rank(ALL, "cost", "quick")
    assert [each.model for each in ranking.fitting] == ["quick", "cheap", "middle", "unknown"]
    assert ranking.why == "conversation"
    assert {*ranking.reasons.values()} == {"conversation", "no_tools"}
    assert rank(ALL, "cost", "lacking").fitting[0] is CHEAP
    assert rank(ALL, "cost", "of another route").fitting[0] is CHEAP


def test_one_that_fits_is_the_only_one() -> None:
    ranking = rank([LACKING, QUICK], "cost")
    assert (ranking.why, ranking.reasons) == ("only_one", {"lacking": "no_tools"})
    assert not rank([LACKING], "cost").fitting


@given(
    st.lists(
        st.tuples(
            st.none() | st.decimals(0, 10, places=6),
            st.none() | st.integers(0, 60_000),
            st.sampled_from([None, None, "budget"]),
        ),
        max_size=16,
    ),
    st.sampled_from(get_args(Preference)),
    st.randoms(use_true_random=False),
)
def test_any_facts_have_one_order(
    rows: list[tuple[Decimal | None, int | None, RouteReason | None]], prefer: Preference, random: object
) -> None:
    given_facts = [
        ModelFacts(model=f"m{number}", position=number, expected_usd=usd, first_chunk_ms=ms, misfit=misfit)
        for number, (usd, ms, misfit) in enumerate(rows)
    ]
    shuffled = [*given_facts]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    expected = rank(given_facts, prefer)
    assert rank(shuffled, prefer) == expected
    assert len(expected.fitting) == sum(each.misfit is None for each in given_facts)
    assert len(expected.reasons) == len(given_facts) - bool(expected.fitting)
