"""The optimisation behind a head: features standardised, curvature evened out, then L-BFGS.

Of a linear head on standardised features x the curvature is about a quarter of their covariance
plus the penalty. In the principal axes, each divided by the root of that, it is nearly the same in
all directions, and a few dozen steps reach the optimum where plain descent takes thousands.
Letters: N rows, D dimensions, K units of the first layer, S stages, P parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Task = Literal["logistic", "ridge"]
# Of L-BFGS: steps at most, largest entry of the gradient and least share of the loss gained by a
# step that end it.
SEARCH = {"maxiter": 50, "gtol": 1e-4, "ftol": 1e-5}  # in float32, to compare penalties
FINAL = {"maxiter": 200, "gtol": 1e-8, "ftol": 1e-15}
CONSTANT = 1e-6  # a deviation below this is rounding
CURVATURE = {"logistic": 0.25, "ridge": 1.0}  # of the loss in the output, at most


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What a head is made of.

    Attributes:
        hidden: Units of its hidden layer; 0 is a linear head.
        stage_dims: Widths of the embedding's stages to be weighed; none: as they are.
    """

    hidden: int = 0
    stage_dims: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Scale:
    """What makes features and targets comparable.

    Attributes:
        task: What is fitted.
        mean_D: float64.
        inverse_D: One over the deviation, float64; 0 for a dimension that does not vary.
        axes_DD: Principal axes of the standardised features, columns; float64.
        variance_D: Along them.
        centre: Mean of the targets; 0 for classes.
        spread: Their deviation; 1 for classes.
    """

    task: Task
    mean_D: NDArray[np.float64]
    inverse_D: NDArray[np.float64]
    axes_DD: NDArray[np.float64]
    variance_D: NDArray[np.float64]
    centre: float
    spread: float

    @classmethod
    def of(cls, embedding_ND: NDArray[Any], target_N: NDArray[np.float64], task: Task) -> "Scale":
        """Measure the rows that are fitted."""
        x_ND = np.asarray(embedding_ND, np.float64)
        mean_D, deviation_D = x_ND.mean(axis=0), x_ND.std(axis=0)
        varies_D = deviation_D > CONSTANT
        inverse_D = np.where(varies_D, 1 / np.where(varies_D, deviation_D, 1.0), 0.0)
        z_ND = (x_ND - mean_D) * inverse_D
        variance_D, axes_DD = np.linalg.eigh(z_ND.T @ z_ND / len(z_ND))
        centre, spread = (0.0, 1.0) if task == "logistic" else (target_N.mean(), target_N.std())
        return cls(
            task,
            mean_D,
            inverse_D,
            axes_DD,
            np.maximum(variance_D, 0),
            float(centre),
            float(spread),
        )


@dataclass(frozen=True, slots=True)
class Parts:
    """The parameters by their meaning: the first layer's in the space of standardised features."""

    first_KD: Tensor
    bias_K: Tensor
    second_K: Tensor
    second_bias: Tensor
    stage_S: Tensor

    def square(self) -> Tensor:
        """Return the sum of squares that is penalised: everything but biases.

        Without the stage weights in it all weight would go to one stage, which scales that stage's
        part of the first layer down for free.
        """
        penalised = (self.first_KD.ravel(), self.second_K, self.stage_S)
        return torch.cat(penalised).square().sum()


