"""NanoDet: its head against planted boxes, its classes against captions; the real network."""

import numpy as np
import pytest

from filters.extract import Batch
from filters.extract.detect import (
    BINS,
    CLASS_NAMES,
    COCO_CLASSES,
    SIDE,
    STRIDES,
    Detections,
    Objects,
    detections,
    head,
    matched,
    places,
)
from filters.extract.embed import TextTower
from filters.extract.objects.naming import NO_CLASS, ClassNames
from pipeline.weights import model_file

PLACES = [(SIDE // s) ** 2 for s in STRIDES]


def planted_outputs(count, boxes):
    """Build the six outputs of a network that sees `boxes`: (row, class, level, place, bins)."""
    scores = [np.zeros((count, p, 80), np.float32) for p in PLACES]
    sides = [np.full((count, p, 4, BINS), -20.0, np.float32) for p in PLACES]
    for level in sides:
        level[..., 0] = 20.0
    for row, kind, level, place, bins in boxes:
        scores[level][row, place, kind] = 0.9
        sides[level][row, place] = -20.0
        for side, value in enumerate(bins):
            sides[level][row, place, side, value] = 20.0
    flat = [s.reshape(count, -1, 4 * BINS) for s in sides]
    return [scores[2], flat[2], scores[1], scores[0], flat[1], flat[0]]  # in no order


def test_a_planted_box_is_decoded():
    place, stride = 10 * (SIDE // 16) + 12, 16
    outputs = planted_outputs(2, [(1, 16, 1, place, (3, 2, 4, 5))])
    scores, bins = head(outputs, count=2)
    assert detections(scores[0], bins[0], threshold=0.5).score_n.size == 0
    found = detections(scores[1], bins[1], threshold=0.5)
    x, y = 12 * stride + 7.5, 10 * stride + 7.5
    expected = np.array([x - 48, y - 32, x + 64, y + 80]) / SIDE
    assert found.box_n4[0] == pytest.approx(expected, abs=1e-4)
    assert [COCO_CLASSES[c] for c in found.class_n] == ["dog"]


def test_places_cover_the_picture_evenly():
    centres, strides = places()
    assert len(centres) == len(strides) == sum(PLACES) == 2100
    assert [strides[0], strides[-1]] == [8, 32]
    assert centres[0].tolist() == [3.5, 3.5]
    assert centres[1].tolist() == [11.5, 3.5]  # x runs fastest
    assert centres[: PLACES[0]].mean(0) == pytest.approx([SIDE / 2 - 0.5] * 2)


def test_the_classes_are_coco_s():
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    assert (COCO_CLASSES[0], COCO_CLASSES[15], COCO_CLASSES[79]) == ("person", "cat", "toothbrush")


@pytest.fixture(scope="module")
def tower():
    return TextTower(model_file("minilm"), model_file("minilm_tokenizer"), threads=1)


def table(texts):
    """Embed into a plane at the angles of a small dictionary, in degrees."""
    degrees = {"dog": 0, "hound": 20, "cat": 90, "tom": 100, "teapot": 200}
    degrees["teapot tom"] = 250
    angles = np.radians([degrees[t] for t in texts])
    return 3 * np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def test_a_phrase_means_the_class_with_the_nearest_name():
    meant = ClassNames(table, [["dog"], ["cat", "tom"]], threshold=np.cos(np.radians(30)))
    assert meant(["hound", "teapot", "tom"]).tolist() == [0, NO_CLASS, 1]
    assert meant(["hound", "hound"]).tolist() == [0, 0]  # from memory
    assert meant(["teapot tom"]).tolist() == [1]  # by its last word
    assert meant([]).shape == (0,)
    wide = ClassNames(table, [["cat", "tom"], ["dog"]], threshold=-1.0)
    assert wide(["hound", "teapot"]).tolist() == [1, 0]


def test_a_name_beside_others_means_what_it_means_alone(tower):
    phrases = ["dog", "a rather long phrase about a dog on a boat", "red kite", "car"]
    assert tower(phrases)[0] == pytest.approx(tower(["dog"])[0], abs=1e-5)


def test_phrases_find_their_coco_classes(tower):
    meant = ClassNames(tower, CLASS_NAMES, threshold=Objects().phrase_threshold)
    expected = {
        "dog": "dog", "puppies": "dog", "sofa": "couch", "motorbike": "motorcycle",
        "old man": "person", "girl": "person", "television": "tv", "mountain": None, "sky": None,
        "happiness": None, "building": None, "hot dog": "hot dog", "big black puppy": "dog",
    }  # fmt: skip
    for phrase, found in zip(expected, meant(list(expected)), strict=True):
        assert (COCO_CLASSES[found] if found != NO_CLASS else None) == expected[phrase], phrase


def test_boxes_stand_for_the_phrases_of_their_own_caption(tower):
    meant = ClassNames(tower, CLASS_NAMES, threshold=0.55)
    dog, couch, kite = (COCO_CLASSES.index(name) for name in ("dog", "couch", "kite"))
    captions = ["a puppy on the sofa under a mountain", "a dog", "ein Hund"]
    boxes = [
        Detections(np.zeros((len(c), 4), np.float32), np.ones(len(c), np.float32), np.array(c, int))
        for c in ([couch, dog, kite], [], [dog])
    ]
    found = matched(boxes, Batch([], [(4, 3)] * 3, captions), meant)
    assert found[0].named_nP.tolist() == [
        [False, True, False], [True, False, False], [False, False, False],
    ]  # fmt: skip
    assert found[0].label_n == ["couch", "dog", "kite"]
    assert [f.named_nP.shape for f in found] == [(3, 3), (0, 1), (1, 0)]


@pytest.mark.network
def test_the_real_network_gives_the_same_boxes_alone_and_in_a_batch():
    extractor = Objects(threshold=0.1)
    score = extractor.load({n: model_file(n) for n in extractor.weights}, threads=1)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (90, 120, 3), np.uint8) for _ in range(3)]
    batch = Batch(pictures, [(120, 90)] * 3, ["a dog", "x", "a toothbrush"])
    together = score(batch)
    assert any(together["object_count"])
    for i in range(3):
        alone = score(batch.row(i))
        assert alone["object_count"][0] == together["object_count"][i]
        assert alone["object_boxes"][0] == pytest.approx(together["object_boxes"][i], abs=1e-4)
        assert alone["object_phrases"][0] == together["object_phrases"][i]
