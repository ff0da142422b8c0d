"""timm's image towers by name, sized right where open_clip's adapter does not."""

import difflib
from typing import Any

from torch import nn

TRUNK = "timm_model_name"  # key of a model document's vision_cfg


def check_trunk(name: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        ValueError: With near names.
    """
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise ValueError(
            f"towers.image: got {name!r}, expected a model of timm; do you mean one of "
            f"{near or 'timm.list_models()'}?"
        )


def fit_trunk(visual: Any, vision: dict[str, Any]) -> None:
    """Make open_clip's adapter of a timm trunk work for its picture size and its width.

    open_clip 3.3 leaves the trunk at timm's own picture size, and sizes the projection by the
    width of the last feature map, where many trunks (InceptionNeXt, FBNetV3, VGG, MobileNetV3 and
    4, MambaOut) go on to another width before they are pooled.

    Args:
        visual: The adapter; parameters keep their names.
        vision: vision_cfg of the model document.

    Raises:
        ValueError: The trunk has one size and cannot take another.
    """
    _fit_size(visual, vision)
    width = getattr(visual.trunk, "head_hidden_size", None) or visual.trunk.num_features
    if vision.get("timm_pool", "avg") in ("abs_attn", "rot_attn"):
        return  # these pool the last feature map, whose width open_clip takes
    proj, mlp = (getattr(visual.head, part, None) for part in ("proj", "mlp"))
    if proj is not None:
        visual.head.proj = _resized(proj, width)
    elif mlp is not None:
        mlp.fc1 = _resized(mlp.fc1, width)


def refused_option(error: TypeError, vision: dict[str, Any]) -> ValueError | None:
    """Return our line for a builder's complaint of an option of ours; None if it is another."""
    for theirs, ours in (("drop_path_rate", "drop_path"), ("patch_drop_rate", "patch_dropout")):
        if theirs in str(error):
            return ValueError(
                f"towers.{ours}: got a rate for {vision.get(TRUNK)}, expected 0, as timm's builder "
                "of it takes none; set it to 0 or choose another towers.image"
            )
    return None


def own_normalisation(trunk: Any) -> dict[str, Any]:
    """Return the channel means and deviations that timm's weights of a trunk were trained with."""
    return {part: tuple(trunk.pretrained_cfg[part]) for part in ("mean", "std")}


def _fit_size(visual: Any, vision: dict[str, Any]) -> None:
    size = visual.image_size
    native = visual.trunk.pretrained_cfg
    if not native.get("fixed_input_size") or tuple(size) == tuple(native["input_size"][1:]):
        return
    if hasattr(visual.trunk, "set_input_size"):
        visual.set_input_size(size)
        return
    raise ValueError(
        f"towers.image_size: got {size[0]} for {vision[TRUNK]}, expected "
        f"{native['input_size'][-1]}, the one size it is made for; give that, or another trunk"
    )


def _resized(linear: nn.Linear, width: int) -> nn.Linear:
    if linear.in_features == width:
        return linear
    return nn.Linear(width, linear.out_features, bias=linear.bias is not None)
