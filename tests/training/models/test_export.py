"""A written model says the same in plain open_clip, where that can build it, and in ours."""

import json
from pathlib import Path

import pytest
import torch

from filters.open_clip_models import preprocess_of, save_checkpoint_dir, tokenizer
from pipeline.folder import Folder
from training.config import Towers
from training.models.build import build_model, load_model

TEXTS = ["a red bar", "two cats on a mat"]
OWN_VIT = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}


@pytest.fixture
def old_style(tmp_path, tiny_model) -> str:
    """A ViT without `custom_text`, as ViT-B-32 is."""
    document = json.loads(Path(tiny_model).read_text(encoding="utf-8"))
    del document["custom_text"]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(document | {"vision_cfg": OWN_VIT}))
    return str(path)


def said(model, config, side=32):
    pixels_BCHW = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    tokens_BL = tokenizer(config)(TEXTS)
    with torch.no_grad():
        return model.encode_image(pixels_BCHW), model.encode_text(tokens_BL)


def written(tmp_path, name, **towers):
    """Build, save and load; the loaded model must say the same."""
    model, config = build_model(name, towers=Towers(**towers), seed=3)
    folder = tmp_path / "checkpoint"
    save_checkpoint_dir(folder, model, config)
    loaded, loaded_config = load_model(Folder(str(folder)))
    assert loaded_config == config
    side = preprocess_of(model).image_size
    for ours, again in zip(said(model, config, side), said(loaded, config, side), strict=True):
        torch.testing.assert_close(again, ours, rtol=0, atol=0)
    return model, config, folder


@pytest.mark.parametrize(
    "towers",
    [
        {},
        {"patch_dropout": 0.5},
        {"image": "test_convnext", "drop_path": 0.1},
        {"image": "test_vit", "image_size": 160, "patch_dropout": 0.5},
        {"image": "convnextv2_atto", "image_size": 48, "lock_image": True},
    ],
    ids=str,
)
def test_plain_open_clip_says_the_same(tmp_path, old_style, towers):
    import open_clip

    model, config, folder = written(tmp_path, old_style, **towers)
    theirs = open_clip.create_model(f"local-dir:{folder}").eval()
    side = preprocess_of(model).image_size
    assert theirs.visual.preprocess_cfg["size"] in (side, (side, side), [side, side])
    for ours, same in zip(said(model, config, side), said(theirs, config, side), strict=True):
        torch.testing.assert_close(same, ours)


@pytest.mark.parametrize(
    "towers",
    [
        {"image": "inception_next_atto"},  # open_clip sizes its projection wrong
        {"image": "test_vit", "image_size": 64},  # open_clip leaves it at 160 pixels
        {"text": "bytes"},
    ],
    ids=str,
)
def test_what_open_clip_cannot_build_it_refuses_and_we_load(tmp_path, old_style, towers):
    import open_clip

    _, _, folder = written(tmp_path, old_style, **towers)
    with pytest.raises((RuntimeError, TypeError)):
        open_clip.create_model(f"local-dir:{folder}")


def test_an_old_state_dict_starts_a_model_with_a_text_tower_of_its_own(tmp_path, old_style):
    import open_clip

    config = json.loads(Path(old_style).read_text(encoding="utf-8"))
    torch.manual_seed(0)
    theirs = open_clip.model.CLIP(**config).eval()
    weights = str(tmp_path / "weights.pt")
    torch.save(theirs.state_dict(), weights)
    assert not hasattr(theirs, "text")
    model, config = build_model(old_style, pretrained=weights, seed=0)
    for ours, same in zip(said(model, config), said(theirs, config), strict=True):
        torch.testing.assert_close(ours, same)


def test_a_tower_that_stays_starts_from_the_pretrained_one(tmp_path, old_style):
    source, source_config, folder = written(tmp_path, old_style)
    weights = str(folder / "open_clip_model.safetensors")
    image_BD, text_BD = said(source, source_config)

    def start(**towers):
        return build_model(old_style, towers=Towers(**towers), pretrained=weights, seed=9)

    model, config = start(text="bytes")
    torch.testing.assert_close(said(model, config)[0], image_BD, rtol=0, atol=0)
    model, config = start(image="test_convnext")
    torch.testing.assert_close(said(model, config)[1], text_BD, rtol=0, atol=0)
    model, config = start(image_size=48)  # positions are interpolated
    assert model.visual.positional_embedding.shape[0] == 1 + 6 * 6
    assert preprocess_of(model).image_size == 48
    torch.testing.assert_close(said(model, config, 48)[1], text_BD, rtol=0, atol=0)
    local, local_config = build_model(f"local-dir:{folder}", seed=9)
    torch.testing.assert_close(said(local, local_config)[0], image_BD, rtol=0, atol=0)


def test_what_a_model_expects_of_pictures_comes_back(tmp_path, old_style):
    model, config = build_model(old_style, seed=0)
    model.visual.preprocess_cfg |= {"mean": (0.5, 0.5, 0.4), "std": (0.5, 0.6, 0.5)}
    save_checkpoint_dir(tmp_path / "checkpoint", model, config)
    loaded, _ = load_model(Folder(str(tmp_path / "checkpoint")))
    assert preprocess_of(loaded).mean == (0.5, 0.5, 0.4)
    assert preprocess_of(loaded).std == (0.5, 0.6, 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"towers": Towers(image="convnext_tinny")},
            r"towers\.image: got 'convnext_tinny'.*\['convnext_tiny',",
        ),
        ({"towers": Towers(text="no/such-model")}, r"towers\.text: got 'no/such-model', expected"),
        (
            {"towers": Towers(image="test_convnext", image_pretrained=True)},
            r"towers\.image_pretrained: got 'test_convnext'",
        ),
        ({"towers": Towers(image="crossvit_9_240", image_size=96)}, r"image_size: got 96 .* 240"),
        ({"pretrained": "no.pt"}, "pretrained: got 'no.pt', expected a weights file"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_there_is_named(old_style, change, message):
    with pytest.raises(ValueError, match=message):
        build_model(old_style, seed=0, **change)


def test_weights_of_another_model_are_refused(tmp_path, old_style, tiny_model):
    _, _, folder = written(tmp_path, old_style)
    with pytest.raises(ValueError, match=r"pretrained: .* expected weights of this model, but"):
        build_model(tiny_model, pretrained=str(folder / "open_clip_model.safetensors"), seed=0)
