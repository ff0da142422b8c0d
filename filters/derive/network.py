"""A small network on an embedding, kept in a safetensors file; numpy is all it needs.

    layers.0.weight  [H, D]   layers.0.bias  [H]     the first layer; D dimensions of the embedding
    layers.1.weight  [1, H]   layers.1.bias  [1]     ... the last one has a single output
    weight           [1, D]   bias           [1]     instead: a linear head, as LAION's
    stage.weights    [S]      stage.dims     [S]     optional, for an embedding made of S blocks

Between layers is a ReLU. Numbers of layers may have gaps (dropout in the model they came from), and
a bias may be absent. The softmax of `stage.weights` weighs the blocks, whose widths `stage.dims`
are, before the first layer: a learned weighting of a tower's stages (RINE, arXiv:2402.19091).
Metadata, all optional: `output` (`linear`, `sigmoid`), `activation` (`relu`, `none`), and whatever
the trainer has to say. Letters: N rows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 8192  # so that memory does not grow with the shard
OUTPUTS, ACTIVATIONS = ("linear", "sigmoid"), ("relu", "none")
LAYER = re.compile(r"layers\.(\d+)\.(weight|bias)")


@dataclass(frozen=True, slots=True)
class Network:
    """Layers of a head.

    Attributes:
        layers: Weight [out, in] and bias [out] of each, float32; the last has one output.
        output: `linear`, or `sigmoid` for a probability.
        activation: `relu` between layers, or `none`.
    """

    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    output: str = "linear"
    activation: str = "relu"

    @property
    def dim(self) -> int:
        """Dimensions of the embedding it reads."""
        return self.layers[0][0].shape[1]

    def __call__(self, embedding_ND: NDArray[Any]) -> NDArray[np.float32]:
        """Return one number for each row, float32 [N]; NaN for a row of zeros, which is null."""
        parts = [
            self._rows(embedding_ND[at : at + ROWS_AT_ONCE])
            for at in range(0, len(embedding_ND), ROWS_AT_ONCE)
        ]
        return np.concatenate([np.zeros(0, np.float32), *parts])

    def _rows(self, rows_ND: NDArray[Any]) -> NDArray[np.float32]:
        values = np.asarray(rows_ND, np.float32)
        is_null_N = ~values.any(axis=1)
        for number, (weight, bias) in enumerate(self.layers):
            if number and self.activation == "relu":
                values = np.maximum(values, 0)
            values = values @ weight.T + bias
        result_N = sigmoid(values[:, 0]) if self.output == "sigmoid" else values[:, 0]
        return np.where(is_null_N, np.float32(np.nan), result_N)


def sigmoid(values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return 1 / (1 + exp(-x)) without overflow, in the dtype of x."""
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1, small) / (1 + small)


def read_network(path: Path) -> Network:
    """Read a head's file; safetensors only, which holds numbers and no code.

    Raises:
        ValueError: It is no such file, or what is in it does not fit together.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            about = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"head: got {path}, expected a safetensors file that can be read ({error}); pickles "
            "(.pt, .pth) are not opened: save the state dict with safetensors.torch.save_file"
        ) from error
    try:
        return network_of(tensors, about)
    except ValueError as error:
        raise ValueError(f"head {path}: {error}") from error


def network_of(tensors: Mapping[str, NDArray[Any]], about: Mapping[str, str]) -> Network:
    """Put a head together from its tensors and metadata; stage weights go into the first layer.

    Raises:
        ValueError: They do not fit together.
    """
    for key, known in (("output", OUTPUTS), ("activation", ACTIVATIONS)):
        if about.get(key, known[0]) not in known:
            raise ValueError(
                f"got {key} {about[key]!r} in its metadata, expected {' or '.join(known)}; "
                "write the file again"
            )
    layers = _layers(_numbered(tensors))
    if "stage.weights" in tensors:
        (weight, bias), *rest = layers
        layers = [(weight * stage_factors(tensors, dim=weight.shape[1]), bias), *rest]
    return Network(tuple(layers), about.get("output", "linear"), about.get("activation", "relu"))


def stage_factors(tensors: Mapping[str, NDArray[Any]], *, dim: int) -> NDArray[np.float32]:
    """Return what each dimension of the embedding is multiplied with, float32 [D].

    Raises:
        ValueError: The stages are not those of an embedding of `dim` dimensions.
    """
    weight_S = np.asarray(tensors["stage.weights"], np.float64).ravel()
    dims_S = np.asarray(tensors.get("stage.dims", ()), np.int64).ravel()
    if len(weight_S) != len(dims_S) or dims_S.sum() != dim or (dims_S < 1).any():
        raise ValueError(
            f"got {len(weight_S)} stage.weights and stage.dims {dims_S.tolist()}, expected as many "
            f"widths that add up to the {dim} columns of the first layer; write the file again"
        )
    share_S = np.exp(weight_S - weight_S.max())
    return np.repeat(share_S / share_S.sum(), dims_S).astype(np.float32)


def _numbered(tensors: Mapping[str, NDArray[Any]]) -> dict[int, dict[str, NDArray[np.float32]]]:
    """Group weights and biases by layer.

    Raises:
        ValueError: There is no layer, or a tensor that is none of a head's.
    """
    found: dict[int, dict[str, NDArray[np.float32]]] = {}
    for name, tensor in tensors.items():
        plain = f"layers.0.{name}" if name in {"weight", "bias"} else name
        match = LAYER.fullmatch(plain)
        if match is not None:
            found.setdefault(int(match[1]), {})[match[2]] = np.asarray(tensor, np.float32)
        elif name not in {"stage.weights", "stage.dims"}:
            raise ValueError(
                f"got the tensor {name!r}, expected layers.N.weight and layers.N.bias, or weight "
                "and bias; rename what is a layer, leave out what is not"
            )
    if not any("weight" in layer for layer in found.values()):
        raise ValueError(
            f"got {', '.join(tensors) or 'no tensor'}, expected layers.0.weight or weight; give a "
            "head's file, such as `thresher head train` writes"
        )
    return found


def _layers(
    numbered: Mapping[int, Mapping[str, NDArray[np.float32]]],
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Check that each layer takes what the one before gives, and that the last gives one number."""
    layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for number, layer in sorted(numbered.items()):
        weight = np.atleast_2d(layer.get("weight", np.zeros(0, np.float32)))
        bias = np.atleast_1d(layer.get("bias", np.zeros(len(weight), np.float32)))
        before = layers[-1][0].shape[0] if layers else weight.shape[-1]
        if weight.ndim != 2 or weight.shape[1] != before or bias.shape != weight.shape[:1]:  # noqa: PLR2004
            raise ValueError(
                f"got layers.{number}.weight {list(weight.shape)} and bias {list(bias.shape)}, "
                f"expected [H, {before}] and [H]; write the file again"
            )
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise ValueError(
                f"got layers.{number} with infinite or NaN entries, expected finite ones; "
                "train it again"
            )
        layers.append((weight, bias))
    if len(layers[-1][0]) != 1:
        raise ValueError(
            f"got {len(layers[-1][0])} outputs of layers.{max(numbered)}, expected 1; a head "
            "writes one column, keep the row of one class"
        )
    return layers
