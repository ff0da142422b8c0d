"""p(keep) as a function of columns: what the votes say, learned by what the pair looks like.

A label model sees votes alone: equal votes get one p(keep), and a row on which every rule abstains
gets the prior. A linear model of stored columns that is fitted to p(keep) itself tells such rows
apart. It is fitted to the whole distribution and not to its winner, by Kullback-Leibler divergence,
as in label distribution learning (Geng, arXiv:1408.6027), so that a doubtful row stays doubtful.
Letters: N rows, M rules, D dimensions of a column (a number has one), F features.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, expit

FARTHEST = 5.0  # standard deviations; a number beyond counts as there
STEPS = 2000
AT_ONCE = 4096  # rows whose features are held when it is applied

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class EndModelSettings:
    """How columns become p(keep).

    Attributes:
        columns: Numbers and embeddings.
        rows: Pairs that it is fitted on, at most.
        l2: Weight of half the squared weights beside the mean divergence.
        most: No pair gets more; what a linear model finds best of all is what the pool has most of,
            such as hundreds of copies of one picture.
        use: Whose p(keep) it replaces: that of pairs on which every rule abstains, or of all.
    """

    columns: tuple[str, ...] = ("image_embedding", "text_embedding", "alignment", "consensus")
    rows: int = 20_000
    l2: float = 0.001
    most: float = 0.95
    use: Literal["abstained", "all"] = "all"

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not self.columns or len(set(self.columns)) < len(self.columns):
            raise ValueError(
                f"columns: got {list(self.columns)}, expected at least one and each once"
            )
        if not 0 < self.most <= 1:
            raise ValueError(
                f"most: got {self.most}, expected a probability above 0; 1 is no limit"
            )
        if self.rows < 1 or not self.l2 > 0:
            raise ValueError(
                f"rows, l2: got rows {self.rows} and l2 {self.l2}, expected both above 0"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One column's part in the sum: w . clip((x - mean) / scale), or `null` where it has no value.

    Attributes:
        column: Name.
        mean: D numbers, over the fitted rows that have a value.
        scale: Root of the mean squared distance to the mean, so that an embedding has the variance
            of one number; 1 if they are all equal.
        weight: D numbers.
        null: What a row without a value gets.
    """

    column: str
    mean: tuple[float, ...]
    scale: float
    weight: tuple[float, ...]
    null: float

    def logit(self, value: NDArray[Any]) -> NDArray[np.float64]:
        """Return this column's part of N log-odds; bits of a row do not depend on the others."""
        scaled_ND, lacks_N = _scaled(value, np.array(self.mean), self.scale)
        # Not a matrix product: its bits depend on how many rows there are.
        return np.where(lacks_N, self.null, (scaled_ND * np.array(self.weight)).sum(axis=1))


