"""The one module that imports open_clip: models by name, by JSON, or from a checkpoint folder.

Every model has a text tower of its own (open_clip's `custom_text`), and a document, open_clip's
config, that says what was built. Two things go beyond open_clip: timm trunks whose projection or
picture size its adapter gets wrong, and the byte tower. It also repairs torchvision where a CUDA
build of it meets a CPU build of torch, and points hub names of towers that an installed package
ships at the package: they load without a network.
"""

import difflib
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from filters import model_documents
from filters.byte_tower import MARK, ByteTokenizer

CONFIG_NAME = "open_clip_config.json"  # the names open_clip reads from a "local-dir:" folder
WEIGHTS_NAME = "open_clip_model.safetensors"


@dataclass(frozen=True, slots=True)
class Preprocess:
    """What a model wants of a picture: side in pixels, channel means and deviations in [0, 1].

    Attributes:
        image_size: Pixels of a side of the square.
        mean: Of each channel.
        std: Of each channel.
        interpolation: `bicubic` or `bilinear`.
        resize_mode: `shortest` (then the middle square), `squash` or `longest` (then padding).
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    resize_mode: str = "shortest"


def ensure_torchvision() -> None:
    """Import torchvision; if its compiled operators do not load, declare the two it trips over.

    A torchvision wheel built for CUDA stops at import on a CPU-only torch, because
    `torchvision::nms` and `torchvision::qnms` do not exist. Declaring their schemas lets transforms
    and everything the project uses work. The import is tried first: declaring them in front of a
    torchvision that does load aborts the process.
    """
    if "torchvision" in sys.modules:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}",
                "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            )
        importlib.import_module("torchvision")


def create_model(name: str, *, pretrained: str = "") -> tuple[nn.Module, dict[str, Any]]:
    """Build an open_clip model in float32, in eval mode.

    Args:
        name: An open_clip model name, `hf-hub:...`, `local-dir:...`, or a path to a model JSON.
        pretrained: An open_clip tag, a weights file, or `""` for fresh weights (a Hugging Face text
            tower always starts from its own).

    Returns:
        The model and its open_clip config.

    Raises:
        ValueError: No such model, no such weights; the message has near names.
    """
    config = model_config(name)
    if name.endswith(".json"):
        return build(config, weights=pretrained), config
    folder = Path(name.removeprefix("local-dir:"))
    if name.startswith("local-dir:") and (folder / WEIGHTS_NAME).is_file():
        return load_checkpoint_dir(folder)
    if not pretrained and ":" not in name:
        return build(config), config
    require_weights(name, pretrained)
    try:
        model = _open_clip().create_model(
            name, pretrained=pretrained or None, force_custom_text=True
        )
    except RuntimeError as error:
        raise ValueError(
            f"model: got {name!r} with pretrained {pretrained!r}, expected weights that can be "
            f"loaded; give a tag of open_clip, reachable, or a local file ({error})"
        ) from error
    return model.eval(), config


def require_weights(name: str, pretrained: str) -> None:
    """Refuse a tag of weights that open_clip does not have for its model `name`.

    Files, and models from elsewhere than open_clip, are left to whoever loads them.

    Raises:
        ValueError: The message has near tags.
    """
    if not pretrained or name.endswith(".json") or ":" in name + pretrained:
        return
    tags = _open_clip().list_pretrained_tags_by_model(name)
    if pretrained.lower().replace("-", "_") in tags or Path(pretrained).is_file():
        return
    near = difflib.get_close_matches(pretrained, tags, n=3) or tags[:3]
    raise ValueError(
        f"pretrained: got {pretrained!r}, expected a tag that open_clip has for {name!r}, or a "
        f"weights file; do you mean one of {near or 'no tag at all: it has none'}?"
    )


def model_config(name: str) -> dict[str, Any]:
    """Return the document of a model, read only.

    Raises:
        ValueError: No such model; the message has near names.
    """
    open_clip = _open_clip()
    if name.endswith(".json"):
        if not Path(name).is_file():
            raise ValueError(f"model: got {name!r}, which is no file; expected a model JSON")
        config = json.loads(Path(name).read_text(encoding="utf-8"))
    else:
        try:
            config = open_clip.get_model_config(name)
        except FileNotFoundError as error:
            raise ValueError(
                f"model: got {name!r}, expected a folder with {CONFIG_NAME}; correct the path"
            ) from error
    if config is None:
        near = difflib.get_close_matches(name, open_clip.list_models(), n=3)
        raise ValueError(
            f"model: got {name!r}, expected an open_clip model name or a .json file; "
            f"do you mean one of {near or 'open_clip.list_models()'}?"
        )
    return {**config, "custom_text": True}


def tokenizer(config: dict[str, Any]) -> Callable[[list[str]], Tensor]:
    """Return the tokenizer of a model config: list of B texts -> int64 [B, context].

    The byte tower's gives uint8.
    """
    text = config["text_cfg"]
    length, options = text.get("context_length", 77), text.get("tokenizer_kwargs", {})
    if MARK in text:
        return ByteTokenizer(length)
    tokenizers = _open_clip().tokenizer
    hub_name = text.get("hf_tokenizer_name")
    if not hub_name:
        return tokenizers.SimpleTokenizer(context_length=length, **options)
    mode = text.get("tokenizer_mode")
    return tokenizers.HFTokenizer(
        model_documents.packaged(hub_name), context_length=length, tokenizer_mode=mode, **options
    )


def preprocess_of(model: nn.Module) -> Preprocess:
    """Return what `model` expects of its pictures."""
    visual: Any = model.visual
    settings = visual.preprocess_cfg
    size = settings["size"]
    return Preprocess(
        image_size=size if isinstance(size, int) else size[0],
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        interpolation=settings.get("interpolation", "bicubic"),
        resize_mode=settings.get("resize_mode", "shortest"),
    )


def eval_transform(model: nn.Module) -> Callable[[Any], Tensor]:
    """Return open_clip's own evaluation transform: a Pillow picture -> float32 [3, side, side]."""
    transform = _open_clip().transform
    visual: Any = model.visual
    settings = transform.PreprocessCfg(**visual.preprocess_cfg)
    return transform.image_transform_v2(settings, is_train=False)


