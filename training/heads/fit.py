"""Fit a head on an embedding that is stored already, from a few hundred or thousand labels.

Labels 0 and 1 are fitted by logistic regression, other numbers by ridge regression; both take one
hidden layer instead, and a learned weight for each stage (RINE, arXiv:2402.19091). Letters: N rows,
D dimensions, K units of the first layer, S stages, P parameters.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from filters.derive.network import Network, network_of
from training.heads.metrics import judge
from training.heads.problem import SEARCH, Problem, Scale, Shape, Task

FOLDS = 5  # the first is held out, the others choose the penalty
PENALTIES = tuple(10.0**power for power in range(1, -6, -1))  # of standardised features, mean loss
WORSE_IN_A_ROW = 2  # a weaker penalty has cost more so often: weaker ones are not tried


@dataclass(frozen=True, slots=True)
class TrainedHead:
    """A head and what is known of it.

    Attributes:
        tensors: As in filters/derive/network.py, float32; mean and deviation are folded in.
        task: `logistic` (the head gives a probability) or `ridge`.
        l2: The penalty that cross-validation chose.
        curve: Mean loss on the folds left out, by penalty.
        heldout: Metrics on a fifth of the pictures, of a head that was fitted without them.
        about: Whatever else its file tells.
    """

    tensors: dict[str, NDArray[Any]]
    task: Task
    l2: float
    curve: dict[float, float]
    heldout: dict[str, float]
    about: dict[str, str] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, str]:
        """What its file says of it."""
        output = "sigmoid" if self.task == "logistic" else "linear"
        told = {"l2": repr(self.l2), "heldout": json.dumps(self.heldout)}
        return {"output": output, "activation": "relu", **told, **self.about}

    @property
    def stage_shares(self) -> list[float]:
        """Weights of the stages, which add up to 1; none unless they were fitted."""
        weight_S = np.exp(self.tensors.get("stage.weights", np.zeros(0, np.float32)))
        return (weight_S / weight_S.sum()).tolist()

    @property
    def network(self) -> Network:
        """The function that its file stands for."""
        return network_of(self.tensors, self.metadata)

    def to_bytes(self) -> bytes:
        """Write it as safetensors; the bytes depend on the head alone."""
        from safetensors.numpy import save

        data = save(self.tensors, self.metadata)
        size = int.from_bytes(data[:8], "little")
        # The library writes metadata in random order; a file's digest is its identity here.
        header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True).encode()
        header += b" " * (-len(header) % 8)
        return len(header).to_bytes(8, "little") + header + data[8 + size :]


def fit_head(
    embedding_ND: NDArray[np.float16],
    target_N: NDArray[np.float64],
    *,
    shape: Shape,
    seed: int,
    about: Mapping[str, str] = MappingProxyType({}),
) -> TrainedHead:
    """Choose the penalty by cross-validation, judge on pictures held out, then fit on all rows.

    Args:
        embedding_ND: Of the labelled pairs, as it is stored.
        target_N: 0 and 1, or quantities.
        shape: What is fitted.
        seed: Of a hidden layer's start.
        about: More to be told in the file's metadata.

    Raises:
        ValueError: One class is missing or too rare, or there are too few pictures.
    """
    fold_N = deal(embedding_ND, target_N, folds=FOLDS)
    _require_enough(target_N, fold_N, task_of(target_N))
    # One thread: the matrices are small, several threads mostly wait for each other (a busy machine
    # took 7 times the processor time), and sums do not depend on how many there are.
    with threadpool_limits(1):
        head = _fit_head(embedding_ND, target_N, fold_N, shape=shape, seed=seed)
    told = {**about, "labels": str(len(target_N)), "seed": str(seed)}
    return replace(head, about=told)


def _fit_head(
    embedding_ND: NDArray[np.float16],
    target_N: NDArray[np.float64],
    fold_N: NDArray[np.int64],
    *,
    shape: Shape,
    seed: int,
) -> TrainedHead:
    task = task_of(target_N)
    held_N = fold_N == 0
    known, target = embedding_ND[~held_N], target_N[~held_N]
    scale = Scale.of(known, target, task)
    search = Problem.of(scale, known, target, shape=shape, dtype=torch.float32)
    curve = _curve(search, fold_N[~held_N], seed=seed)
    l2 = min(curve, key=lambda penalty: (curve[penalty], -penalty))
    tensors = Problem.of(scale, known, target, shape=shape).fit(l2=l2, seed=seed)
    judged = TrainedHead(tensors, task, l2, curve, {})
    heldout = judge(task, judged.network(embedding_ND[held_N]), target_N[held_N])
    scale = Scale.of(embedding_ND, target_N, task)
    tensors = Problem.of(scale, embedding_ND, target_N, shape=shape).fit(l2=l2, seed=seed)
    return TrainedHead(tensors, task, l2, curve, heldout)


def task_of(target_N: NDArray[np.float64]) -> Literal["logistic", "ridge"]:
    """Return how targets are fitted: 0 and 1 are classes, anything else is a quantity."""
    return "logistic" if np.isin(target_N, (0.0, 1.0)).all() else "ridge"


def deal(
    embedding_ND: NDArray[np.float16], target_N: NDArray[np.float64], *, folds: int
) -> NDArray[np.int64]:
    """Put rows into folds so that copies of a picture share one and targets spread evenly.

    Returns:
        int64 [N]; depends on pictures and targets alone.
    """
    packed = np.ascontiguousarray(embedding_ND).view(np.dtype((np.void, embedding_ND[:1].nbytes)))
    _, first, picture_N = np.unique(packed.ravel(), return_index=True, return_inverse=True)
    fold = np.empty(len(first), np.int64)
    fold[np.argsort(target_N[first], kind="stable")] = np.arange(len(first)) % folds
    return fold[picture_N]


def _require_enough(target_N: NDArray[np.float64], fold_N: NDArray[np.int64], task: Task) -> None:
    """Refuse targets that leave a fold without one of the classes, or without a row."""
    for kind in (0, 1) if task == "logistic" else ("",):
        folds = len(np.unique(fold_N[target_N == kind] if task == "logistic" else fold_N))
        if folds < FOLDS:
            raise ValueError(
                f"labels: got {folds} different pictures with a label {kind}".rstrip()
                + f", expected at least {FOLDS} (one for each fold); label more pairs"
            )


def _curve(problem: Problem, fold_N: NDArray[np.int64], *, seed: int) -> dict[float, float]:
    """Return the loss on folds left out by penalty, from the strongest on until it only grows."""
    parts = [(problem.rows(fold_N != f), problem.rows(fold_N == f)) for f in np.unique(fold_N)]
    curve: dict[float, float] = {}
    worse = 0
    for l2 in PENALTIES:
        losses = []
        for fitted, left_out in parts:
            theta_P = fitted.solve(l2=l2, seed=seed, until=SEARCH)
            losses.append(left_out.loss(theta_P, l2=l2))
        curve[l2] = float(np.mean(losses))
        worse = worse + 1 if curve[l2] > min(curve.values()) else 0
        if worse == WORSE_IN_A_ROW:
            break
    return curve
