"""The estimates of `count_tokens` beside what providers have billed, where there are recordings of that."""

from collections import defaultdict
from pathlib import Path
from statistics import median

import pytest

from sidecar.catalogue import tokenizers
from tests import token_bands
from tests.token_bands import Sample

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = list(token_bands.samples())

recorded = pytest.mark.skipif(not SAMPLES, reason="no recordings at hand")


def by_family() -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in SAMPLES:
        found[sample.family.name].append(sample)
    return found


@recorded
def test_what_was_billed_is_within_the_band_of_its_estimate() -> None:
    outside = [f"{each.name}: billed {each.billed}, estimated {each.estimate}" for each in SAMPLES if not each.within]
    assert len(outside) <= len(SAMPLES) // 20, outside


@pytest.mark.parametrize("name", [row.name for row in tokenizers.families()])
def test_half_of_a_familys_estimates_are_nearer_than_half_of_their_bands(name: str) -> None:
    rows = by_family().get(name)
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
    assert named[-len(tokenizers.families()) :] == [row.name for row in tokenizers.families()]


def test_the_table_is_made_of_the_samples() -> None:
    made = token_bands.table(SAMPLES).splitlines()
    assert len(made) == 2 + len(tokenizers.families())
    counted = sum(int(line.split(" | ")[1]) for line in made[2:])
    assert counted == len(SAMPLES)
