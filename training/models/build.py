"""An open_clip model made ready to train: its image side in a step, its logit scale and bias."""

import json
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filters.open_clip_models import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    create_model,
    load_checkpoint_dir,
    preprocess_of,
)
from pipeline.folder import Folder
from pipeline.staging import fetched, is_file, split_url
from pipeline.weights import on_disk
from training.config import Precision
from training.losses.sigmoid import siglip_init
from training.losses.softmax import clip_init

ModelConfig = dict[str, Any]  # open_clip's own document: embed_dim, vision_cfg, text_cfg, ...


class ClipModel(nn.Module):
    """What this package uses of an open_clip model; only the type checker ever sees this class."""

    visual: nn.Module
    logit_scale: nn.Parameter
    logit_bias: nn.Parameter | None


def build_model(name: str, *, pretrained: str = "", seed: int) -> tuple[ClipModel, ModelConfig]:
    """Build a model whose fresh weights are a function of the seed alone.

    The global generator of torch is left as it was found.

    Args:
        name: See `Train.model`; also any fsspec URL.
        pretrained: See `Train.pretrained`; also any fsspec URL.
        seed: Of fresh weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, model_cfg = create_model(on_disk(name), pretrained=on_disk(pretrained))
        return cast("ClipModel", model), model_cfg


def model_identity(name: str) -> Any:
    """Return what identifies a model: a JSON counts by what it says, wherever it lies."""
    if not name.endswith(".json") or not is_file(name):
        return name
    folder, file = split_url(name)
    return json.loads(folder.read(file))


def load_model(checkpoint: Folder) -> tuple[ClipModel, ModelConfig]:
    """Load a checkpoint folder, in eval mode.

    Raises:
        ValueError: It is none.
    """
    if not checkpoint.exists(CONFIG_NAME) or not checkpoint.exists(WEIGHTS_NAME):
        raise ValueError(
            f"checkpoint: got {checkpoint.url}, expected a folder with {CONFIG_NAME} and "
            f"{WEIGHTS_NAME}; give the `checkpoint` folder that training wrote"
        )
    with fetched(checkpoint, CONFIG_NAME, WEIGHTS_NAME) as path:
        model, model_cfg = load_checkpoint_dir(path)
    return cast("ClipModel", model), model_cfg


def fit_to_loss(
    model: ClipModel, config: ModelConfig, *, loss: Literal["siglip", "clip"], batch_size: int
) -> ModelConfig:
    """Give the model the logit scale and bias that `loss` starts from; return its new config.

    The sigmoid loss needs a bias and the softmax loss has no use for one, whatever the model's
    document says; the returned document makes open_clip build the model as it now is.
    """
    config = dict(config)
    if loss == "siglip":
        scale, bias = siglip_init(batch_size)
        model.logit_bias = nn.Parameter(torch.tensor(bias))
        config["init_logit_bias"] = bias
    else:
        scale = clip_init()
        model.logit_bias = None
        config.pop("init_logit_bias", None)
    model.logit_scale = nn.Parameter(torch.tensor(scale))
    config["init_logit_scale"] = scale
    return config


def lock_text(model: ClipModel) -> None:
    """Freeze the text tower below its projection, and keep it in eval mode."""
    text_tower(model).lock(unlocked_layers=0, freeze_layer_norm=True)


def text_tower(model: ClipModel) -> Any:
    """Return the text tower of a model that keeps it apart from the image tower.

    Raises:
        ValueError: It is of open_clip's old kind, whose text tower lies loose in the model.
    """
    text = getattr(model, "text", None)
    if text is None:
        raise ValueError(
            "model: got an open_clip model without a text tower of its own, expected one; add "
            '"custom_text": true to the model JSON'
        )
    return text


def pick_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Return the device to train on.

    Raises:
        ValueError: A GPU is asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: got 'cuda', expected a GPU; there is none here, use 'auto'")
    gpu = wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if gpu else "cpu")


class ImageSide:
    """uint8 pictures to unit-norm embeddings: normalise, encode, project.

    Pixels stay in the order the loader wrote them, which is torch's channels_last; a tower that
    wants another is given it by `training.parallel.layout`.
    """

    def __init__(self, model: ClipModel, *, precision: Precision) -> None:
        device = model.logit_scale.device
        settings = preprocess_of(model)
        self.mean = torch.tensor(settings.mean, device=device)
        self.std = torch.tensor(settings.std, device=device)
        self.size = settings.image_size
        self.tower = model.visual
        self.half = precision == "bfloat16"

    def __call__(self, pixels_BHWC: Tensor) -> Tensor:
        """Return float32 unit-norm embeddings [B, D] of uint8 RGB pictures [B, H, W, 3]."""
        pixels_BHWC = pixels_BHWC.to(self.mean.device).float()  # uint8 on the wire
        pixels_BCHW = ((pixels_BHWC / 255 - self.mean) / self.std).permute(0, 3, 1, 2)
        with torch.autocast(self.mean.device.type, torch.bfloat16, enabled=self.half):
            features_BD = self.tower(pixels_BCHW)
        return F.normalize(features_BD.float(), dim=-1)
