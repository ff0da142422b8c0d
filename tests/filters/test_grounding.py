"""Zero-shot detectors against transformers' own processors, one picture at a time."""

import importlib

import numpy as np
import pytest
import torch
from PIL import Image

from filters.extract import Batch, Grounding
from filters.extract.objects.phrases import phrases
from filters.extract.objects.prompts import named, padded, prompt_of
from filters.extract.objects.zero_shot import suppressed
from tests import tiny_detectors

MODELS = {
    "grounding_dino": tiny_detectors.grounding_dino,
    "owlv2": tiny_detectors.owlv2,
    "omdet_turbo": tiny_detectors.omdet_turbo,
}
CAPTIONS = [
    "A red kite on the beach",
    "a dog",
    "a blue circle and the green square with a man on a boat.",
    "ein roter Hund",
    "a black triangle of the sky",
]
SIZES = [(120, 90), (90, 120), (64, 64), (120, 90), (120, 90)]


@pytest.fixture(scope="module", params=sorted(MODELS))
def model(request, tmp_path_factory):
    return tiny_detectors.saved(MODELS[request.param], tmp_path_factory.mktemp(request.param))


def batch():
    rng = np.random.default_rng(0)
    pictures = [
        np.asarray(
            Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).resize(size),
        )
        for size in SIZES
    ]
    return Batch(pictures, SIZES, CAPTIONS, pictures)


def score(model, **settings):
    extractor = Grounding(model=str(model), **settings)
    columns = extractor.load({}, threads=1)(batch())
    assert list(columns) == [c.name for c in extractor.columns]
    return columns


def plain_nms(boxes, scores, labels, overlap):
    """What torchvision's `batched_nms` does, which this build of it cannot."""
    kept = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        left_top = torch.maximum(boxes[i, :2], boxes[kept, :2])
        sides = (torch.minimum(boxes[i, 2:], boxes[kept, 2:]) - left_top).clamp(min=0)
        shared = sides.prod(1)
        area = lambda box: (box[..., 2:] - box[..., :2]).prod(-1)  # noqa: E731
        ratio = shared / (area(boxes[i]) + area(boxes[kept]) - shared)
        if not ((ratio > overlap) & (labels[kept] == labels[i])).any():
            kept.append(i)
    return torch.tensor(kept, dtype=torch.long)


def by_transformers(folder, threshold, text_threshold, monkeypatch):
    """Detect with nothing but transformers: (boxes in pixels, scores, labels) of each picture."""
    transformers = importlib.import_module("transformers")
    omdet = importlib.import_module("transformers.models.omdet_turbo.processing_omdet_turbo")
    monkeypatch.setattr(omdet, "batched_nms", plain_nms)
    processor = transformers.AutoProcessor.from_pretrained(folder)
    model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(folder)
    results = []
    for picture, caption in zip(batch().originals, CAPTIONS, strict=True):
        found = list(phrases(caption))
        if not found:
            results.append(None)
            continue
        by_caption = model.config.model_type == "grounding-dino"
        text = prompt_of(caption) if by_caption else [found]
        inputs = processor(images=Image.fromarray(picture), text=text, return_tensors="pt")
        with torch.inference_mode():
            outputs = model(**inputs)
        more = {"text_threshold": text_threshold} if by_caption else {"text_labels": [found]}
        (result,) = processor.post_process_grounded_object_detection(
            outputs, threshold=threshold, target_sizes=[picture.shape[:2]], **more
        )
        results.append((result["boxes"], result["scores"], result["text_labels"]))
    return results


def middle_score(model):
    """A threshold that about half of all boxes pass, with some way to the next score."""
    scores = np.sort(np.concatenate(score(model, threshold=0.0)["object_scores"]))
    gaps = np.diff(scores[len(scores) // 4 : len(scores) * 3 // 4])
    at = len(scores) // 4 + int(gaps.argmax())
    return float(scores[at] + scores[at + 1]) / 2


def test_boxes_are_those_of_transformers_one_picture_at_a_time(model, monkeypatch):
    threshold = middle_score(model)
    ours = score(model, threshold=threshold, text_threshold=0.5)
    expected = by_transformers(model, threshold, 0.5, monkeypatch)
    assert 0 < sum(ours["object_count"]) < sum(score(model, threshold=0.0)["object_count"])
    for i, result in enumerate(expected):
        if result is None:
            assert ours["object_count"][i] == 0
            assert ours["object_grounded"][i] is None
            continue
        boxes, scores, labels = result
        order = scores.argsort(descending=True, stable=True)
        share = boxes[order].numpy() / np.tile(SIZES[i], 2)
        assert ours["object_scores"][i] == pytest.approx(scores[order].tolist(), abs=1e-4)
        assert ours["object_boxes"][i] == pytest.approx(share.clip(0, 1).ravel(), abs=1e-4)
        wanted = [labels[k].replace("[SEP]", "").strip(" .") for k in order.tolist()]
        assert ours["object_classes"][i] == wanted


def test_pictures_do_not_depend_on_their_batch(model):
    settings = {"threshold": middle_score(model), "text_threshold": 0.5}
    together, alone = score(model, **settings), score(model, batch=1, **settings)
    assert any(together["object_grounded"])
    for name, values in together.items():
        for a, b in zip(values, alone[name], strict=True):
            assert a == b if name == "object_classes" else a == pytest.approx(b, abs=1e-4)


def test_scoring_again_gives_the_same(model):
    scorer = Grounding(model=str(model), threshold=0.0).load({}, threads=1)
    first, again = scorer(batch()), scorer(batch())
    assert first["object_scores"] == again["object_scores"]
    assert first["object_boxes"] == again["object_boxes"]


def test_originals_are_asked_for():
    assert Grounding().exact
    with pytest.raises(ValueError, match="got batch 0, expected at least 1"):
        Grounding(batch=0)


def test_a_batch_without_originals_is_refused(model):
    scorer = Grounding(model=str(model)).load({}, threads=1)
    have = batch()
    with pytest.raises(ValueError, match="got 0 originals for 5 pairs"):
        scorer(Batch(have.pictures, have.sizes, have.captions))


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"grounding: got model .*nothing"):
        Grounding(model=str(tmp_path / "nothing")).load({}, threads=1)


def test_prompts_end_with_one_dot():
    assert prompt_of("A  dog\n and A cat.") == "a dog and a cat."
    assert prompt_of("dog") == "dog."


def test_labels_name_the_phrases_they_share_a_word_with():
    found = named(["red kite", "t - shirt", "", "kites"], ["red kite", "red car", "t-shirt"])
    assert found.tolist() == [
        [True, False, False], [False, False, True], [False] * 3, [False] * 3,
    ]  # fmt: skip
    assert named([], ["dog"]).shape == (0, 1)
    assert padded([["a"], ["b", "c", "d"]]) == [["a", "a", "a"], ["b", "c", "d"]]


def test_suppression_keeps_boxes_of_another_phrase():
    boxes = np.array([[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.21], [0.1, 0.1, 0.2, 0.2]])
    scores = np.array([[0.9, 0.1], [0.8, 0.7], [0.2, 0.3]])
    kept, score_n, phrase_n = suppressed(boxes, scores, 0.3)
    assert score_n.tolist() == [0.9, 0.7]
    assert phrase_n.tolist() == [0, 1]
    assert kept[0] == pytest.approx([0.4, 0.4, 0.6, 0.6])
