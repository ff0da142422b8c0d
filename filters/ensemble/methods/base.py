"""What every way of fitting a label model has in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.labelled import Labelled
from filters.ensemble.model import LabelModel
from filters.ensemble.moments import Moments
from filters.ensemble.patterns import PatternCounts


@dataclass(frozen=True, slots=True)
class Known:
    """What a fit may read.

    Attributes:
        counts: Distinct patterns; None if there were too many to hold.
        moments: Pairs of votes; always there.
        labelled: A few rows with labels, or None.
        prior_K: Class probabilities, float64 [K], all positive.
        seed: Of whatever is random.
    """

    counts: PatternCounts | None
    moments: Moments
    labelled: Labelled | None
    prior_K: NDArray[np.float64]
    seed: int


class Method(ABC):
    """A way of fitting, with its settings; subclass it as a frozen keyword-only dataclass.

    Attributes:
        needs_counts: It reads distinct patterns; others read moments alone and fit any pool.
        needs_labels: It cannot do without labels.
        least_rules: Rules that have to vote.
        most_classes: 2 for binary methods; 0 is any number.
        shares_copies: It may be fitted on one of several rules that vote alike; not one that has
            settings for each rule, or that labels tell what copies are worth.
    """

    needs_counts: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    least_rules: ClassVar[int] = 1
    most_classes: ClassVar[int] = 2
    shares_copies: ClassVar[bool] = True

    @property
    @abstractmethod
    def kind(self) -> str:
        """Name in a config: a field `kind: Literal["x"] = "x"`."""

    @abstractmethod
    def fit(self, known: Known) -> LabelModel:
        """Fit it; deterministic."""