@dataclass(frozen=True, kw_only=True, slots=True)
class EndModel:
    """Columns in, p(keep) out; saved as JSON.

    Attributes:
        blocks: One for each column.
        bias: Log-odds where every column is at its mean.
        most: No row gets more.
        told: What the fit says of itself: rows, l2, the mean divergence in nats, steps.
    """

    blocks: tuple[Block, ...]
    bias: float
    most: float
    told: dict[str, Any]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it reads."""
        return tuple(block.column for block in self.blocks)

    def predict(self, columns: Columns) -> NDArray[np.float64]:
        """Return p(keep) of N rows, float64 in [0, 1], the same bits however rows are cut.

        Args:
            columns: Numbers [N] and embeddings [N, D]; NaN and infinities are null.
        """
        rows = len(columns[self.columns[0]])
        logit_N = np.full(rows, self.bias)
        for at in range(0, rows, AT_ONCE):
            some = slice(at, at + AT_ONCE)
            for block in self.blocks:
                logit_N[some] += block.logit(columns[block.column][some])
        return np.minimum(expit(logit_N), self.most)

    def to_json(self) -> str:
        """Write it as JSON; every float is read back to the same bits."""
        return json.dumps({"form": "EndModel", **asdict(self)})


def load_end_model(text: str) -> EndModel:
    """Read what `EndModel.to_json` wrote.

    Raises:
        ValueError: It is something else.
    """
    try:
        tree = json.loads(text)
        blocks = tuple(_block(**block) for block in tree["blocks"])
        return EndModel(
            blocks=blocks,
            bias=float(tree["bias"]),
            most=float(tree["most"]),
            told=dict(tree["told"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"end model: got {text[:40]!r}, expected JSON that a run wrote; decide again with "
            "`thresher curate`"
        ) from error


def _block(column: str, mean: list[float], scale: float, weight: list[float], null: float) -> Block:
    return Block(column=column, mean=tuple(mean), scale=scale, weight=tuple(weight), null=null)


def soft_labels(
    p_keep_N: NDArray[np.float64], votes_NM: NDArray[np.int8], veto_M: Sequence[bool]
) -> NDArray[np.float64]:
    """Return what an end model learns from N rows: p(keep), 0 where a rule with a veto votes drop.

    NaN where every rule abstains: the prior says nothing of such a row.
    """
    vetoed_N = (votes_NM[:, np.array(veto_M, bool)] == 0).any(axis=1)
    return np.where((votes_NM < 0).all(axis=1), np.nan, np.where(vetoed_N, 0.0, p_keep_N))


def fit_end_model(
    columns: Columns, target_N: NDArray[np.float64], *, l2: float, most: float = 1.0
) -> EndModel:
    """Minimise mean KL(target || p) + l2 / 2 |w|^2; convex, so there is one solution.

    Args:
        columns: Numbers [N] and embeddings [N, D]; NaN and infinities are null.
        target_N: p(keep) of each row.
        l2: Above 0.
        most: No row gets more when it is applied; the fit knows nothing of it.

    Raises:
        ValueError: There are no rows, or a target is no probability.
    """
    if not len(target_N) or not ((target_N >= 0) & (target_N <= 1)).all():
        raise ValueError(
            f"end model: got {len(target_N)} targets, expected at least one, each from 0 to 1; "
            "take rules that vote on more pairs"
        )
    scales = {name: _scale(value) for name, value in columns.items()}
    feature_NF = np.empty((len(target_N), sum(len(mean) + 1 for mean, _ in scales.values())))
    for (name, value), at in zip(columns.items(), _places(scales), strict=True):
        scaled_ND, lacks_N = _scaled(value, *scales[name])
        feature_NF[:, at] = np.column_stack([scaled_ND, lacks_N])
    weight_F, bias, told = _fit(feature_NF, target_N, l2)
    blocks = []
    for name, at in zip(columns, _places(scales), strict=True):
        (mean_D, scale), weight = scales[name], weight_F[at].tolist()
        blocks.append(
            Block(column=name, mean=tuple(mean_D.tolist()), scale=scale, weight=tuple(weight[:-1]),
                  null=weight[-1])
        )  # fmt: skip
    return EndModel(blocks=tuple(blocks), bias=bias, most=most, told={"l2": l2, **told})


def _fit(
    feature_NF: NDArray[np.float64], target_N: NDArray[np.float64], l2: float
) -> tuple[NDArray[np.float64], float, dict[str, Any]]:
    """Return weights and bias, which is free of the penalty, and what there is to tell."""
    from scipy.optimize import minimize

    entropy = float((entr(target_N) + entr(1 - target_N)).mean())

    def divergence(logit_N: NDArray[np.float64]) -> float:
        return float((np.logaddexp(0.0, logit_N) - target_N * logit_N).mean()) - entropy

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weight_F, bias = parameters[:-1], parameters[-1]
        logit_N = feature_NF @ weight_F + bias
        error_N = (expit(logit_N) - target_N) / len(target_N)
        gradient = np.append(error_N @ feature_NF + l2 * weight_F, error_N.sum())
        return divergence(logit_N) + 0.5 * l2 * float(weight_F @ weight_F), gradient

    options = {"maxiter": STEPS, "maxfun": 2 * STEPS, "maxcor": 20, "ftol": 1e-15, "gtol": 1e-9}
    start = np.zeros(feature_NF.shape[1] + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    weight_F, bias = found.x[:-1], float(found.x[-1])
    nats = divergence(feature_NF @ weight_F + bias)
    return weight_F, bias, {"rows": len(target_N), "divergence": nats, "steps": int(found.nit)}


def _scale(value: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """Return mean [D] and scale over the rows that have a value."""
    value_ND = _wide(value)
    value_ND = value_ND[np.isfinite(value_ND).all(axis=1)]
    if not len(value_ND):
        return np.zeros(value_ND.shape[1]), 1.0
    mean_D = value_ND.mean(axis=0)
    scale = float(np.sqrt(((value_ND - mean_D) ** 2).sum(axis=1).mean()))
    return mean_D, scale or 1.0


def _scaled(
    value: NDArray[Any], mean_D: NDArray[np.float64], scale: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return a column as features [N, D], 0 in rows without a value, and which rows those are."""
    value_ND = _wide(value)
    lacks_N = np.asarray(~np.isfinite(value_ND).all(axis=1))
    scaled_ND = np.clip((value_ND - mean_D) / scale, -FARTHEST, FARTHEST)
    scaled_ND[lacks_N] = 0.0
    return scaled_ND, lacks_N


def _wide(value: NDArray[Any]) -> NDArray[np.float64]:
    """Return a number as a vector of one dimension."""
    return np.ascontiguousarray(value, np.float64).reshape(len(value), -1)


def _places(scales: Mapping[str, tuple[NDArray[np.float64], float]]) -> Iterator[slice]:
    """Yield where each column's features lie; the last of a column is whether it has no value."""
    at = 0
    for mean_D, _ in scales.values():
        yield slice(at, at + len(mean_D) + 1)
        at += len(mean_D) + 1