@dataclass(frozen=True, slots=True)
class Problem:
    """Standardised rows, and the loss of parameters on them.

    Attributes:
        scale: How they were standardised.
        shape: What is fitted.
        z_ND: Features.
        y_N: Targets.
        axes_DD: The scale's, in the dtype of the features.
        variance_D: Likewise.
    """

    scale: Scale
    shape: Shape
    z_ND: Tensor
    y_N: Tensor
    axes_DD: Tensor
    variance_D: Tensor

    @classmethod
    def of(
        cls,
        scale: Scale,
        embedding_ND: NDArray[Any],
        target_N: NDArray[np.float64],
        *,
        shape: Shape,
        dtype: torch.dtype = torch.float64,
    ) -> "Problem":
        """Standardise rows."""
        z_ND = (np.asarray(embedding_ND, np.float64) - scale.mean_D) * scale.inverse_D
        y_N = (target_N - scale.centre) / scale.spread
        arrays = (z_ND, y_N, scale.axes_DD, scale.variance_D)
        return cls(scale, shape, *(torch.tensor(a, dtype=dtype) for a in arrays))

    def rows(self, chosen_N: NDArray[np.bool_]) -> "Problem":
        """Return the problem of some of the rows."""
        chosen = torch.from_numpy(chosen_N)
        return replace(self, z_ND=self.z_ND[chosen], y_N=self.y_N[chosen])

    @property
    def units(self) -> int:
        """Outputs of the first layer."""
        return self.shape.hidden or 1

    def solve(
        self, *, l2: float, seed: int, until: Mapping[str, float] = MappingProxyType(FINAL)
    ) -> NDArray[np.float64]:
        """Return the parameters of least penalised loss, float64 [P].

        The optimum if the head is linear; with a hidden layer or stages a local one, from a start
        that `seed` draws.
        """
        from scipy.optimize import minimize

        def value_and_gradient(theta_P: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            theta = torch.tensor(theta_P, dtype=self.z_ND.dtype, requires_grad=True)
            parts = self._parts(theta, l2)
            value = self._loss(parts) + l2 / 2 * parts.square()
            value.backward()
            assert theta.grad is not None
            return value.item(), theta.grad.numpy().astype(np.float64)

        found = minimize(
            value_and_gradient, self._start(l2, seed), jac=True, method="L-BFGS-B",
            options=dict(until),
        )  # fmt: skip
        return found.x

    def fit(self, *, l2: float, seed: int) -> dict[str, NDArray[Any]]:
        """Solve it to the last digit that counts, and return the head's tensors."""
        return self.tensors(self.solve(l2=l2, seed=seed), l2=l2)

    def loss(self, theta_P: NDArray[np.float64], *, l2: float) -> float:
        """Return the mean loss of these rows, without the penalty."""
        with torch.inference_mode():
            parts = self._parts(torch.tensor(theta_P, dtype=self.z_ND.dtype), l2)
            return self._loss(parts).item()

    def tensors(self, theta_P: NDArray[np.float64], *, l2: float) -> dict[str, NDArray[Any]]:
        """Return the head's tensors, float32; they take an embedding as it is stored."""
        parts = self._parts(torch.tensor(theta_P, dtype=self.z_ND.dtype), l2)
        first_KD = parts.first_KD.numpy() * self.scale.inverse_D
        share_D = self._shares(parts.stage_S).numpy()
        bias_K = parts.bias_K.numpy() - (first_KD * share_D) @ self.scale.mean_D
        layers = [(first_KD, bias_K)]
        if self.shape.hidden:
            layers.append((parts.second_K.numpy()[None], parts.second_bias.numpy()))
        weight, bias = layers.pop()
        spread, centre = self.scale.spread, self.scale.centre
        layers.append((weight * spread, bias * spread + centre))
        tensors: dict[str, NDArray[Any]] = {}
        for number, (weight, bias) in enumerate(layers):
            tensors[f"layers.{number}.weight"] = weight.astype(np.float32)
            tensors[f"layers.{number}.bias"] = bias.astype(np.float32)
        if self.shape.stage_dims:
            # The file's softmax adds up to 1, the shares here average 1.
            tensors["layers.0.weight"] *= np.float32(len(self.shape.stage_dims))
            tensors["stage.weights"] = parts.stage_S.numpy().astype(np.float32)
            tensors["stage.dims"] = np.array(self.shape.stage_dims, np.int64)
        return tensors

    def _parts(self, theta: Tensor, l2: float) -> Parts:
        """Split parameters, and take the first layer's out of the evened axes."""
        dims, units, stages = self.z_ND.shape[1], self.units, len(self.shape.stage_dims)
        hidden = units if self.shape.hidden else 0
        sizes = [units * dims, units, hidden, 1 if hidden else 0, stages]
        first, bias_K, second_K, second_bias, stage_S = theta.split(sizes)
        first_KD = (first.reshape(units, dims) * self._evened(l2)) @ self.axes_DD.T
        return Parts(first_KD, bias_K, second_K, second_bias, stage_S)

    def _evened(self, l2: float) -> Tensor:
        return (CURVATURE[self.scale.task] * self.variance_D + l2).rsqrt()

    def _shares(self, stage_S: Tensor) -> Tensor:
        """Return what each dimension is multiplied with; 1 on average over the stages."""
        if not len(stage_S):
            return torch.ones(1, dtype=stage_S.dtype)
        share_S = stage_S.softmax(dim=0) * len(stage_S)
        return share_S.repeat_interleave(torch.tensor(self.shape.stage_dims))

    def _loss(self, parts: Parts) -> Tensor:
        weight_KD = parts.first_KD * self._shares(parts.stage_S)
        output_NK = F.linear(self.z_ND, weight_KD, parts.bias_K)
        if self.shape.hidden:
            output_N = output_NK.relu() @ parts.second_K + parts.second_bias
        else:
            output_N = output_NK[:, 0]
        if self.scale.task == "logistic":
            return F.binary_cross_entropy_with_logits(output_N, self.y_N)
        return (output_N - self.y_N).square().mean() / 2

    def _start(self, l2: float, seed: int) -> NDArray[np.float64]:
        """Return zeros for a linear head, else layers drawn as torch draws them."""
        dims, units, stages = self.z_ND.shape[1], self.units, len(self.shape.stage_dims)
        if not self.shape.hidden:
            return np.zeros(dims + 1 + stages)
        rng = np.random.default_rng(seed)
        first_KD = rng.normal(size=(units, dims)) / dims**0.5
        evened_KD = first_KD @ self.scale.axes_DD / self._evened(l2).numpy().astype(np.float64)
        second_K = rng.normal(size=units) / units**0.5
        return np.concatenate([evened_KD.ravel(), np.zeros(units), second_K, np.zeros(1 + stages)])
