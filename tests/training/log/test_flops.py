"""FLOPs against the profiles that open_clip publishes, and against sums by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from filters.open_clip_models import ensure_torchvision
from training.config import Log, Train
from training.input.batch import Batch
from training.log.flops import StepFlops, ideal_time, train_flops
from training.log.peak import by_name, peak_flops
from training.models.build import build_model, text_tower
from training.models.lock import lock_text

# docs/model_profile.csv of open_clip: forward GFLOPs of the image tower; the text tower has 5.96.
PROFILES = {"ViT-B-32": 8.82, "ViT-B-16": 35.13, "convnext_tiny": 8.91, "convnext_base": 30.71}


def on_meta(name):
    ensure_torchvision()
    import open_clip

    with torch.device("meta"):
        return open_clip.create_model(
            name, load_weights=False, device="meta", force_custom_text=True
        )


@pytest.mark.parametrize(("name", "image_gf"), PROFILES.items())
def test_pictures_cost_three_times_the_published_forward_pass(name, image_gf):
    flops = train_flops(on_meta(name).visual, torch.zeros(2, 3, 224, 224))
    assert flops == pytest.approx(3e9 * image_gf, rel=0.001)


def test_captions_cost_what_their_length_asks_for():
    model = on_meta("ViT-B-32")
    flops = StepFlops(model)
    assert flops.picture == pytest.approx(3e9 * 8.82, rel=0.001)
    assert flops.caption(77) == pytest.approx(3e9 * 5.96, rel=0.001)
    assert flops.caption(24) == pytest.approx(_text_by_hand(24), rel=1e-6)
    assert flops.caption(77) == pytest.approx(_text_by_hand(77), rel=1e-6)
    text_tower(model).lock(0, True)
    assert StepFlops(model).caption(77) == pytest.approx(1e9 * 5.96, rel=0.001)


def _text_by_hand(length: int) -> float:
    """Twelve blocks of width 512: four products with the width squared, eight in the MLP."""
    block = 2 * length * 512**2 * 12 + 2 * 2 * length**2 * 512
    return 3 * (12 * block + 2 * 512 * 512)


def test_what_is_frozen_counts_once_and_only_where_it_is():
    tower = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 5))
    example = torch.zeros(2, 3, 8, 8)
    convolution, linear = 2 * 36 * 8 * 27, 2 * 8 * 36 * 5
    assert train_flops(tower, example) == 3 * (convolution + linear)
    tower[0].requires_grad_(False)
    assert train_flops(tower, example) == convolution + 3 * linear
    tower.requires_grad_(False)
    assert train_flops(tower, example) == convolution + linear


def test_depthwise_convolutions_count_as_such():
    tower = nn.Conv2d(64, 64, 7, padding=3, groups=64)
    assert train_flops(tower, torch.zeros(2, 64, 8, 8)) == 3 * 2 * 64 * 49 * 64


def test_counting_changes_nothing(tiny_model):
    model, _ = build_model(tiny_model, seed=0)
    model.train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    drawn = torch.random.get_rng_state()
    StepFlops(model)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert model.visual.training


def _batch(text_BL):
    pixels_BHWC = torch.zeros(6, 32, 32, 3, dtype=torch.uint8)
    return Batch(0, pixels_BHWC, text_BL, torch.ones(6), np.arange(6), 0)


def test_a_batch_costs_its_pictures_and_its_captions_at_their_length(tiny_model):
    model, _ = build_model(tiny_model, seed=0)
    flops = StepFlops(model)
    tokens_BL = torch.ones(12, 9, dtype=torch.int64)  # two captions a picture
    assert flops.caption(9) < flops.caption(16)
    assert flops(_batch(tokens_BL)) == 6 * flops.picture + 12 * flops.caption(9)
    assert flops(_batch(torch.empty(0))) == 6 * flops.picture
    lock_text(model)
    assert flops(_batch(torch.zeros(6, 32))) == 6 * flops.picture
    cfg = Train(model="m", log=Log(peak_tflops=0.5))
    ideal_s = ideal_time(cfg, model, device=torch.device("cpu"), has_text=False)
    assert ideal_s is not None
    assert ideal_s(_batch(torch.empty(0))) == pytest.approx(6 * flops.picture / 0.5e12)
    twice = StepFlops(model, has_text=False, teachers=(model.visual.requires_grad_(False),))
    assert twice.picture == pytest.approx(2 / 3 * flops.picture)


@pytest.mark.parametrize(
    ("name", "half", "full"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12, 67e12),
        ("NVIDIA H100 PCIe", 756e12, 51e12),
        ("NVIDIA H200", 989e12, 67e12),
        ("NVIDIA A100-SXM4-80GB", 312e12, 19.5e12),
        ("NVIDIA L40S", 362e12, 91.6e12),
        ("NVIDIA L4", 121e12, 30.3e12),
        ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", None, None),
        ("NVIDIA A1000", None, None),
    ],
)
def test_peaks_are_looked_up_and_never_guessed(name, half, full):
    assert by_name(name, "bfloat16", tf32=False) == half
    assert by_name(name, "float32", tf32=False) == full


def test_a_peak_that_is_told_is_taken():
    assert peak_flops(torch.device("cpu"), "float32") is None
    assert peak_flops(torch.device("cpu"), "float32", told=1.5) == 1.5e12
