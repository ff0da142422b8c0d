"""TensorFlow.js graph models in torch: the operators that NanoDet needs, as one small table.

Tensors are laid out as the graph has them; only convolution, pooling and resizing go through the
channels-first layout of torch, and the ONNX exporter cancels transpositions that meet.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.models.tfjs_graph import Graph, Node

TO_CHANNELS_FIRST, TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


Adapt = Callable[[Node, NDArray[Any]], NDArray[Any]]


class GraphModel(nn.Module):
    """A graph model with one input, batched along the first axis.

    The graph was frozen for one picture; its reshapes are made to follow the batch instead.

    Args:
        graph: The graph.
        adapt: Maps a node and one of its arguments (a shape, a size) to what it should be; how a
            graph frozen for one size of picture is made to take another.
    """

    def __init__(self, graph: Graph, *, adapt: Adapt = lambda _node, argument: argument) -> None:
        """Do all arithmetic on constants now; what is left needs the picture."""
        super().__init__()
        known: dict[str, Any] = dict(graph.constants)
        steps: list[Node] = []
        for node in graph.nodes:
            if node.inputs and all(name in known for name, _ in node.inputs):
                known[node.name] = _run(FOLDED, node, known)
            elif node.op != "Const":
                steps.append(node)
        arguments = {name: node for node in steps for name, _ in node.inputs[1:] if name in known}
        known |= {n: adapt(node, known[n]) for n, node in arguments.items()}
        self._steps, self._outputs = tuple(steps), graph.outputs
        self._arguments = {n: v for n, v in known.items() if v.dtype != np.float32}
        weights = {n: v for n, v in known.items() if v.dtype == np.float32}
        self._buffer_of = {name: f"weight_{i}" for i, name in enumerate(weights)}
        for name, value in weights.items():
            self.register_buffer(self._buffer_of[name], torch.from_numpy(value))

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Run the graph on [N, ...]; outputs in the order of their names."""
        values: dict[str, Any] = dict(self._arguments)
        values |= {name: self.get_buffer(held) for name, held in self._buffer_of.items()}
        for node in self._steps:
            values[node.name] = pixels if not node.inputs else _run(OPERATORS, node, values)
        return tuple(values[name] for name in self._outputs)


@dataclass(frozen=True, slots=True)
class Call:
    """A node about to run; its inputs by position: tensors, or arrays where known beforehand."""

    node: Node
    values: tuple[Any, ...]

    def __getitem__(self, position: int) -> Any:
        """Return one input."""
        return self.values[position]


Operators = Mapping[str, Callable[[Call], Any]]


def _run(table: Operators, node: Node, values: Mapping[str, Any]) -> Any:
    if node.op not in table:
        raise ValueError(
            f"TFJS graph: got the operator {node.op} at {node.name}, expected one of "
            f"{', '.join(table)}; add it to pipeline/models/tfjs.py"
        )
    found = ((values[name], output) for name, output in node.inputs)
    inputs = tuple(v[output] if isinstance(v, (list, tuple)) else v for v, output in found)
    return table[node.op](Call(node, inputs))


def _sparse_to_dense(call: Call) -> NDArray[Any]:
    places, shape, entries, default = call.values
    dense = np.full(shape, default, entries.dtype)
    dense[tuple(places.T)] = entries
    return dense


def _concatenate(call: Call) -> Tensor:
    *tensors, axis = call.values
    return torch.cat(tensors, int(axis))


def _reshape(call: Call) -> Tensor:
    tensor, (first, *rest) = call[0], call[1].tolist()
    return tensor.reshape(tensor.shape[0] if first == 1 else first, *rest)


def _pad(call: Call) -> Tensor:
    fill = float(call[2]) if call.node.op == "PadV2" else 0.0
    return F.pad(call[0], call[1][::-1].ravel().tolist(), value=fill)  # torch: last axis first


def _convolve(call: Call) -> Tensor:
    _require_valid(call.node)
    convolved = F.conv2d(
        call[0].permute(TO_CHANNELS_FIRST),
        call[1].permute(3, 2, 0, 1),  # height, width, in, out
        stride=call.node.integers("strides")[1:3],
        dilation=call.node.integers("dilations")[1:3],
    )
    return convolved.permute(TO_CHANNELS_LAST)


def _max_pool(call: Call) -> Tensor:
    _require_valid(call.node)
    window, stride = call.node.integers("ksize")[1:3], call.node.integers("strides")[1:3]
    pooled = F.max_pool2d(call[0].permute(TO_CHANNELS_FIRST), window, stride)
    return pooled.permute(TO_CHANNELS_LAST)


def _resize(call: Call) -> Tensor:
    if call.node.flag("align_corners") or not call.node.flag("half_pixel_centers"):
        raise ValueError(
            f"TFJS graph: {call.node.name} resizes in another way than by pixel centres"
        )
    pixels, size = call[0].permute(TO_CHANNELS_FIRST), call[1].tolist()
    resized = F.interpolate(pixels, size, mode="bilinear", align_corners=False)
    return resized.permute(TO_CHANNELS_LAST)


def _require_valid(node: Node) -> None:
    if node.text("padding") != "VALID" or node.text("data_format") != "NHWC":
        raise ValueError(
            f"TFJS graph: got {node.name} with {node.text('padding')} padding and "
            f"{node.text('data_format')}, expected VALID and NHWC (padding is its own node)"
        )


# Done once, on constants, in numpy: the arithmetic of shapes that TensorFlow leaves in its graphs.
FOLDED: Operators = {
    "Add": lambda call: call[0] + call[1],
    "AddV2": lambda call: call[0] + call[1],
    "SparseToDense": _sparse_to_dense,
}

# Done for every picture, in torch; shapes, paddings and axes arrive as numpy arrays.
OPERATORS: Operators = {
    "Add": lambda call: call[0] + call[1],
    "AddV2": lambda call: call[0] + call[1],
    "ConcatV2": _concatenate,
    "Conv2D": _convolve,
    "Identity": lambda call: call[0],
    "LeakyRelu": lambda call: F.leaky_relu(call[0], call.node.attributes["alpha"]["f"]),
    "MaxPool": _max_pool,
    "Pad": _pad,
    "PadV2": _pad,
    "Reshape": _reshape,
    "ResizeBilinear": _resize,
    "Sigmoid": lambda call: call[0].sigmoid(),
    "SplitV": lambda call: torch.split(call[0], call[1].tolist(), int(call[2])),
    "Transpose": lambda call: call[0].permute(call[1].tolist()),
}
