"""An open_clip model made ready to train: its towers, its logit scale and bias."""

import hashlib
import json
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filters.open_clip_models import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    build,
    copy_towers,
    create_model,
    load_checkpoint_dir,
    model_config,
    preprocess_of,
)
from pipeline.folder import Folder
from pipeline.staging import fetched, is_file, split_url
from pipeline.weights import on_disk
from training.config import Precision, Towers
from training.losses.sigmoid import siglip_init
from training.losses.softmax import clip_init
from training.models.document import ModelConfig, with_towers
from training.models.lock import lock_towers

PLAIN = Towers()


class ClipModel(nn.Module):
    """What this package uses of an open_clip model; only the type checker ever sees this class."""

    visual: nn.Module
    text: nn.Module
    logit_scale: nn.Parameter
    logit_bias: nn.Parameter | None


def build_model(
    name: str, *, towers: Towers = PLAIN, pretrained: str = "", seed: int
) -> tuple[ClipModel, ModelConfig]:
    """Build a model whose fresh weights are a function of the seed alone, ready to train.

    Towers that `towers` replaces start fresh; the other one starts from `pretrained`, or from the
    weights that `name` brings along, so a pretrained tower may meet a new one. The global
    generator of torch is left as it was found.

    Args:
        name: See `Train.model`; also any fsspec URL.
        towers: What is changed in the model, and what of it is locked.
        pretrained: See `Train.pretrained`; also any fsspec URL.
        seed: Of fresh weights.

    Returns:
        The model in eval mode, and the document that open_clip builds it by, or our `load_model`.

    Raises:
        ValueError: No such model or weights, or a tower does not take an option.
    """
    name, pretrained = on_disk(name), on_disk(pretrained)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built, model_cfg = _build(name, towers, pretrained)
    model = cast("ClipModel", built)
    lock_towers(model, towers)
    if towers.checkpointing:
        recompute(model, towers)
    return model, model_cfg


def _build(name: str, towers: Towers, pretrained: str) -> tuple[nn.Module, ModelConfig]:
    config = model_config(name)
    wanted = with_towers(config, towers)
    if wanted == config and not towers.image_pretrained:
        return create_model(name, pretrained=pretrained)
    has_weights = bool(pretrained) or name.startswith(("hf-hub:", "local-dir:"))
    model = build(
        wanted,
        image_pretrained=towers.image_pretrained,
        text_pretrained=bool(towers.text) or not has_weights,
    )
    if has_weights and not (towers.image and towers.text):
        source, _ = create_model(name, pretrained=pretrained)
        copy_towers(model, source, image=not towers.image, text=not towers.text)
    return model, wanted


def recompute(model: ClipModel, towers: Towers) -> None:
    """Make towers that train recompute activations in the backward pass.

    Raises:
        ValueError: The image tower cannot.
    """
    visual: Any = model.visual
    if not (towers.lock_image and not towers.unlocked):
        trunk = getattr(visual, "trunk", visual)  # open_clip's adapter would go on without
        try:
            assert hasattr(visual, "trunk") or hasattr(visual, "transformer")
            trunk.set_grad_checkpointing(True)
        except (AssertionError, AttributeError) as error:
            raise ValueError(
                f"towers.checkpointing: got true for {type(trunk).__name__}, expected false, as "
                "its layers cannot be recomputed; set it to false or choose another towers.image"
            ) from error
    if not towers.frozen_text:
        text_tower(model).set_grad_checkpointing(True)


def model_identity(name: str) -> Any:
    """Return what identifies a model: a JSON counts by what it says, wherever it lies."""
    if not name.endswith(".json") or not is_file(name):
        return name
    folder, file = split_url(name)
    return json.loads(folder.read(file))


def weights_digest(network: nn.Module) -> str:
    """Return what a network's weights are known by, hex."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


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


def text_tower(model: ClipModel) -> Any:
    """Return the text tower."""
    return model.text


def half_precision(device: torch.device, *, wanted: bool) -> AbstractContextManager[object]:
    """Autocast to bfloat16, if wanted; the meta device knows no autocast."""
    return torch.autocast(device.type, torch.bfloat16) if wanted else nullcontext()


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
        with half_precision(self.mean.device, wanted=self.half):
            features_BD = self.tower(pixels_BCHW)
        return F.normalize(features_BD.float(), dim=-1)
