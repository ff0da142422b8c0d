"""Reading of TensorFlow.js graph models.

A graph model is `NAME.json` (nodes in no particular order, and a list of weights) beside binary
files with the weights end to end.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STORED = {"float32": "<f4", "int32": "<i4", "float16": "<f2"}


@dataclass(frozen=True, slots=True)
class Node:
    """One operation; an input is a node's name and which of its outputs."""

    name: str
    op: str
    inputs: tuple[tuple[str, int], ...]
    attributes: Mapping[str, Any]

    def integers(self, name: str) -> list[int]:
        """Return an attribute that is a list of integers."""
        return [int(value) for value in self.attributes[name]["list"]["i"]]

    def text(self, name: str) -> str:
        """Return an attribute that is a string."""
        return base64.b64decode(self.attributes[name]["s"]).decode()

    def flag(self, name: str) -> bool:
        """Return an attribute that is a truth value; absent is false."""
        return bool(self.attributes.get(name, {}).get("b", False))


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes so that inputs come first, the constants by name, and the names of the outputs."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]
    outputs: tuple[str, ...]


def read_graph(path: Path) -> Graph:
    """Read a graph model; its weights lie in the files it names, in the same folder.

    Raises:
        ValueError: The weight file is shorter or longer than the weights it should hold.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    by_name = {n["name"]: _node(n) for n in document["modelTopology"]["node"]}
    return Graph(
        nodes=_inputs_first(by_name),
        constants=_read_weights(document["weightsManifest"], path.parent),
        outputs=tuple(sorted(_split(name)[0] for name in document["signature"]["outputs"])),
    )


def _node(entry: Mapping[str, Any]) -> Node:
    inputs = tuple(_split(name) for name in entry.get("input", ()))
    return Node(entry["name"], entry["op"], inputs, entry.get("attr", {}))


def _split(reference: str) -> tuple[str, int]:
    name, _, output = reference.partition(":")
    return name, int(output or 0)


def _inputs_first(by_name: Mapping[str, Node]) -> tuple[Node, ...]:
    """Sort depth first, without recursion: a graph may be deeper than Python's stack."""
    order: dict[str, Node] = {}
    stack = list(by_name)[::-1]
    while stack:
        node = by_name[stack[-1]]
        waiting = [name for name, _ in node.inputs if name not in order]
        if waiting:
            stack.extend(waiting)
        else:
            order[stack.pop()] = node
    return tuple(order.values())


def _read_weights(manifest: list[dict[str, Any]], folder: Path) -> dict[str, NDArray[Any]]:
    """Cut each group's bytes into arrays: float32 (some stored as float16), and int64."""
    arrays: dict[str, NDArray[Any]] = {}
    for group in manifest:
        data = b"".join((folder / Path(name).name).read_bytes() for name in group["paths"])
        dtypes = [np.dtype(STORED[w.get("quantization", w)["dtype"]]) for w in group["weights"]]
        counts = [int(np.prod(w["shape"], dtype=np.int64)) for w in group["weights"]]
        expected = sum(d.itemsize * n for d, n in zip(dtypes, counts, strict=True))
        if len(data) != expected:
            raise ValueError(
                f"{', '.join(group['paths'])}: got {len(data)} bytes, expected {expected} for "
                f"{len(counts)} weights; the download is damaged, fetch it again"
            )
        offset = 0
        for weight, dtype, count in zip(group["weights"], dtypes, counts, strict=True):
            meant = np.float32 if weight["dtype"] == "float32" else np.int64
            flat = np.frombuffer(data, dtype, count, offset)
            arrays[weight["name"]] = flat.reshape(weight["shape"]).astype(meant)
            offset += dtype.itemsize * count
    return arrays
