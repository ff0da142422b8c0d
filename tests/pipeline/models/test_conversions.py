"""The real models. NanoDet and CenterFace are fetched unless the cache has them."""

import numpy as np
import onnxruntime
import pytest
import torch

from filters.extract.stages import STAGE_DIMS
from pipeline import weights
from pipeline.models import centerface


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.slow
def test_efficientnet_gives_its_classifier_s_features_and_its_stages(tmp_path, monkeypatch):
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path))
    state = torch.load(weights.efficientnet_lite0(), weights_only=True)
    tower = session(weights.efficientnet_lite0_onnx())
    pixels = np.random.default_rng(0).standard_normal((3, 3, 224, 224)).astype(np.float32)
    features, stages = tower.run(["features", "stages"], {"pixels": pixels})
    assert features.shape == (3, 1280)
    from efficientnet_lite_pytorch import EfficientNet

    classifier = EfficientNet.from_name("efficientnet-lite0").eval()
    classifier.load_state_dict(state)
    with torch.inference_mode():
        logits = classifier(torch.from_numpy(pixels)).numpy()
        x = classifier._swish(classifier._bn0(classifier._conv_stem(torch.from_numpy(pixels))))
        pooled = [x.mean((2, 3))]
        for number, block in enumerate(classifier._blocks):
            x = block(x)
            if number in (0, 2, 4, 7, 10, 14, 15):  # EfficientNet-B0 repeats 1, 2, 2, 3, 3, 4, 1
                pooled.append(x.mean((2, 3)))
    head = state["_fc.weight"].numpy(), state["_fc.bias"].numpy()
    np.testing.assert_allclose(features @ head[0].T + head[1], logits, atol=1e-3)
    assert tuple(p.shape[1] for p in pooled) == STAGE_DIMS
    np.testing.assert_allclose(stages, torch.cat(pooled, 1).numpy(), atol=1e-3)


@pytest.mark.network
def test_nanodet_takes_any_batch_and_is_converted_once():
    detector = session(weights.nanodet_onnx())
    pixels = np.random.default_rng(0).standard_normal((3, 3, 320, 320)).astype(np.float32)
    together = detector.run(None, {"pixels": pixels})
    places = [1600, 400, 100]
    assert [o.shape for o in together] == [(3, p, c) for c in (80, 44) for p in places]
    assert all(np.array_equal(scores, scores.clip(0, 1)) for scores in together[:3])
    for i in range(3):
        alone = detector.run(None, {"pixels": pixels[i : i + 1]})
        for whole, single in zip(together, alone, strict=True):
            np.testing.assert_allclose(whole[i : i + 1], single, atol=1e-3)
    before = weights.nanodet_onnx().stat().st_mtime_ns
    assert weights.nanodet_onnx().stat().st_mtime_ns == before


@pytest.mark.network
def test_centerface_takes_any_batch_and_any_sides(tmp_path):
    """That it computes what the packaged graph does is part of the conversion."""
    detector = session(centerface.convert(tmp_path))
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 3, 96, 64)).astype(np.float32)
    together = detector.run(["scores", "sizes", "offsets"], {"pixels": pixels})
    assert [o.shape for o in together] == [(2, 1, 24, 16), (2, 2, 24, 16), (2, 2, 24, 16)]
    assert together[0].min() >= 0
    assert together[0].max() <= 1
    alone = detector.run(["scores", "sizes", "offsets"], {"pixels": pixels[1:]})
    for whole, single in zip(together, alone, strict=True):
        np.testing.assert_allclose(whole[1:], single, atol=1e-3)
    assert [i.name for i in detector.get_inputs()] == ["pixels"]
    assert centerface.convert(tmp_path).parent == tmp_path
