"""What `towers` asks for stands in the document, and what cannot be is refused before building."""

import copy

import pytest

from filters.open_clip_models import model_config
from training.config import Towers
from training.models.document import with_towers


def test_a_trunk_takes_the_place_of_the_image_tower():
    config = model_config("ViT-B-32")
    before = copy.deepcopy(config)
    towers = Towers(image="convnext_tiny", image_size=160, drop_path=0.2)
    assert with_towers(config, towers)["vision_cfg"] == {
        "image_size": 160, "timm_model_name": "convnext_tiny", "timm_model_pretrained": False,
        "timm_pool": "", "timm_proj": "linear", "timm_drop_path": 0.2,
    }  # fmt: skip
    assert config == before
    assert with_towers(config, Towers()) == {**before, "custom_text": True}


def test_another_text_tower_takes_the_place_of_the_models():
    config = model_config("ViT-B-32")
    text = with_towers(config, Towers(text="roberta-base"))["text_cfg"]
    assert text["hf_model_name"] == text["hf_tokenizer_name"] == "roberta-base"
    assert text["context_length"] == 77
    text = with_towers(config, Towers(text="bytes"))["text_cfg"]
    assert text == {
        "context_length": 256,
        "bytes": {"width": 512, "layers": 2, "halvings": 5},
    }


@pytest.mark.parametrize(
    ("name", "towers", "message"),
    [
        ("ViT-B-32", Towers(drop_path=0.1), r"towers\.drop_path: got 0\.1 for an image tower of"),
        ("RN50", Towers(patch_dropout=0.5), r"towers\.patch_dropout: got 0\.5 .* no patches"),
        ("RN50", Towers(image_pretrained=True), r"image_pretrained: got True .* a timm trunk"),
        ("coca_ViT-B-32", Towers(), "model: got a CoCa model"),
    ],
)
def test_what_cannot_be_is_refused(name, towers, message):
    with pytest.raises(ValueError, match=message):
        with_towers(model_config(name), towers)
