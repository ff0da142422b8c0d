"""How much arithmetic a step is: model FLOPs, as model FLOP utilisation (MFU) wants them.

A forward pass is counted, never timed: on the meta device, without memory or arithmetic. What
trains counts three times its forward pass, what is frozen once; what is computed again to save
memory (gradient checkpointing, GradCache) is no part of the model and does not count. The backward
pass is not counted by torch, which takes a depthwise convolution's for a dense one's: a ConvNeXt-B
would seem to do 2.6 times what it does.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from filters.open_clip_models import preprocess_of
from training.config import Distill, Train
from training.input.batch import Batch
from training.log.peak import peak_flops
from training.models.build import ClipModel, text_tower
from training.models.text import cut_mask

logger = logging.getLogger(__name__)

PAIRS = 2  # in the pass that is counted: BatchNorm refuses to train on one
ENOUGH = 32  # tokens of the longest caption that is counted; short ones are soon done
TRAIN = 3  # forward, gradient of what came in, gradient of the weights


def ideal_time(
    cfg: Train | Distill, model: ClipModel, *, device: torch.device, **more: Any
) -> Callable[[Batch], float] | None:
    """Return the seconds that a step on a batch would take at a device's peak.

    Args:
        cfg: The run: `log.peak_tflops` and `precision` say what the peak is.
        model: See `StepFlops`, as `more`.
        device: Where a rank computes.
        more: `has_text` and `teachers`.

    Returns:
        None where the peak is not known, or the model's arithmetic cannot be counted.
    """
    peak = peak_flops(device, cfg.precision, told=cfg.log.peak_tflops)
    if peak is None:
        return None
    try:
        flops = StepFlops(model, **more)
    except RuntimeError as error:
        logger.warning("MFU is left out: the model's operations cannot be counted (%s)", error)
        return None
    return lambda batch: flops(batch) / peak


class StepFlops:
    """Model FLOPs of steps; all is counted at once, before the model is wrapped or sharded.

    Captions count at the length that they have in the batch. A transformer's FLOPs are a quadratic
    function of the length, so three lengths tell all of them. What a locked trunk has said of
    captions, once for all steps, counts nothing; nor does its projection, a ten-thousandth part.

    Args:
        model: What trains; parameters without a gradient count as frozen.
        has_text: Whether steps take captions.
        teachers: Image towers that see the same pictures and are frozen.
    """

    def __init__(
        self, model: ClipModel, *, has_text: bool = True, teachers: Sequence[nn.Module] = ()
    ) -> None:
        side = preprocess_of(model).image_size
        picture = torch.zeros(PAIRS, 3, side, side)
        self.picture = sum(train_flops(tower, picture) for tower in (model.visual, *teachers))
        longest = int(getattr(model, "context_length", ENOUGH))
        self._caption = _by_length(text_tower(model), longest) if has_text else None

    def caption(self, length: int) -> float:
        """Return the FLOPs of a caption of this many tokens."""
        return 0.0 if self._caption is None else float(self._caption(length))

    def __call__(self, batch: Batch) -> float:
        """Return the FLOPs of a step on these pairs."""
        pictures = len(batch) * self.picture
        if batch.text_BL.ndim == 1 or batch.text_BL.is_floating_point():
            return pictures
        captions, length = batch.text_BL.shape
        return pictures + captions * self.caption(length)


def _by_length(tower: nn.Module, longest: int) -> np.polynomial.Polynomial:
    """Return the FLOPs of a caption by its length; those of the longest where it takes no other."""
    base = min(longest, ENOUGH)
    lengths = (base, base // 2, base // 4)
    try:
        counted = [_text_flops(tower, length) for length in lengths]
    except (RuntimeError, AssertionError):
        return np.polynomial.Polynomial([_text_flops(tower, longest)])
    return np.polynomial.Polynomial.fit(lengths, counted, deg=2)


def _text_flops(tower: Any, length: int) -> float:
    example = torch.ones(PAIRS, length, dtype=torch.int64)
    return train_flops(tower, example, cut_mask(tower, length))


def train_flops(
    tower: nn.Module, example: Tensor, buffers: Mapping[str, Tensor] = MappingProxyType({})
) -> float:
    """Return the FLOPs that training on one row of `example` takes.

    Args:
        tower: Counted as it is, in train or eval mode, wherever it lies.
        example: Rows that the tower can take; what they hold does not matter.
        buffers: Stand in for some of the tower's own.
    """
    counted = _forward(tower, example, buffers)
    of = {name.partition(".")[2]: sum(ops.values()) for name, ops in counted.items()}
    return (of.get("", 0) + (TRAIN - 1) * _trained(tower, "", of)) / len(example)


def _trained(module: nn.Module, name: str, of: dict[str, int]) -> int:
    """Return the forward FLOPs of what has weights that train; attention belongs to its weights."""
    if name not in of or not any(p.requires_grad for p in module.parameters()):
        return 0
    parts = [(f"{name}.{child}".lstrip("."), part) for child, part in module.named_children()]
    own = of[name] - sum(of.get(child, 0) for child, _ in parts)
    return own + sum(_trained(part, child, of) for child, part in parts)


def _forward(
    tower: nn.Module, example: Tensor, buffers: Mapping[str, Tensor]
) -> dict[str, dict[Any, int]]:
    """Count a forward pass, by module; really do one where a tower looks at values."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator that nobody counts
    try:
        return _count(tower, example, buffers, torch.device("meta"))
    except RuntimeError:  # a mask that depends on tokens, as in Hugging Face's towers
        return _count(tower, example, buffers, next(tower.parameters()).device)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@torch.no_grad()
def _count(
    tower: nn.Module, example: Tensor, buffers: Mapping[str, Tensor], device: torch.device
) -> dict[str, dict[Any, int]]:
    """Count on copies of the buffers and with the generators put back: nothing is changed."""
    state = {name: weight.detach().to(device) for name, weight in tower.named_parameters()}
    held = {**dict(tower.named_buffers()), **buffers}
    state |= {name: buffer.detach().clone().to(device) for name, buffer in held.items()}
    drawn_from = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(drawn_from), FlopCounterMode(display=False) as counter:
        functional_call(tower, state, (example.to(device),))
    root = type(tower).__name__
    flops = counter.get_flop_counts()
    return {name: ops for name, ops in flops.items() if name.partition(".")[0] == root}
