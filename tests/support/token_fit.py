"""What a family of models adds to a request, fitted to recorded ones: `python -m tests.support.token_fit`.

Prints what rows of `families.toml` should say by that half of the recorded requests that is not held out
(`token_bands.split`). What is published by a vendor is not fitted: factors of texts, images, pages, and what the
cookbook says of OpenAI's models; nor are models of which nothing is known.
"""

import math
import sys
from collections.abc import Iterator

import msgspec

from sidecar.tokens import estimates, families
from sidecar.tokens.families import Family
from tests.support import token_bands
from tests.support.token_bands import Sample

LEFT = frozenset({"GPT-4, GPT-3.5", "GPT-4o mini", "GPT-4.1 mini, nano", "GPT-4o, GPT-4.1, GPT-4.5", "Others"})
"""Families of which only the bands are fitted."""

TOGETHER = (("GPT-5 mini, nano, o4-mini", "o1, o3, GPT-5", "GPT-5.4 and later"),)
"""Families whose models are told the same things in the same words."""

FIELDS = {
    # What is expected of a model nothing is known of; how far from it is as bad as being off by a band.
    "prompt": (4.0, 10.0),
    "message": (4.0, 2.0),
    "call": (15.0, 10.0),
    "tools": (100.0, 150.0),
    "tool": (10.0, 10.0),
    "schema_factor": (1.1, 0.15),
    "format": (0.0, 100.0),
    "reasoning": (0.0, 30.0),
}

COOKBOOK = {"prompt": 3.0, "call": 8.0, "tools": 12.0, "tool": 7.0, "schema_factor": 1.0}

FREE = frozenset({"reasoning", "format"})
"""Fields that are nothing where the cookbook holds: OpenAI's models are told of neither in tokens that are billed."""

NEAR_PCT, NEAR_TOKENS = 5, 5

STEPS = (100, 30, 10, 3, 1)

FAR = 1000
"""Added while features are measured, so that no count is below one."""

SLACKS = {True: (3, 25), False: (10, 60)}
"""The least that a band allows for what a host adds, without tools and once more with them: where the cookbook holds,
and elsewhere."""

UNSEEN = 3
"""As many times the least, where no request of the kind has been seen."""

MARGIN = 1.5
"""How much further off than the worst that was seen the next request may be."""


def fitted(rows: list[Sample], family: Family) -> Family:
    """Return *family* with what is added to requests as *rows* have it, and bands as wide as those need."""
    prior = {name: expected for name, (expected, _) in FIELDS.items()} | (COOKBOOK if family.own else {})
    features = [_features(row) for row in rows]
    values, best = dict(prior), _loss(rows, features, prior, prior)
    frozen = FREE if family.own else frozenset[str]()
    for step in STEPS * 3:
        improved = True
        while improved:
            improved = False
            for changed in _neighbours(values, step, frozen):
                if (loss := _loss(rows, features, changed, prior)) < best - 1e-9:
                    values, best, improved = changed, loss, True
    whole = {name: value if name == "schema_factor" else round(value) for name, value in values.items()}
    return msgspec.structs.replace(family, **whole)


def _neighbours(values: dict[str, float], step: int, frozen: frozenset[str]) -> Iterator[dict[str, float]]:
    for name, value in values.items():
        for sign in () if name in frozen else (1, -1):
            by = step / 100 if name == "schema_factor" else step
            if value + sign * by >= 0:
                yield values | {name: round(value + sign * by, 2)}


def _loss(
    rows: list[Sample], features: list[dict[str, float]], values: dict[str, float], prior: dict[str, float]
) -> float:
    off = sum(
        abs(row.billed - each[""] - sum(values[name] * each[name] for name in FIELDS))
        / (row.billed * NEAR_PCT / 100 + NEAR_TOKENS)
        for row, each in zip(rows, features, strict=True)
    )
    return off + sum(abs(values[name] - prior[name]) / scale for name, (_, scale) in FIELDS.items()) / 2


def _features(row: Sample) -> dict[str, float]:
    """Return how often each field counts in the request, and as the field "" what does not depend on them."""
    nothing = msgspec.structs.replace(row.family, **dict.fromkeys(FIELDS, 0))
    rest = _count(row, nothing)
    return {"": rest} | {name: _count(row, msgspec.structs.replace(nothing, **{name: 1})) - rest for name in FIELDS}


def _count(row: Sample, family: Family) -> float:
    far = msgspec.structs.replace(family, prompt=family.prompt + FAR)
    count = token_bands.counter(family.vocabulary)
    return estimates.estimate_chat(row.chat.messages, row.chat.options, far, count).tokens - FAR


def with_bands(rows: list[Sample], family: Family) -> Family:
    """Return *family* with bands half again as wide as *rows*, its own, need."""
    beyond: dict[bool, list[float]] = {False: [], True: []}
    for row in rows:
        estimate = _count(row, family)
        beyond[bool(row.chat.options.tools)].append(abs(row.billed - estimate) - estimate * family.band_pct / 100)
    least, tools_least = SLACKS[family.own]
    slack = max(least, math.ceil(MARGIN * max(beyond[False]))) if beyond[False] else UNSEEN * least
    if not beyond[True]:
        return msgspec.structs.replace(family, slack=slack, tools_slack=UNSEEN * tools_least)
    tools_slack = max(tools_least, math.ceil(MARGIN * max(beyond[True])) - slack)
    return msgspec.structs.replace(family, slack=slack, tools_slack=tools_slack)


def rows_of_the_table() -> Iterator[tuple[Family, Family]]:
    """Yield each family of which there are recorded requests, as it is and as it is fitted."""
    samples = token_bands.by_family(list(token_bands.samples()))
    for family in families.load_families():
        own = token_bands.split(samples.get(family.name, []))[0]
        if not own:
            continue
        names = next((group for group in TOGETHER if family.name in group), (family.name,))
        rows = [row for name in names for row in token_bands.split(samples.get(name, []))[0]]
        yield family, with_bands(own, family if family.name in LEFT else fitted(rows, family))


def main() -> None:
    """Print the fitted fields of each family, and where they differ from what the table says."""
    for family, found in rows_of_the_table():
        sys.stdout.write(f"\n# {family.name}\n")
        for name in (*FIELDS, "slack", "tools_slack"):
            now, then = getattr(family, name), getattr(found, name)
            sys.stdout.write(f"{name} = {then}{'' if now == then else f'  # not {now}'}\n")


if __name__ == "__main__":
    main()
