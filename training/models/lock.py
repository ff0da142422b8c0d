"""Towers that are locked, wholly or but for their last groups (LiT, arXiv:2111.07991).

open_clip's own towers count their projection as the last group; of a timm trunk, a Hugging Face
model or a byte tower the projection always trains.
"""

import contextlib
import io
from typing import Any

from torch import nn

from training.config import Towers


def lock_towers(model: Any, towers: Towers) -> None:
    """Lock what `towers` says.

    Raises:
        ValueError: The image tower cannot be locked in part, or nothing of a tower would be locked,
            or nothing would be left to train.
    """
    if towers.lock_image:
        lock_image(model, unlocked=towers.unlocked)
        _require_frozen(model.visual, "image", towers.unlocked)
    if towers.lock_text:
        lock_text(model, unlocked=towers.unlocked)
        _require_frozen(model.text, "text", towers.unlocked)
    if not any(p.requires_grad and p.ndim for p in model.parameters()):
        raise ValueError(
            "towers.lock_image, lock_text: got two towers locked with their projections, expected "
            "more to train than the logit scale; unlock one, or set unlocked = 1"
        )


def lock_image(model: Any, *, unlocked: int = 0) -> None:
    """Freeze the image tower but for its last `unlocked` groups of layers.

    Raises:
        ValueError: It has no groups of layers.
    """
    visual = model.visual
    if hasattr(visual, "trunk"):
        _lock_trunk(visual.trunk, unlocked)
    elif unlocked and not hasattr(visual, "transformer"):
        raise ValueError(
            f"towers.unlocked: got {unlocked} for open_clip's own ResNet, expected 0, as it can "
            "only be locked whole; set it to 0 or choose a timm trunk in towers.image"
        )
    else:
        visual.lock(unlocked_groups=unlocked)


def lock_text(model: Any, *, unlocked: int = 0) -> None:
    """Freeze the text tower but for its last `unlocked` groups of layers."""
    with contextlib.redirect_stdout(io.StringIO()):  # open_clip prints the number of layers
        model.text.lock(unlocked_layers=unlocked, freeze_layer_norm=True)


def _require_frozen(tower: nn.Module, name: str, unlocked: int) -> None:
    if all(p.requires_grad for p in tower.parameters()):
        raise ValueError(
            f"towers.unlocked: got {unlocked}, expected fewer than the groups of layers of the "
            f"{name} tower, of which nothing would be locked; lower it, or set lock_{name} to false"
        )


def train_mode(model: nn.Module) -> None:
    """Put what trains into train mode, and what is frozen into eval mode.

    So BatchNorm of a locked tower keeps its statistics, and nothing frozen is dropped. open_clip
    replaces such layers instead, after which its loader does not take the checkpoint.
    """
    model.train()
    for tower in model.children():
        _rest(tower)


def _rest(module: nn.Module) -> None:
    """Put the largest frozen parts of a module into eval mode."""
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        module.eval()
        return
    for child in module.children():
        _rest(child)


def _lock_trunk(trunk: Any, unlocked: int) -> None:
    """Freeze a timm trunk's groups, which it counts from the stem on."""
    if not unlocked:
        trunk.requires_grad_(False)
        return
    from timm.models import group_parameters

    groups: Any = group_parameters(trunk, trunk.group_matcher())
    for number in sorted(groups)[: max(0, len(groups) - unlocked)]:
        for name in groups[number]:
            trunk.get_parameter(name).requires_grad_(False)
