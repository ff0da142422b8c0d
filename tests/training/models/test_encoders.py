"""Every family of the README's table is built and stepped, and takes what the table says."""

from pathlib import Path

import pytest
import torch

from filters.open_clip_models import ensure_torchvision
from training.config import Towers
from training.losses.grad_cache import require_no_batch_norm
from training.models.build import build_model
from training.models.encoder import PairEncoder
from training.models.encoders import ENCODERS, markdown
from training.models.lock import lock_image, train_mode
from training.parallel.layout import gains_by_last

README = Path(__file__).parents[3] / "README.md"
STEPPED = {"vgg11": "shrunk_vgg"}  # vgg11 has 129 million parameters


@pytest.fixture(scope="module", autouse=True)
def timm():
    """timm, which also knows a VGG with an eighth of the channels."""
    ensure_torchvision()
    import timm
    from timm.models.vgg import VGG

    def shrunk_vgg(**kwargs):
        for unused in ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
            kwargs.pop(unused, None)
        model = VGG([8, "M", 16, "M", 32, "M", 64, "M", 64, "M"], mlp_ratio=0.125, **kwargs)
        model.pretrained_cfg = model.default_cfg = {"input_size": (3, 224, 224)}
        return model

    shrunk_vgg.__module__ = "timm.models.vgg"
    timm.models.register_model(shrunk_vgg)
    return timm


def by_family(encoder):
    return encoder.family


def cannot_be_cut(model):
    """Whether a step of a model as it trains is refused micro-batches."""
    try:
        require_no_batch_norm(model, micro_batch=1)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("encoder", ENCODERS, ids=by_family)
def test_it_is_built_and_stepped(tiny_model, encoder):
    side = encoder.side
    towers = Towers(
        image=STEPPED.get(encoder.tested, encoder.tested), image_size=side,
        drop_path=0.1 * encoder.drop_path, checkpointing=encoder.checkpointing,
    )  # fmt: skip
    model, _ = build_model(tiny_model, towers=towers, seed=0)
    features = PairEncoder(model, precision="float32", frozen_text=False)
    train_mode(model)
    pixels_BHWC = torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8)
    said = features(pixels_BHWC, torch.randint(1, 49408, (2, 16)))
    assert said.image_BD.shape == (2, 64)
    (said.image_BD @ said.text_BD.T * said.scale).logsumexp(1).sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == []  # DDP waits for every gradient
    assert cannot_be_cut(model) == encoder.batch_norm
    assert gains_by_last(model.visual) == (encoder.channels_last != "loses")


@pytest.mark.parametrize("encoder", ENCODERS, ids=by_family)
def test_what_it_does_not_take_is_refused_by_name(tiny_model, encoder):
    name = STEPPED.get(encoder.tested, encoder.tested)
    refused = {
        "drop_path": (Towers(image=name, drop_path=0.1), not encoder.drop_path),
        "checkpointing": (Towers(image=name, checkpointing=True), not encoder.checkpointing),
        "patch_dropout": (Towers(image=name, patch_dropout=0.5), encoder.family == "ResNet"),
    }
    for option, (towers, expected) in refused.items():
        if expected:
            with pytest.raises(ValueError, match=rf"towers\.{option}: got .* expected"):
                build_model(tiny_model, towers=towers, seed=0)


@pytest.mark.parametrize("encoder", ENCODERS, ids=by_family)
def test_it_is_in_open_clip_where_the_table_says_so(timm, encoder):
    """open_clip 3.3 sizes the projection by `num_features`."""
    with torch.device("meta"):
        trunk = timm.create_model(encoder.tested, num_classes=0)
    assert (trunk.num_features == trunk.head_hidden_size) == encoder.in_open_clip


def test_the_readme_has_the_table():
    assert markdown() in README.read_text(encoding="utf-8")


def test_a_locked_batchnorm_does_not_count(tiny_model):
    model, _ = build_model(tiny_model, seed=0)
    train_mode(model)
    assert cannot_be_cut(model)
    lock_image(model)
    train_mode(model)
    assert not cannot_be_cut(model)
