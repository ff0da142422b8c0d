"""Boosted shallow trees on the votes, from some hundreds of labels on.

Fitted by scikit-learn, then written down as plain arrays: whoever predicts needs numpy alone.
Letters: P patterns, M rules, K classes, T trees.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from filters.ensemble.forms import Trees
from filters.ensemble.labelled import Labelled
from filters.ensemble.methods.base import Known, Method
from filters.ensemble.methods.supervised import (
    FOLDS,
    accuracies,
    asked,
    deal,
    require_each_class,
    shares,
)

BINARY = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Boosted(Method):
    """Gradient boosting (Friedman, "Greedy function approximation", 2001) of the log-odds.

    Where votes matter together (a large picture with an odd aspect ratio, a caption that only looks
    foreign) trees find it, and no sum over rules can. Rows of one pattern and label are one row
    that weighs as much as there are, so the time of a fit does not depend on the number of labels.
    Cross-validation chooses how many of the trees are taken.

    Attributes:
        depth: Questions from the root to a leaf; at most so many rules act together.
        rate: Share of each tree's step that is taken.
        trees: Rounds at most.
        least: Least labelled rows in a leaf.
    """

    needs_labels: ClassVar[bool] = True
    most_classes: ClassVar[int] = 0
    kind: Literal["boosted"] = "boosted"
    depth: int = 3
    rate: float = 0.1
    trees: int = 100
    least: int = 5

    def __post_init__(self) -> None:
        """Refuse settings that fit nothing."""
        if min(self.depth, self.trees, self.least) < 1 or not 0 < self.rate <= 1:
            raise ValueError(
                f"boosted: got depth = {self.depth}, rate = {self.rate}, trees = {self.trees} and "
                f"least = {self.least}, expected a rate above 0 up to 1, and the others at least 1"
            )

    def fit(self, known: Known) -> Trees:
        """Fit it on labelled patterns.

        Raises:
            ValueError: A class has fewer labels than there are folds, or scikit-learn is missing.
        """
        labelled = known.labelled
        assert labelled is not None
        require_each_class(labelled, least=FOLDS, kind=self.kind)
        with threadpool_limits(1):
            curve_T = self._curve(labelled, seed=known.seed)
            rounds = int(curve_T.argmin()) + 1
            booster = self._fitted(labelled, labelled.count_PK, seed=known.seed)
        return Trees(
            kind=self.kind,
            prior=tuple(known.prior_K.tolist()),
            accuracy=accuracies(labelled),
            share=(1.0,) * known.moments.rules,
            told={
                "labels": int(labelled.of_class.sum()),
                "rounds": rounds,
                "loss": float(curve_T[rounds - 1]),
            },
            start=tuple(np.log(shares(labelled)).tolist()),
            **_plain(booster.estimators_[:rounds], rate=self.rate, classes=labelled.classes),
            labelled=tuple(shares(labelled).tolist()),
        )

    def _fitted(self, labelled: Labelled, count_PK: NDArray[np.int64], *, seed: int) -> Any:
        """Return scikit-learn's booster on rows that weigh as much as their counts."""
        row_J, class_J = np.nonzero(count_PK)
        weight_J = count_PK[row_J, class_J].astype(np.float64)
        booster = _library().GradientBoostingClassifier(
            learning_rate=self.rate,
            n_estimators=self.trees,
            max_depth=self.depth,
            min_weight_fraction_leaf=min(0.5, self.least / weight_J.sum()),
            random_state=seed,
        )
        asked_PX = asked(labelled.votes_PM, labelled.classes).astype(np.float32)
        return booster.fit(asked_PX[row_J], class_J, sample_weight=weight_J)

    def _curve(self, labelled: Labelled, *, seed: int) -> NDArray[np.float64]:
        """Return the mean loss on folds left out after each round, float64 [T]."""
        asked_PX = asked(labelled.votes_PM, labelled.classes).astype(np.float32)
        curve_T = np.zeros(self.trees)
        for left_out_PK in deal(labelled):
            booster = self._fitted(labelled, labelled.count_PK - left_out_PK, seed=seed)
            some_P = left_out_PK.any(axis=1)
            for t, p_PK in enumerate(booster.staged_predict_proba(asked_PX[some_P])):
                log_PK = np.log(np.maximum(p_PK, np.finfo(np.float64).tiny))
                curve_T[t] -= float((left_out_PK[some_P] * log_PK).sum())
        return curve_T / labelled.of_class.sum()


def _library() -> Any:
    try:
        from sklearn import ensemble
    except ImportError as error:
        raise ValueError(
            "ensemble: got model 'boosted' without scikit-learn, expected it to be installed; "
            'pip install "thresher[boost]"'
        ) from error
    return ensemble


def _plain(trees_TK: NDArray[Any], *, rate: float, classes: int) -> dict[str, Any]:
    """Return scikit-learn's trees as tuples of numbers, by the names that `Trees` has for them."""
    # With two classes there is one tree a round, of keep against drop.
    of_class = [1] if classes == BINARY else list(range(classes))
    trees = [found.tree_ for found in trees_TK.ravel()]
    root_T = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
    inner = np.concatenate([tree.children_left for tree in trees]) >= 0
    feature = np.concatenate([tree.feature for tree in trees])

    def nodes(side: str) -> NDArray[np.int64]:
        return np.concatenate([r + getattr(t, side) for r, t in zip(root_T, trees, strict=True)])

    by_node = {
        "rule": np.where(inner, feature // classes, -1),
        "vote": np.where(inner, feature % classes, -1),
        "no": np.where(inner, nodes("children_left"), -1),  # 0 is below the threshold of 0.5
        "yes": np.where(inner, nodes("children_right"), -1),
        "score": np.concatenate([rate * tree.value[:, 0, 0] for tree in trees]),
        "root": root_T,
        "of_class": np.tile(of_class, len(trees_TK)),
    }
    return {name: tuple(values.tolist()) for name, values in by_node.items()}
