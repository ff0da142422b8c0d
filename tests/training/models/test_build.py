"""Models are a function of name and seed, and become what their loss needs."""

import math

import numpy as np
import pytest
import torch

from filters.open_clip_models import create_model, preprocess_of
from training.config import Towers
from training.models.build import ImageSide, build_model, fit_to_loss
from training.models.encoder import PairEncoder


def test_weights_follow_from_the_seed_and_the_generator_is_left_alone(tiny_model):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = build_model(tiny_model, seed=5)[0].state_dict()
    assert torch.equal(torch.rand(3), expected)
    torch.rand(7)
    again = build_model(tiny_model, seed=5)[0].state_dict()
    other = build_model(tiny_model, seed=6)[0].state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first if k.startswith("visual."))


def test_the_tiny_image_tower_is_tiny(tiny_model):
    model, _ = build_model(tiny_model, seed=0)
    assert sum(p.numel() for p in model.visual.parameters()) < 1_000_000


def test_the_student_is_clearly_smaller_than_the_teacher(tiny_model):
    def size(name):
        path = tiny_model.replace("tiny.json", name)
        return sum(p.numel() for p in build_model(path, seed=0)[0].visual.parameters())

    assert size("cpu-student.json") < size("cpu-teacher.json") / 5


@pytest.mark.parametrize("loss", ["siglip", "clip"])
def test_a_model_gets_the_scale_and_bias_of_its_loss(tiny_model, loss):
    model, model_cfg = build_model(tiny_model, seed=0)
    model_cfg = fit_to_loss(model, {**model_cfg, "init_logit_bias": -10}, loss=loss, batch_size=101)
    if loss == "siglip":
        assert model.logit_scale.exp().item() == pytest.approx(10)
        assert model.logit_bias.item() == pytest.approx(-math.log(100))
        assert model_cfg["init_logit_bias"] == pytest.approx(-math.log(100))
    else:
        assert model.logit_scale.exp().item() == pytest.approx(1 / 0.07)
        assert model.logit_bias is None
        assert "init_logit_bias" not in model_cfg


def test_pictures_are_normalised_as_open_clip_does(tiny_model):
    from torchvision.transforms.functional import normalize, to_tensor

    model, _ = create_model(tiny_model)
    settings = preprocess_of(model)
    picture_BHWC = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    with torch.no_grad():
        ours_BD = ImageSide(model, precision="float32")(torch.from_numpy(picture_BHWC))
        inputs = [normalize(to_tensor(p), settings.mean, settings.std) for p in picture_BHWC]
        theirs_BD = model.encode_image(torch.stack(inputs), normalize=True)
    torch.testing.assert_close(ours_BD, theirs_BD, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "towers", "millions"),
    [
        ("ViT-B-32", Towers(), 151.3),  # open_clip's own figure, docs/model_profile.csv
        ("RN50", Towers(), 102.0),
        ("ViT-B-16-SigLIP", Towers(image_size=256), 203.2),
        ("ViT-B-32", Towers(image="convnext_tiny", text="bytes", checkpointing=True), None),
    ],
    ids=str,
)
def test_a_named_model_is_built_without_memory(name, towers, millions):
    """On the meta device: shapes without values, for a plan."""
    with torch.device("meta"):
        model, model_cfg = build_model(name, towers=towers, seed=0)
        model_cfg = fit_to_loss(model, model_cfg, loss="clip", batch_size=64)
        encoder = PairEncoder(model, precision="float32", frozen_text=False)
        side = encoder.image.size
        pixels_BHWC = torch.empty(2, side, side, 3, dtype=torch.uint8)
        length = model_cfg["text_cfg"].get("context_length", 77)
        features = encoder(pixels_BHWC, torch.empty(2, length, dtype=torch.int64))
    assert features.image_BD.shape == features.text_BD.shape == (2, model_cfg["embed_dim"])
    if millions:
        count = sum(p.numel() for p in model.parameters()) / 1e6
        assert count == pytest.approx(millions, abs=0.1)
