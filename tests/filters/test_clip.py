"""The CLIP score against open_clip itself, on tiny models with random weights; and its chunks."""

import importlib
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from filters.extract import Batch
from filters.extract.chunks import Chunked
from filters.extract.clip import ClipScore
from filters.extract.clip_embed import ClipEmbed
from filters.open_clip_models import (
    create_model,
    declared_side,
    ensure_torchvision,
    save_checkpoint_dir,
)
from pipeline.decode import decode_exact, decode_picture
from tests.toy import draw, encoded

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION = {
    "vit": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "convolutions": {"image_size": 32, "timm_model_name": "test_resnet", "timm_proj": "linear"},
}
CAPTIONS = ["a red circle", "a blue square", "a very long caption of a green triangle"]


@pytest.fixture(scope="module", params=sorted(VISION))
def checkpoint(request, tmp_path_factory):
    """Return a checkpoint folder of a tiny random model."""
    folder = tmp_path_factory.mktemp(request.param)
    config = {
        "embed_dim": 32,
        "vision_cfg": VISION[request.param],
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 1,
        },
    }
    (folder / "model.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model, config = create_model(str(folder / "model.json"))
    save_checkpoint_dir(folder / "checkpoint", model, config)
    return folder / "checkpoint"


def encoded_pictures():
    noise = np.random.default_rng(0).integers(0, 255, (50, 80, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        encoded(Image.fromarray(noise), "JPEG", quality=90),
        encoded(draw("square", "blue", size=(90, 61)), "JPEG", exif=exif.tobytes()),
        encoded(draw("triangle", "green", size=(40, 120)).convert("RGBA"), "PNG"),
    ]


def batch():
    data = encoded_pictures()
    pictures = [decode_picture(d) for d in data]
    return Batch(
        [p.rgb for p in pictures],
        [(p.width, p.height) for p in pictures],
        CAPTIONS,
        [decode_exact(d) for d in data],
    )


def by_hand(checkpoint):
    """Score with nothing but open_clip."""
    ensure_torchvision()
    open_clip = importlib.import_module("open_clip")
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{checkpoint}")
    tokenize = open_clip.SimpleTokenizer(context_length=16)
    pictures = [Image.open(io.BytesIO(d)).convert("RGB") for d in encoded_pictures()]
    with torch.inference_mode():
        image = model.eval().encode_image(
            torch.stack([transform(p) for p in pictures]), normalize=True
        )
        text = model.encode_text(tokenize(CAPTIONS), normalize=True)
        return (image * text).sum(-1).numpy()


def test_an_exact_score_is_open_clip_s_bit_for_bit(checkpoint):
    extractor = ClipScore(model=f"local-dir:{checkpoint}", preprocess="exact")
    assert extractor.exact
    found = extractor.load({}, threads=1)(batch())["alignment"]
    assert found.dtype == np.float32
    assert np.array_equal(found, by_hand(checkpoint))


def test_embeddings_are_those_of_the_score(checkpoint):
    embed = ClipEmbed(model=f"local-dir:{checkpoint}", preprocess="exact", dim=32)
    found = embed.load({}, threads=1)(batch())
    image, text = (found[column.name] for column in embed.columns)
    assert (image.dtype, image.shape) == (np.float16, (3, embed.columns[0].dim))
    cosine = (image.astype(np.float32) * text.astype(np.float32)).sum(axis=1)
    assert cosine == pytest.approx(by_hand(checkpoint), abs=1e-3)
    with pytest.raises(ValueError, match=r"clip_embed: got dim 512 for .*; set dim = 32"):
        ClipEmbed(model=f"local-dir:{checkpoint}").load({}, threads=1)


def test_a_fast_score_is_near_and_honours_orientation(checkpoint):
    score = ClipScore(model=f"local-dir:{checkpoint}").load({}, threads=1)
    found = score(batch())["alignment"]
    expected = by_hand(checkpoint)
    assert found[[0, 2]] == pytest.approx(expected[[0, 2]], abs=0.02)
    assert found[1] != expected[1]  # lies on its side in open_clip


def test_a_score_hardly_depends_on_how_many_pairs_go_at_once(checkpoint):
    together, alone = (
        ClipScore(model=f"local-dir:{checkpoint}", batch=n).load({}, threads=1)(batch())[
            "alignment"
        ]
        for n in (256, 1)
    )
    assert together == pytest.approx(alone, abs=1e-5)


def test_exact_without_originals_is_refused(checkpoint):
    score = ClipScore(model=f"local-dir:{checkpoint}", preprocess="exact").load({}, threads=1)
    decoded = batch()
    with pytest.raises(ValueError, match="got 0 originals for 3 pairs"):
        score(Batch(decoded.pictures, decoded.sizes, decoded.captions))


def test_a_geometry_of_its_own_needs_the_exact_transform(checkpoint, tmp_path):
    document = json.loads((checkpoint / "open_clip_config.json").read_text())
    document["preprocess_cfg"]["resize_mode"] = "longest"
    weights = "open_clip_model.safetensors"
    (tmp_path / weights).write_bytes((checkpoint / weights).read_bytes())
    (tmp_path / "open_clip_config.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"'longest'.*exact"):
        ClipScore(model=f"local-dir:{tmp_path}").load({}, threads=1)
    squashed = document | {"preprocess_cfg": document["preprocess_cfg"] | {"resize_mode": "squash"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(squashed))
    extractor = ClipScore(model=f"local-dir:{tmp_path}")
    found = extractor.load({}, threads=1)(batch())["alignment"]
    assert found[2] == pytest.approx(by_hand(tmp_path)[2], abs=0.02)


def test_the_side_is_that_of_the_model_s_config(checkpoint):
    assert ClipScore(model=f"local-dir:{checkpoint}").side == 32
    assert ClipScore(model=str(checkpoint.parent / "model.json")).side == 32
    assert ClipScore(model="ViT-L-14-336").side == 336
    assert declared_side("hf-hub:some/model") is None
    assert ClipScore(model="hf-hub:some/model").side == 224


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ValueError, match="got batch 0, expected at least 1"):
        ClipScore(model="RN50", batch=0)


def pairs(count):
    pictures = [np.full((2, 3, 3), i, np.uint8) for i in range(count)]
    return Batch(pictures, [(3, 2)] * count, [str(i) for i in range(count)], pictures)


def limited(most, error, seen):
    """Return a score that fits `most` pairs, and notes how many it was given."""

    def score(batch):
        seen.append(len(batch))
        if len(batch) > most:
            raise error("too many")
        brightness = [
            int(p[0, 0, 0]) + int(o[0, 0, 0])
            for p, o in zip(batch.pictures, batch.originals, strict=True)
        ]
        return {"x": np.array(brightness, np.int32), "caption": list(batch.captions)}

    return score


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_a_batch_that_does_not_fit_is_halved_once_and_for_all(error):
    seen = []
    score = Chunked(limited(5, error, seen), 64)
    found = score(pairs(23))
    assert found["x"].tolist() == [2 * i for i in range(23)]
    assert found["caption"] == [str(i) for i in range(23)]
    assert seen == [23, 11, 5, 5, 5, 5, 3]
    assert score.size == 5
    seen.clear()
    score(pairs(7))
    assert seen == [5, 2]


def test_a_pair_that_does_not_fit_alone_is_an_error_and_others_are_not_swallowed():
    with pytest.raises(MemoryError, match="too many"):
        Chunked(limited(0, MemoryError, []), 8)(pairs(3))
    with pytest.raises(RuntimeError, match="too many"):
        Chunked(limited(2, RuntimeError, []), 8)(pairs(3))
