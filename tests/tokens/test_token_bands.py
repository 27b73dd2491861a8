"""The estimates of `count_tokens` compared with what providers billed, where there are recordings."""

from pathlib import Path
from statistics import median

import pytest

from sidecar.tokens import families
from tests.support import token_bands, token_fit
from tests.support.token_bands import MIN_HELD_OUT, Sample

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = list(token_bands.samples())
FAMILIES = token_bands.by_family(SAMPLES)

PROMISED_PCT = 90
"""Of requests that nothing was fitted to, so many are within the band of their estimate. `TOKENS.md` says so."""

recorded = pytest.mark.skipif(not SAMPLES, reason="no recordings at hand")


def held_out() -> list[Sample]:
    return [row for rows in FAMILIES.values() for row in token_bands.split(rows)[1]]


@recorded
def test_the_promised_share_of_held_out_requests_is_within_its_band() -> None:
    rows = held_out()
    outside = [f"{each.name}: billed {each.billed}, estimated {each.estimate}" for each in rows if not each.within]
    assert len(rows) >= 30
    assert token_bands.share_within(rows) >= PROMISED_PCT, outside
    assert f"at least {PROMISED_PCT} %" in (ROOT / "protocol/TOKENS.md").read_text(encoding="utf-8")


@recorded
def test_a_familys_figures_are_fitted_to_the_requests_that_are_not_held_out() -> None:
    """Else what was held out has been looked at: `python -m tests.support.token_fit` says what the table should say."""
    for family, fitted in token_fit.rows_of_the_table():
        assert family == fitted, family.name


def test_no_held_out_request_asks_what_a_fitted_one_asks() -> None:
    for name, rows in FAMILIES.items():
        seen, held = token_bands.split(rows)
        assert sorted(seen + held) == sorted(rows)
        assert not {row.asked for row in seen} & {row.asked for row in held}, name
        assert not held or len(rows) >= MIN_HELD_OUT
        # Of a kind of which there are two, one is held out.
        for kind in {row.kind for row in rows} if held else ():
            asked = {row.asked for row in rows if row.kind == kind}
            assert any(row.kind == kind for row in held) is (len(asked) > 1), name


@recorded
def test_the_published_table_is_made_from_the_recordings() -> None:
    text = (ROOT / "protocol/TOKENS.md").read_text(encoding="utf-8")
    assert text.endswith("\n" + token_bands.table(SAMPLES)), "python -m tests.support.token_bands"


@recorded
def test_what_was_billed_is_within_the_band_of_its_estimate() -> None:
    outside = [f"{each.name}: billed {each.billed}, estimated {each.estimate}" for each in SAMPLES if not each.within]
    assert len(outside) <= len(SAMPLES) // 20, outside


@pytest.mark.parametrize("name", [row.name for row in families.load_families()])
def test_half_of_a_familys_estimates_are_nearer_than_half_of_their_bands(name: str) -> None:
    rows = FAMILIES.get(name)
    if not rows:
        pytest.skip("no recordings of this family")
    off = median(abs(row.off_pct) for row in rows)
    # Where there are but few, one that is far off weighs too much.
    share = 0.5 if len(rows) > 4 else 1
    assert off <= share * median(row.estimate.error_band_pct for row in rows)


@recorded
def test_prose_without_tools_is_counted_to_the_token_where_the_vocabulary_is_the_models_own() -> None:
    """The cookbook's rule is exact: what is estimated are tools, media and what a host adds."""
    exact = [row for row in SAMPLES if row.family.own and row.estimate.tokens == row.billed]
    assert len(exact) >= 10


def test_the_published_table_has_every_family() -> None:
    text = (ROOT / "protocol/TOKENS.md").read_text(encoding="utf-8")
    named = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")]
    wanted = [*(row.name for row in families.load_families()), "All"]
    assert named[-len(wanted) :] == wanted
