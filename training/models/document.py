"""What a run's `towers` make of a model's document, before anything is built."""

import copy
from typing import Any

from filters.byte_tower import byte_text_config
from filters.timm_trunks import TRUNK
from training.config import Towers

ModelConfig = dict[str, Any]  # open_clip's own document: embed_dim, vision_cfg, text_cfg, ...

BYTES = "bytes"
DEFAULT_TEXT_WIDTH = 256  # of a byte tower in place of one that says no width of its own


def with_towers(config: ModelConfig, towers: Towers) -> ModelConfig:
    """Return the document of the model that `towers` asks for; the given one is left alone.

    Raises:
        ValueError: The model is no pair of encoders, or a tower does not take an option.
    """
    if "multimodal_cfg" in config:
        raise ValueError(
            "model: got a CoCa model, which also writes captions, expected two encoders; choose "
            "another model, such as ViT-B-32"
        )
    config = copy.deepcopy(config)
    config["vision_cfg"] = _vision(config["vision_cfg"], towers)
    if towers.text:
        config["text_cfg"] = _text(config["text_cfg"], towers.text)
    return config


def _vision(vision: dict[str, Any], towers: Towers) -> dict[str, Any]:
    if towers.image:
        size = vision.get("image_size", 224)
        vision = {"image_size": size, TRUNK: towers.image, "timm_model_pretrained": False}
        # "" leaves the trunk its own pooling: the mean, a token, or attention.
        vision |= {"timm_pool": "", "timm_proj": "linear"}
    if towers.image_size:
        vision["image_size"] = towers.image_size
    if towers.drop_path:
        _require_trunk(vision, "drop_path", towers.drop_path)
        vision["timm_drop_path"] = towers.drop_path
    if towers.patch_dropout:
        if isinstance(vision.get("layers"), list):
            raise ValueError(
                f"towers.patch_dropout: got {towers.patch_dropout} for open_clip's own ResNet, "
                "expected 0, as it has no patches; set it to 0 or choose a ViT"
            )
        vision["patch_dropout"] = towers.patch_dropout
    if towers.image_pretrained:
        _require_trunk(vision, "image_pretrained", towers.image_pretrained)
    return vision


def _require_trunk(vision: dict[str, Any], option: str, value: object) -> None:
    if TRUNK not in vision:
        raise ValueError(
            f"towers.{option}: got {value} for an image tower of open_clip's own, expected a timm "
            "trunk; name one in towers.image, or leave the option out"
        )


def _text(text: dict[str, Any], name: str) -> dict[str, Any]:
    if name == BYTES:
        return byte_text_config(width=text.get("width", DEFAULT_TEXT_WIDTH))
    return {
        "context_length": text.get("context_length", 77),
        "hf_model_name": name,
        "hf_tokenizer_name": name,
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "linear",
    }
