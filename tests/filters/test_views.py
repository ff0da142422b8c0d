"""Changed pictures: the towers on views against the towers on pictures that we changed by hand."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from filters.extract import Batch
from filters.extract.clip import ClipScore
from filters.extract.clip_views import ClipViews
from filters.extract.embed import Embeddings, ImageTower, unit_norm
from filters.extract.text.finder import TextSearch
from filters.extract.text.masking import masked
from filters.extract.views import Masked, Views, cropped, mirrored, upside_down
from filters.open_clip_models import create_model, save_checkpoint_dir
from pipeline.weights import model_file
from tests.toy import draw

NAMES = ("flipped", "upside_down", "cropped")


def batch(pictures):
    sizes = [(p.shape[1], p.shape[0]) for p in pictures]
    captions = [f"picture {i}" for i in range(len(pictures))]
    return Batch(pictures, sizes, captions, pictures)


@pytest.fixture(scope="module")
def paths():
    return {name: model_file(name) for name in (*Masked().weights, *Embeddings.weights)}


@pytest.fixture(scope="module")
def tower(paths):
    return ImageTower(paths["efficientnet_lite0"], threads=1)


@pytest.fixture(scope="module")
def pictures():
    """Return a picture without text, lopsided in every way, and one with text.

    Both leave an even number of rows to letterboxing, so that it is the same upside down.
    """
    shape = np.asarray(draw("triangle", "green", size=(140, 90))).copy()
    shape[:30, :50] = (200, 30, 90)
    canvas = Image.new("RGB", (300, 214), "khaki")
    ImageDraw.Draw(canvas).text((20, 110), "BIG SALE", "black", ImageFont.load_default(50))
    ImageDraw.Draw(canvas).ellipse((10, 10, 80, 80), fill="red")
    return [shape, np.asarray(canvas)]


@pytest.fixture(scope="module")
def regions(paths, pictures):
    finder = TextSearch().finder(paths, threads=1)
    return [text.region_m42 for text in finder.of(batch(pictures))]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Return a checkpoint folder of a tiny random model."""
    folder = tmp_path_factory.mktemp("vit")
    config = {
        "embed_dim": 32,
        "vision_cfg": {
            "image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8,
        },
        "text_cfg": {
            "context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1,
        },
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model, config = create_model(str(folder / "model.json"))
    save_checkpoint_dir(folder / "checkpoint", model, config)
    return f"local-dir:{folder / 'checkpoint'}"


def test_views_of_a_small_picture():
    picture = np.arange(10 * 20 * 3, dtype=np.uint8).reshape(10, 20, 3)
    assert np.array_equal(mirrored(picture), np.fliplr(picture))
    assert np.array_equal(upside_down(picture), np.flipud(picture))
    assert np.array_equal(cropped(picture), picture[2:8, 3:17])  # 1.5 rounds to even
    assert cropped(picture[:1, :1]).shape == (1, 1, 3)


def own_embedding(tower, pictures):
    return unit_norm(tower.of(pictures).features_BD)


def test_an_embedding_of_a_view_is_that_of_the_changed_picture(paths, tower, pictures):
    found = Views().load(paths, threads=1)(batch(pictures))
    assert list(found) == [c.name for c in Views().columns]
    changes = (np.fliplr, np.flipud, cropped)
    for name, change in zip(NAMES, changes, strict=True):
        expected = own_embedding(tower, batch([np.ascontiguousarray(change(p)) for p in pictures]))
        cosine = (found[f"{name}_embedding"].astype(np.float32) * expected).sum(1)
        assert (cosine > 0.995).all()
        own = (
            found[f"{name}_embedding"].astype(np.float32) * own_embedding(tower, batch(pictures))
        ).sum(1)
        assert (own < cosine).all()


def test_only_the_views_that_are_wanted(paths, pictures):
    extractor = Views(views=("cropped",))
    assert list(extractor.load(paths, threads=1)(batch(pictures))) == ["cropped_embedding"]
    assert (extractor.side, Views(views=("flipped",)).side) == (320, 224)
    for views in ((), ("flipped", "flipped")):
        with pytest.raises(ValueError, match="expected at least one and none twice"):
            Views(views=views)
        with pytest.raises(ValueError, match="expected at least one and none twice"):
            ClipViews(model="RN50", views=views)


def test_without_text_the_masked_embedding_is_the_picture_s_own(paths, pictures, monkeypatch):
    passes, run = [], ImageTower.__call__

    def counted(self, squares):
        passes.append(len(squares))
        return run(self, squares)

    monkeypatch.setattr(ImageTower, "__call__", counted)
    pair = batch(pictures[:1])
    own = Embeddings().load(paths, threads=1)(pair)["image_embedding"]
    found = Masked().load(paths, threads=1)(pair)["masked_embedding"]
    assert own.tobytes() == found.tobytes()
    assert passes == [1]


def test_with_text_it_is_that_of_the_picture_painted_over(paths, tower, pictures, regions):
    assert [len(region) for region in regions] == [0, 1]
    both = batch(pictures)
    found = Masked().load(paths, threads=1)(both)["masked_embedding"]
    own = own_embedding(tower, both)
    assert np.array_equal(found[0], own[0])
    expected = own_embedding(tower, batch([masked(pictures[1], regions[1])]))[0]
    assert found[1] == pytest.approx(expected, abs=2e-3)
    assert found[1].astype(np.float32) @ own[1] < 0.99


def test_clip_scores_of_views_are_those_of_changed_pictures(checkpoint, paths, pictures, regions):
    plain = ClipScore(model=checkpoint).load({}, threads=1)
    extractor = ClipViews(model=checkpoint)
    both = batch(pictures)
    found = extractor.load(paths, threads=1)(both)
    assert list(found) == [c.name for c in extractor.columns]
    bare = [masked(p, region) for p, region in zip(pictures, regions, strict=True)]
    for name, changed in {
        "flipped": [np.fliplr(p) for p in pictures],
        "upside_down": [np.flipud(p) for p in pictures],
        "cropped": [cropped(p) for p in pictures],
        "masked": bare,
    }.items():
        expected = plain(batch(changed))["alignment"]
        assert found[f"alignment_{name}"] == pytest.approx(expected, abs=1e-5)
    own = plain(both)["alignment"]
    assert found["alignment_masked"][0] == own[0]
    assert found["alignment_masked"][1] != own[1]


def test_two_extractors_of_one_model_encode_a_batch_once(checkpoint, pictures):
    score, views = ClipScore(model=checkpoint), ClipViews(model=checkpoint, views=("flipped",))
    assert views.weights == ()
    both = batch(pictures)
    one, other = score.encoder(threads=1), views.encoder(threads=1)
    assert one.captions_of(both) is other.captions_of(both)
    assert one.of(both) is other.of(both)
    halves = ClipScore(model=checkpoint, batch=1).encoder(threads=1)
    assert halves.of(both) is not one.of(both)


def test_exact_views_are_of_the_originals(checkpoint, paths, pictures):
    originals = [p[::2, ::2] for p in pictures]
    mixed = Batch(pictures, [(1, 1)] * 2, ["a", "b"], originals)
    exact = ClipViews(model=checkpoint, preprocess="exact", views=("flipped", "masked"))
    found = exact.load(paths, threads=1)(mixed)
    plain = ClipScore(model=checkpoint, preprocess="exact").load({}, threads=1)
    changed = [np.fliplr(p) for p in originals]
    expected = plain(Batch(changed, [(1, 1)] * 2, ["a", "b"], changed))["alignment"]
    assert found["alignment_flipped"] == pytest.approx(expected, abs=1e-6)
    assert found["alignment_masked"][0] == plain(mixed)["alignment"][0]