def declared_side(name: str) -> int | None:
    """Return the pixels of a picture's side by a model's config, without building the model.

    None where the config lies on a hub, or there is none of this name.
    """
    if name.startswith("local-dir:"):
        path = Path(name.removeprefix("local-dir:")) / CONFIG_NAME
    elif name.endswith(".json"):
        path = Path(name)
    else:
        spec = importlib.util.find_spec("open_clip")
        package = Path(spec.origin).parent if spec and spec.origin else Path()
        path = package / "model_configs" / f"{name.replace('/', '-')}.json"
    if not path.is_file():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    config = document.get("model_cfg", document)
    size = config.get("vision_cfg", {}).get("image_size")
    return size[0] if isinstance(size, list) else size


def save_checkpoint_dir(
    path: Path,
    model: nn.Module,
    config: dict[str, Any],
    *,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a model as a folder that open_clip itself loads with `local-dir:PATH`.

    Args:
        path: The folder.
        model: Says how its pictures are prepared.
        config: Its document.
        weights: By name; by default those of `model`.
    """
    path.mkdir(parents=True, exist_ok=True)
    settings = preprocess_of(model)
    preprocess = {
        "mean": settings.mean,
        "std": settings.std,
        "interpolation": settings.interpolation,
        "resize_mode": "shortest",
        "size": [settings.image_size, settings.image_size],
        "mode": "RGB",
    }
    document = {"model_cfg": config, "preprocess_cfg": preprocess}
    (path / CONFIG_NAME).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    tensors = model.state_dict() if weights is None else weights
    state = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(state, path / WEIGHTS_NAME)


def load_checkpoint_dir(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Load what `save_checkpoint_dir` wrote; eval mode."""
    document = json.loads((path / CONFIG_NAME).read_text(encoding="utf-8"))
    config, preprocess = document["model_cfg"], document.get("preprocess_cfg", {})
    return build(config, weights=str(path / WEIGHTS_NAME), preprocess=preprocess), config


def build(config: dict[str, Any], **options: Any) -> nn.Module:
    """Build the model of a document; see `model_documents.build`."""
    return model_documents.build(_open_clip(), config, **options)


def copy_towers(model: nn.Module, source: nn.Module, *, image: bool, text: bool) -> None:
    """Copy whole towers of one model into another; see `model_documents.copy_towers`."""
    model_documents.copy_towers(_open_clip(), model, source, image=image, text=text)


def _open_clip() -> Any:
    ensure_torchvision()
    return importlib.import_module("open_clip")
