"""EcoDatum's demo: 30 pairs, 8 labelling functions, and what its label model makes of them."""

from collections import Counter

import numpy as np
import polars as pl
import pytest

from filters.ensemble import Snorkel, fit_label_model
from filters.rules.ecodatum import (
    EcoDatumAspect,
    EcoDatumBlur,
    EcoDatumClip,
    EcoDatumConcrete,
    EcoDatumCount,
    EcoDatumDark,
    EcoDatumFlipped,
    EcoDatumInformation,
    EcoDatumLanguage,
    EcoDatumLight,
    EcoDatumRatio,
    EcoDatumUpsideDown,
)

# Given: how the demo's functions vote on its 30 pairs (+ keep, - drop, . abstain), in their order:
# blur, aspect, CLIP, language, upside down, flipped, concreteness, detector. This is what the demo
# comes to when it is run; pair after pair, 30 words of 8 votes.
VOTES = """
..+-++.- ....+++. ..+-+++- ....+++- ..+.+++. ..+.+++- ..+-++.- ...-+++- ..+-+++. ....++.-
...-+++. ..+.+++- ..--+++- ...-++.- ...-+++- ..+-++.. ..+-++.- ..+-+++- ..+-+++- ..--+++-
...-++.- ..+.+++- ..-.+++- ....+++- ...-++.. ..+-++.- ..+-++.- ....+++. ..+.+++. ..--+++-
""".split()  # noqa: SIM905 -- thirty words read better in columns
WEIGHTS = (1.0, 1.0, 0.446, 0.668, 0.5, 0.5, 0.75, 0.505)  # given, as Snorkel 0.10 reports them
CHOSEN = [1, 3, 5, 11, 12, 19, 22, 23, 27, 29]  # given: the ten pairs of the demo's output

RULES = (
    EcoDatumBlur(), EcoDatumAspect(), EcoDatumClip(), EcoDatumLanguage(), EcoDatumUpsideDown(),
    EcoDatumFlipped(), EcoDatumConcrete(), EcoDatumCount(),
)  # fmt: skip
# Ours: operator values for each vote, from the thresholds and margins of the publication; a value
# at the end of a margin, where it votes, comes first, then one beyond it.
VALUES = {
    "blur": {".": (0.29, 0.5)},
    "odd_aspect": {".": (0.34, 1.0)},
    "alignment": {"+": (0.23, 0.31), "-": (0.19, 0.04), ".": (0.21, 0.2, 0.22)},
    "alignment_upside_down": {"+": (0.02, 0.24)},
    "alignment_flipped": {"+": (0.02, 0.24)},
    "icc": {"+": (0.035, 0.15), "-": (0.005, 0.001), ".": (0.006, 0.02, 0.034)},
    "object_count": {"+": (5, 9), "-": (0,), ".": (1, 4)},
}
LANGUAGES = {".": (("en", 0.01), ("en", 0.99)), "-": (("ja", 0.99), ("gl", 0.3), ("en", 0.0))}


def built():
    """Thirty rows of operator values that ask for the given votes."""
    order = [rule.columns[0] for rule in RULES]
    columns = {name: [] for name in (*order, "language_score")}
    for row, word in enumerate(VOTES):
        for name, vote in zip(order, word, strict=True):
            choices = (LANGUAGES if name == "language" else VALUES[name])[vote]
            value = choices[row % len(choices)]
            if name == "language":
                columns["language_score"].append(value[1])
                value = value[0]
            columns[name].append(value)
    kinds = {"language": pl.String, "object_count": pl.Int32}
    return {n: pl.Series(n, v, kinds.get(n, pl.Float32)) for n, v in columns.items()}


@pytest.fixture(scope="module", name="votes_NM")
def cast():
    columns = built()
    return np.stack([rule.primitive().vote(columns) for rule in RULES], axis=1)


def test_the_bands_give_the_votes_of_the_demo(votes_NM):
    """Votes given, operator values built: each rule has to cut where EcoDatum cuts."""
    shown = ["".join("-+."[vote] for vote in row) for row in votes_NM.tolist()]
    assert shown == VOTES
    assert Counter(votes_NM.ravel().tolist()) == {1: 95, 0: 45, -1: 100}


def test_snorkel_makes_of_them_what_the_demo_publishes(votes_NM):
    """Snorkel with the demo's settings; the first two rules never vote, their weight is 0 / 0."""
    from snorkel.labeling.model import LabelModel

    model = LabelModel(cardinality=2, verbose=False)
    model.fit(votes_NM, n_epochs=200, lr=0.01, l2=0.001, seed=123, progress_bar=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        assert model.get_weights().round(3) == pytest.approx(WEIGHTS)
    p_keep = model.predict_proba(votes_NM)[:, 1]
    assert sorted(np.argsort(-p_keep, kind="stable")[:10].tolist()) == CHOSEN


def test_our_snorkel_chooses_the_same_pairs(votes_NM):
    """With the demo's settings; a rule that never votes has no weight, where Snorkel says 1."""
    method = Snorkel(optimiser="sgd", steps=200, lr=0.01, l2=0.001)
    model = fit_label_model(votes_NM, model=method, prior=0.5, seed=123, share_copies=False)
    assert model.accuracy == pytest.approx((np.nan, np.nan, *WEIGHTS[2:]), abs=5e-4, nan_ok=True)
    p_keep = model.predict(votes_NM)
    assert sorted(np.argsort(-p_keep, kind="stable")[:10].tolist()) == CHOSEN


@pytest.mark.parametrize(
    ("rule", "drops", "abstains"),
    [
        (EcoDatumBlur(), 0.28, 0.281),
        (EcoDatumDark(), 0.27, 0.271),
        (EcoDatumLight(), 0.0, 0.001),
        (EcoDatumInformation(), 0.25, 0.251),
        (EcoDatumAspect(), 0.33, 0.331),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_quality_bands_drop_at_their_lower_end_and_never_keep(rule, drops, abstains):
    values = pl.Series(rule.column, [0.0, drops, abstains, 1.0], pl.Float32)
    assert rule.primitive().vote({rule.column: values}).tolist() == [0, 0, -1, -1]


def test_the_detectors_second_version_abstains_inside_its_range():
    columns = {
        "object_count": pl.Series([0, 1, 2, 2, 3], dtype=pl.Int32),
        "object_ratio": pl.Series([None, 0.04, 0.05, 0.95, 0.96], dtype=pl.Float32),
    }
    assert EcoDatumRatio().primitive().vote(columns).tolist() == [0, 0, -1, -1, 0]
