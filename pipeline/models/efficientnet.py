"""EfficientNet-Lite0 as a feature extractor in ONNX, from the packaged torch weights.

ONNX Runtime is several times faster than torch on one thread (figures in LOG.md), and a cell then
needs no torch.
"""

from functools import partial
from pathlib import Path

from pipeline.models.cache import cached_model

INPUT = (3, 224, 224)  # RGB, (value - 127) / 128
VERSION = "efficientnet-lite0-features-1"  # raised when the graph's meaning changes


def convert(weights: Path, folder: Path) -> Path:
    """Return the cached ONNX file, made from a state dict first where it is missing.

    Input `pixels` [B, 3, 224, 224]; output `features` [B, 1280], pooled, not normalised.

    Raises:
        FileNotFoundError: The package that defines the architecture is not installed.
    """
    return cached_model(folder, VERSION, build=partial(_build, weights))


def _build(weights: Path, path: Path) -> None:
    import torch

    from pipeline.models.export import export

    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        raise FileNotFoundError(
            "efficientnet_lite_pytorch: got no such package, expected the architecture of "
            "EfficientNet-Lite0; install it with `pip install efficientnet-lite-pytorch`"
        ) from error
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.add_module("_fc", torch.nn.Identity())  # its input is the pooled features
    export(network, path, shape=INPUT, outputs=["features"])
