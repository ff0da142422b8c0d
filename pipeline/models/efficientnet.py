"""EfficientNet-Lite0 as a feature extractor in ONNX, from the packaged torch weights.

One graph, two outputs: what the classifier would read, and what every stage before it makes, so
that whoever needs both pays for one forward pass. The second one costs a mean per stage.

ONNX Runtime is several times faster than torch on one thread (figures in LOG.md), and a cell then
needs no torch.
"""

from functools import partial
from itertools import accumulate
from pathlib import Path

from pipeline.models.cache import cached_model

INPUT = (3, 224, 224)  # RGB, (value - 127) / 128
VERSION = "efficientnet-lite0-stages-1"  # raised when the graph's meaning changes


def convert(weights: Path, folder: Path) -> Path:
    """Return the cached ONNX file, made from a state dict first where it is missing.

    Input `pixels` [B, 3, 224, 224]; outputs, averaged over the picture and not normalised:
    `features` [B, 1280], and `stages` [B, 816], the stem (32 channels) and the seven stages of
    blocks (16, 24, 40, 80, 112, 192, 320) side by side.

    Raises:
        FileNotFoundError: The package that defines the architecture is not installed.
    """
    return cached_model(folder, VERSION, build=partial(_build, weights))


def _build(weights: Path, path: Path) -> None:
    import torch

    from pipeline.models.export import export
    from pipeline.models.stages import WithStages

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
    repeats = [stage.num_repeat for stage in network._blocks_args]
    first = accumulate(repeats[:-1], initial=0)  # block of each stage: it reads the stage before
    readers = [*(network._blocks[block] for block in first), network._conv_head]
    export(WithStages(network, readers), path, shape=INPUT, outputs=["features", "stages"])
