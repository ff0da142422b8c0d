"""Several scores of one thing become one: non-negative least squares on a labelled sample.

Scorers of one kind (unsafe content, say) err on different pictures; weights fitted on a few hundred
labels beat the best of them and their mean. Letters: N rows, M scores.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from filters.derive.base import Columns, Derive, Map
from filters.derive.counts import Counts
from filters.extract import Column
from filters.extract.base import Values


@dataclass(frozen=True, slots=True)
class Mixture:
    """A weighted sum.

    Attributes:
        weights: Of each score, not negative.
        bias: Added to the sum.
    """

    weights: dict[str, float]
    bias: float

    def to_json(self) -> str:
        """Write it as JSON: what `Combine` reads."""
        return json.dumps(asdict(self), indent=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Combine(Derive):
    """The sum of score columns under fitted weights; NaN where one of them is null.

    Attributes:
        name: The column it writes.
        scores: The columns it reads.
        file: Path or URL of a JSON file with `weights` by column and `bias`, such as
            `thresher head combine` writes.
    """

    takes: ClassVar[tuple[str, ...]] = ("float32", "int32")
    kind: Literal["combine"] = "combine"
    name: str
    scores: tuple[str, ...]
    file: str

    def __post_init__(self) -> None:
        """Refuse a name that is no column's, no scores, and a file of another kind."""
        if not self.name.isidentifier() or not self.scores:
            raise ValueError(
                f"combine: got name {self.name!r} and scores {list(self.scores)}, expected a "
                "column name and at least one column to read; correct them"
            )
        if not self.file.endswith(".json"):
            raise ValueError(
                f"combine {self.name}: got file {self.file!r}, expected a .json file; "
                "`thresher head combine` writes one"
            )

    @property
    def weights(self) -> tuple[str, ...]:
        """Its file."""
        return (self.file,)

    @property
    def reads(self) -> tuple[str, ...]:
        """The scores."""
        return self.scores

    @property
    def columns(self) -> tuple[Column, ...]:
        """One number."""
        meaning = f"weighted sum of {', '.join(self.scores)}"
        return (Column(self.name, "float32", "", "(-inf, inf)", meaning),)

    def load(self, weights: Mapping[str, Path], counts: Counts | None) -> Map:
        """Read the file and return the function from scores to their sum.

        Raises:
            ValueError: The file is no mixture of just these scores.
        """
        del counts
        mixture = read_mixture(weights[self.file])
        if set(mixture.weights) != set(self.scores):
            raise ValueError(
                f"combine {self.name}: got scores {', '.join(self.scores)}, expected "
                f"{', '.join(mixture.weights)}, which {self.file} was fitted on; set scores to them"
            )
        weight_M = np.array([mixture.weights[score] for score in self.scores], np.float64)

        def make(columns: Columns) -> dict[str, Values]:
            scores_NM = np.stack([np.asarray(columns[s], np.float64) for s in self.scores], axis=1)
            sum_N = (scores_NM * weight_M).sum(axis=1) + mixture.bias  # NaN times 0 is NaN
            return {self.name: sum_N.astype(np.float32)}

        return make


def read_mixture(path: Path) -> Mixture:
    """Read a mixture.

    Raises:
        ValueError: The file holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        mixture = Mixture({str(k): float(v) for k, v in found["weights"].items()}, found["bias"])
        values = np.array([*mixture.weights.values(), float(mixture.bias)])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'combine: got {path}, expected JSON such as {{"weights": {{"nsfw": 0.7}}, "bias": '
            f"0.1}} ({type(error).__name__}: {error}); `thresher head combine` writes it"
        ) from error
    if not np.isfinite(values).all():
        raise ValueError(f"combine: got {path} with NaN or infinity, expected finite numbers")
    return mixture


def fit_mixture(
    scores_NM: NDArray[np.floating], target_N: NDArray[np.floating], *, names: Sequence[str]
) -> Mixture:
    """Fit weights that are not negative, and a free bias, by least squares.

    The bias is profiled out: centred scores are fitted to the centred target (Lawson and Hanson,
    "Solving Least Squares Problems", 1974, algorithm 23.10, by scipy), which gives the optimum over
    both. Rows with a NaN are left out.

    Raises:
        ValueError: Fewer whole rows than weights.
    """
    from scipy.optimize import nnls

    whole_N = np.isfinite(scores_NM).all(axis=1) & np.isfinite(target_N)
    scores, target = (np.asarray(x, np.float64)[whole_N] for x in (scores_NM, target_N))
    if len(target) <= len(names):
        raise ValueError(
            f"combine: got {len(target)} labelled rows that have all of {', '.join(names)}, "
            f"expected more than {len(names)}; label more pairs"
        )
    centre_M, centre = scores.mean(axis=0), target.mean()
    weight_M, _ = nnls(scores - centre_M, target - centre)
    weights = dict(zip(names, weight_M.tolist(), strict=True))
    return Mixture(weights, float(centre - centre_M @ weight_M))
