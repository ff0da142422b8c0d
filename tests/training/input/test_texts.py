"""What a frozen text tower said is kept exactly, and only the projection goes on learning."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from filters.open_clip_models import tokenizer
from training.config import Save, Towers, Train
from training.input.texts import Texts, distinct_texts
from training.loop import train
from training.models.build import build_model, load_model
from training.models.encoder import PairEncoder
from training.models.lock import lock_text
from training.models.text import embed_texts, trunk_outputs

CAPTIONS = (
    "a red apple",
    "two cats asleep on a mat beside the stove, drawn in ink",
    "a red apple",
    "moon",
)

LOCKED = Towers(lock_text=True)


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    """MiniLM as text tower over a tiny image tower, as the demo trains it."""
    return build_model(str(_minilm_json(tmp_path_factory.mktemp("model"))), seed=0)


def _minilm_json(folder):
    models = Path(__file__).parents[3] / "configs" / "models"
    document = json.loads((models / "cpu-teacher.json").read_text())
    document["vision_cfg"] = json.loads((models / "tiny.json").read_text())["vision_cfg"]
    path = folder / "minilm.json"
    path.write_text(json.dumps(document))
    return path


def test_distinct_texts_point_back():
    texts, text_N = distinct_texts(CAPTIONS)
    assert texts == sorted(set(CAPTIONS), key=len)
    assert [texts[i] for i in text_N] == list(CAPTIONS)


def test_a_kept_trunk_equals_the_tower(minilm):
    """Trimmed padding and the split at the projection leave open_clip's own embedding."""
    model, model_cfg = minilm
    lock_text(model)
    tokenize = tokenizer(model_cfg)
    rows = np.array([3, 1, 0, 2])
    pixels_BHWC = torch.zeros(len(rows), 32, 32, 3, dtype=torch.uint8)

    def embedded(*, frozen):
        encode = partial(trunk_outputs, model.text) if frozen else None
        texts = Texts(CAPTIONS, tokenize, encode=encode)
        encoder = PairEncoder(model, precision="float32", frozen_text=frozen).eval()
        with torch.no_grad():
            return encoder(pixels_BHWC, texts.take(rows)).text_BD

    kept_BD, fresh_BD = embedded(frozen=True), embedded(frozen=False)
    with torch.no_grad():
        whole_BD = model.encode_text(tokenize([CAPTIONS[i] for i in rows]), normalize=True)
    torch.testing.assert_close(kept_BD, whole_BD, rtol=0, atol=2e-6)
    torch.testing.assert_close(fresh_BD, whole_BD, rtol=0, atol=2e-6)
    torch.testing.assert_close(
        embed_texts(model, tokenize, [CAPTIONS[i] for i in rows]), whole_BD, rtol=0, atol=2e-6
    )


def test_minilm_says_what_sentence_transformers_says(minilm):
    """The packaged weights were really loaded: related captions are nearer than unrelated ones."""
    model, model_cfg = minilm
    captions = ("a cat", "a kitten", "a fighter jet")
    texts = Texts(captions, tokenizer(model_cfg), encode=partial(trunk_outputs, model.text))
    said_NW = texts.take(np.arange(3))
    cat_W, kitten_W, jet_W = F.normalize(said_NW, dim=-1)
    assert cat_W @ kitten_W > 0.7  # 0.788 by the model's own card and sentence-transformers
    assert cat_W @ jet_W < 0.3


def test_a_locked_trunk_never_moves_and_its_projection_does(toy_pairs, out, tmp_path):
    path = str(_minilm_json(tmp_path))
    cfg = Train(model=path, towers=LOCKED, samples_seen=64, batch_size=16, save=Save(every=2))
    checkpoint = train(cfg, toy_pairs(40, seed=3), out=out / "run", seed=0)
    before = build_model(path, seed=0)[0].state_dict()
    after = load_model(checkpoint)[0].state_dict()
    trunk = [name for name in before if name.startswith("text.transformer.")]
    assert len(trunk) > 50
    assert all(torch.equal(before[name], after[name]) for name in trunk)
    assert not torch.equal(before["text.proj.weight"], after["text.proj.weight"])
    state = max((tmp_path / "out" / "run" / "state").iterdir())
    assert state.stat().st_size < 12e6  # the 90 MB trunk is not in it


def test_a_locked_tower_of_open_clips_own_kind(toy_pairs, tiny_model, out):
    cfg = Train(model=tiny_model, towers=LOCKED, samples_seen=64, batch_size=16)
    checkpoint = train(cfg, toy_pairs(40, seed=3), out=out, seed=0)
    before = build_model(tiny_model, seed=0)[0].state_dict()
    after = load_model(checkpoint)[0].state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("text."))
    moved = [k for k in before if k.startswith("visual.") and not torch.equal(before[k], after[k])]
    assert len(moved) > 20
