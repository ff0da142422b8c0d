"""What a frozen text tower said is kept exactly, and only the projection goes on learning."""

import json
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from filters.open_clip_models import tokenizer
from pipeline.index.parts import Parts
from pipeline.pairs import Pairs
from training.config import Save, Towers, Train
from training.input.kept_texts import distinct_texts
from training.input.texts import texts_in_memory, texts_of
from training.loop import train
from training.models.build import build_model, load_model
from training.models.encoder import PairEncoder
from training.models.lock import lock_text
from training.models.text import trunk_outputs

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


def _words(texts):
    """Tokenise by words: their lengths, after a 1, before a 2, padded with 9."""
    rows = [[1, *(len(word) for word in text.split()), 2][:7] for text in texts]
    return torch.tensor([row + [9] * (7 - len(row)) for row in rows])


@pytest.mark.parametrize("locked", [False, True])
def test_texts_on_disk_are_those_in_memory_and_those_by_hand(tmp_path, monkeypatch, locked):
    monkeypatch.setattr("training.input.kept_texts.SOME", 6)
    columns = [list(CAPTIONS) * 3, [f"text {'x' * i}" for i in range(11)] + ["1 2 3 4 5 6 7 8"]]
    encode = (lambda token_UL: token_UL.float() / 3) if locked else None
    given = _words([text for both in zip(*columns, strict=True) for text in both])
    given = encode(given) if locked else given
    table = Pairs.of(
        ["s"], shard_N=[0] * 12, offset_N=[0] * 12, size_N=[0] * 12,
        uids=[bytes([i] * 16) for i in range(12)],
        captions={"a": columns[0], "b": columns[1]},
    ).parts.table(0)  # fmt: skip
    parts = Parts((), np.array([0, 5, 12]), {0: table.slice(0, 5), 1: table.slice(5)})
    pairs = Pairs(["s"], parts, home=str(tmp_path))
    stored = texts_of(pairs, _words, identity="w", encode=encode)
    row, number = np.array([11, 0, 5, 5, 7]), np.array([1, 0, 1, 0, 1])
    in_memory = texts_in_memory(columns, _words, encode=encode)
    for texts in (in_memory, pickle.loads(pickle.dumps(stored))):
        assert torch.equal(texts.take(row), given.unflatten(0, (12, 2))[row].flatten(0, 1))
        assert torch.equal(texts.take(row, number), given[row * 2 + number])
    files = {path.name for path in tmp_path.rglob("part-*")}
    assert files == {f"part-0000{p}.{name}" for p in range(2) for name in (
        ("said.bin", "numbers.npy") if locked else ("tokens.npy", "starts.npy"))}  # fmt: skip
    monkeypatch.setattr("training.input.texts.inputs_of", None)  # nothing is made again
    texts_of(pairs, _words, identity="w", encode=encode)


def test_a_kept_trunk_equals_the_tower(minilm):
    """Trimmed padding and the split at the projection leave open_clip's own embedding."""
    model, model_cfg = minilm
    lock_text(model)
    tokenize = tokenizer(model_cfg)
    rows = np.array([3, 1, 0, 2])
    pixels_BHWC = torch.zeros(len(rows), 32, 32, 3, dtype=torch.uint8)

    def embedded(*, frozen):
        encode = partial(trunk_outputs, model.text) if frozen else None
        texts = texts_in_memory(CAPTIONS, tokenize, encode=encode)
        encoder = PairEncoder(model, precision="float32", frozen_text=frozen).eval()
        with torch.no_grad():
            return encoder(pixels_BHWC, texts.take(rows)).text_BD

    kept_BD, fresh_BD = embedded(frozen=True), embedded(frozen=False)
    with torch.no_grad():
        whole_BD = model.encode_text(tokenize([CAPTIONS[i] for i in rows]), normalize=True)
    torch.testing.assert_close(kept_BD, whole_BD, rtol=0, atol=2e-6)
    torch.testing.assert_close(fresh_BD, whole_BD, rtol=0, atol=2e-6)


def test_minilm_says_what_sentence_transformers_says(minilm):
    """The packaged weights were really loaded: related captions are nearer than unrelated ones."""
    model, model_cfg = minilm
    captions = ("a cat", "a kitten", "a fighter jet")
    texts = texts_in_memory(
        captions, tokenizer(model_cfg), encode=partial(trunk_outputs, model.text)
    )
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
