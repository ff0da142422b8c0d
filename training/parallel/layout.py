"""The memory format of a tower's convolutions: channels first or last, by its family.

Pictures arrive channels last, as the loader wrote them. Whether convolutions should keep that
order is a matter of measurement, because it depends on what lies between them.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

# Classes of timm's trunks that stay channels first: NFNets make their scaled kernels anew in every
# pass, channels first. Speed of a training step, channels last over first, float32 on one CPU
# thread, best of five: NFNet-F0 0.75; ConvNeXt, RDNet, ViT, InceptionNeXt 1.0; ResNet-18 1.1,
# DenseNet-121 1.2, EfficientNet-B0 1.3. timm's own benchmark on a GPU (amp, RTX 3090) agrees:
# NFNet-F0 0.42, ConvNeXt 1.0, ResNet-50 1.47. So all others go channels last.
KEEPS_FIRST = ("NormFreeNet",)


def lay_out(
    tower: nn.Module, wanted: Literal["auto", "on", "off"], *, convert_weights: bool = True
) -> bool:
    """Give a picture tower its memory format; return whether that is channels last.

    Args:
        tower: Changed in place; its output changes by rounding only.
        wanted: `auto` goes by the family.
        convert_weights: Kernels too, which saves a copy in each pass; FSDP needs them contiguous.
    """
    last = wanted == "on" or (wanted == "auto" and gains_by_last(tower))
    if not last:
        tower.register_forward_pre_hook(_channels_first)
    elif convert_weights:
        convert_conv2d_weight_memory_format(tower, torch.channels_last)
    return last


def gains_by_last(tower: nn.Module) -> bool:
    """Tell whether a picture tower is at least not slower channels last."""
    return type(getattr(tower, "trunk", tower)).__name__ not in KEEPS_FIRST


def _channels_first(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    del module
    return tuple(x.contiguous() if isinstance(x, Tensor) else x for x in inputs)
