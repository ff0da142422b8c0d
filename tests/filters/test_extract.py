"""Extractors on drawn pictures and captions; models are the real ones from their packages."""

import numpy as np
import pytest
from PIL import Image

from filters.extract import AnyExtractor, Batch, Grounding, Objects, Prompt
from filters.extract.base import resize
from filters.extract.caption import CaptionStatistics, boilerplate, repetition
from filters.extract.clip import ClipModel
from filters.extract.embed import Embeddings, ImageTower
from filters.extract.image import (
    ImageStatistics,
    entropy,
    hash_thumbnail,
    perceptual_hash,
    sharpness,
)
from filters.extract.language import Language
from filters.extract.ocr import TextInImage
from filters.extract.stages import STAGE_DIMS, Stages
from pipeline.weights import model_file
from tests.toy import draw


def picture(shape="circle", colour="red", size=(120, 90)):
    return np.asarray(draw(shape, colour, size=size))


def batch(pictures, captions=None):
    sizes = [(p.shape[1], p.shape[0]) for p in pictures]
    return Batch(pictures, sizes, captions or ["words"] * len(pictures))


def load(extractor):
    return extractor.load({n: model_file(n) for n in extractor.weights}, threads=1)


def test_every_extractor_writes_the_columns_it_declares():
    fixed = [e for e in AnyExtractor.__args__ if e not in {Grounding, Prompt}]
    assert Grounding.columns == Objects.columns  # it takes their place
    every = (e(model="x") if issubclass(e, ClipModel) else e() for e in fixed)
    names = [c.name for e in every for c in e.columns]
    assert len(names) == len(set(names))
    for extractor in (ImageStatistics(), CaptionStatistics(), Language(), TextInImage()):
        columns = load(extractor)(batch([picture(), picture("square")]))
        assert list(columns) == [c.name for c in extractor.columns]
        assert all(len(values) == 2 for values in columns.values())


def test_size_and_aspect_are_those_of_the_original():
    reduced = Batch([picture()], [(1200, 300)], ["x"])
    columns = load(ImageStatistics())(reduced)
    assert (columns["width"][0], columns["height"][0], columns["aspect"][0]) == (1200, 300, 4.0)


def test_contents_are_passed_on_and_unknown_ones_are_null():
    two = Batch([picture()] * 3, [(1, 1)] * 3, ["x"] * 3, contents=[2**64 - 1, None, 7])
    score = load(ImageStatistics())
    assert score(two)["content"] == [2**64 - 1, None, 7]
    assert score(two.row(2))["content"] == [7]
    assert score(batch([picture()] * 2))["content"] == [None, None]


def test_entropy_of_known_histograms():
    assert entropy(np.full((8, 8), 7, np.float32)) == 0.0
    assert entropy(np.repeat([[10.0, 200.0]], 8, 0).astype(np.float32)) == pytest.approx(1.0)
    assert entropy(np.arange(256, dtype=np.float32).reshape(16, 16)) == pytest.approx(8.0)


def test_sharpness_falls_with_blur_and_is_zero_on_a_ramp():
    noise = np.random.default_rng(0).uniform(0, 255, (64, 64)).astype(np.float32)
    blurred = (noise[:-1, :-1] + noise[1:, :-1] + noise[:-1, 1:] + noise[1:, 1:]) / 4
    assert sharpness(noise) > 2 * sharpness(blurred) > 0
    ramp = np.add.outer(np.arange(16.0), 3 * np.arange(16.0)).astype(np.float32)
    assert sharpness(ramp) == pytest.approx(0, abs=1e-6)
    assert sharpness(np.ones((2, 9), np.float32)) == 0.0


def test_a_perceptual_hash_survives_resizing_and_tells_pictures_apart():
    def hashed(pixels):
        return perceptual_hash(hash_thumbnail(Image.fromarray(pixels)))

    first = hashed(picture(size=(320, 240)))
    resized = hashed(resize(picture(size=(320, 240)), (150, 120)))
    other = hashed(picture("triangle", "blue", size=(320, 240)))
    assert (first ^ resized).bit_count() <= 4
    assert (first ^ other).bit_count() >= 12


@pytest.mark.parametrize(
    ("caption", "least"),
    [
        ("IMG_0231.jpg", 0.99), ("click here to buy", 0.99), ("image not available", 0.99),
        ("www.example.org/x", 0.99), ("DSC 00412", 0.99), ("Follow us on Twitter", 0.99),
        ("banner_728x90", 0.99), ("image", 0.99),
    ],
)  # fmt: skip
def test_stock_phrases_are_boilerplate(caption, least):
    assert boilerplate(caption) >= least


@pytest.mark.parametrize("caption", ["a cat on a mat", "photo of a red barn", "order of merit"])
def test_descriptions_are_not(caption):
    assert boilerplate(caption) == 0.0


def test_repetition_counts_words_said_before():
    assert [repetition(c) for c in ("", "one", "A a", "x y x y")] == [0, 0, 0.5, 0.5]


def test_language_of_sentences():
    captions = [
        "The dog is running across the green field.", "Der Hund rennt ueber die gruene Wiese.",
        "Le chien court dans le champ vert.", "El perro corre por el campo verde.",
    ]  # fmt: skip
    columns = load(Language())(batch([picture()] * 4, captions))
    assert columns["language"] == ["en", "de", "fr", "es"]
    assert (columns["language_score"] > 0.5).all()


def test_embeddings_have_unit_norm_and_mean_something():
    captions = ["a small dog", "a puppy", "quarterly tax report"]
    columns = load(Embeddings())(
        batch([picture(), picture(size=(60, 45)), picture("square")], captions)
    )
    for name, dim in (("image_embedding", 1280), ("text_embedding", 384)):
        found = columns[name].astype(np.float32)
        assert found.shape == (3, dim)
        assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(3), abs=2e-3)
        assert found[0] @ found[1] > found[0] @ found[2]


def test_an_embedding_does_not_depend_on_its_batch():
    score, captions = load(Embeddings()), ["one", "a much longer caption than the other one"]
    together = score(batch([picture(), picture("square")], captions))
    for i, shape in enumerate(("circle", "square")):
        alone = score(batch([picture(shape)], captions[i : i + 1]))
        for name, values in alone.items():
            assert values[0] == pytest.approx(together[name][i], abs=2e-3)


def test_stages_have_one_length_each_and_mean_something():
    (column,) = Stages.columns
    found = load(Stages())(batch([picture(), picture(size=(60, 45)), picture("square")]))
    stages = found[column.name].astype(np.float32)
    assert stages.shape == (3, column.dim)
    for block in np.split(stages, np.cumsum(STAGE_DIMS)[:-1], axis=1):
        assert np.linalg.norm(block, axis=1) == pytest.approx(np.full(3, 8**-0.5), abs=2e-3)
    assert stages[0] @ stages[1] > stages[0] @ stages[2]


def test_embeddings_and_stages_share_one_forward_pass(monkeypatch):
    passes, run = [], ImageTower.__call__

    def counted(self, squares):
        passes.append(len(squares))
        return run(self, squares)

    monkeypatch.setattr(ImageTower, "__call__", counted)
    both, scores = batch([picture(), picture("square")]), [load(Embeddings()), load(Stages())]
    together = scores[0](both) | scores[1](both)
    assert passes == [2]
    for score in scores:
        for name, values in score(batch([picture(), picture("square")])).items():
            assert values.tobytes() == together[name].tobytes()
