"""Derived columns of targets and references: files, settings, nulls; samples against sorting."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from filters.derive import ImageBased, NegClipLoss, NormSim, TextBased
from filters.derive.sample import Sample
from filters.hashing import hashed, uniform
from filters.rules.target import ImageBasedFilter, NegClipShare, TextBasedFilter

DRAWS = ("a 0", "a 1", "a 2")


def shard(n, seed=0):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(2, n, 3))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    uid_N2 = rng.integers(0, 2**64, (n, 2), dtype=np.uint64)
    uid_N2[:, 0] //= np.uint64(2**60)  # high words that repeat
    return uid_N2, tuple(vectors.astype(np.float16))


def sample(uid_N2, embeddings, size=10):
    return Sample.of(uid_N2, embeddings, size=size, draws=DRAWS, seed=7)


def held(some):
    return some.uid_R2.tolist(), [e.tolist() for e in some.embeddings]


def test_a_sample_is_the_lowest_draws():
    uid_N2, embeddings = shard(200)
    found = sample(uid_N2, embeddings)
    wanted = set()
    for k, draw in enumerate(DRAWS):
        order = np.argsort(uniform(uid_N2, salt=f"{draw}:7"))[:10]
        wanted |= set(order.tolist())
        chosen = found.chosen(k)
        assert found.uid_R2[chosen].tolist() == uid_N2[order].tolist()
        assert found.embeddings[1][chosen].tolist() == embeddings[1][order].tolist()
        assert found.bar()[k] == hashed(uid_N2, salt=f"{draw}:7")[order[-1]]
    assert len(found.uid_R2) == len(wanted)
    at = found.find(uid_N2)
    assert set(np.flatnonzero(at >= 0).tolist()) == wanted
    assert (found.uid_R2[at[at >= 0]] == uid_N2[at >= 0]).all()


def test_neither_order_nor_grouping_nor_bars_change_a_sample():
    uid_N2, embeddings = shard(300, seed=1)
    uid_N2[250:] = uid_N2[:50]  # one uid, two contents
    uid_N2[240:250] = uid_N2[0]
    whole = sample(uid_N2, embeddings)
    rng = np.random.default_rng(2)
    for cuts in ([100, 200], [1, 1, 290], np.arange(5, 300, 5)):
        order = rng.permutation(300)
        parts = [sample(uid_N2[at], tuple(e[at] for e in embeddings))
                 for at in np.split(order, cuts)]  # fmt: skip
        assert held(parts[0].plus(parts[1:])) == held(whole)
        told = parts[0]
        for part in parts[1:]:
            bar = told.bar()
            told = told.plus([part if bar is None else part.within(bar)])
        assert held(told) == held(whole)
    assert len(whole.within(whole.bar()).uid_R2) == len(whole.uid_R2)
    late = [sample(*shard(300, seed=s)).within(whole.bar()) for s in range(3, 9)]
    assert max(len(part.uid_R2) for part in late) < 30  # of 300 about 10 in each of three draws


def test_a_small_pool_is_all_of_the_sample():
    uid_N2, embeddings = shard(4)
    found = sample(uid_N2, embeddings)
    assert (found.bar(), len(found.uid_R2)) == (None, 4)
    none = sample(uid_N2[:0], tuple(e[:0] for e in embeddings))
    assert none.find(uid_N2).tolist() == [-1] * 4
    assert held(none.plus([found])) == held(found)


def columns(uid_N2, embeddings):
    return {"uid": uid_N2, "clip_image": embeddings[0], "clip_text": embeddings[1]}


def alone(columns, at, batch):
    """The paper's formula for one pair in a batch, in float64."""
    image, text = (np.asarray(columns[c], float) for c in ("clip_image", "clip_text"))
    own = image[at] @ text[at]
    logs = [
        np.log(np.exp(s / 0.01).sum()) for s in (text[batch] @ image[at], image[batch] @ text[at])
    ]
    return own - 0.01 / 2 * sum(logs)


def test_each_pair_is_scored_beside_the_lowest_draws():
    what = NegClipLoss(batch=16, repetitions=2, seed=3)
    pool = columns(*shard(100))
    score = what.load({}, what.count(pool))(pool)["neg_clip_loss"]
    assert score.dtype == np.float32
    for at in range(100):
        expected = []
        for k in range(2):
            order = np.argsort(uniform(pool["uid"], salt=f"neg_clip_loss {k}:3"))
            others = [i for i in order[:16] if i != at][:15]
            expected.append(alone(pool, at, [*others, at]))
        assert score[at] == pytest.approx(np.mean(expected), abs=1e-6)


def test_pairs_without_an_embedding_are_no_references_and_have_no_score():
    what = NegClipLoss(batch=200, repetitions=1)
    uid_N2, (image, text) = shard(50)
    image[3], text[4, 1], text[5] = 0, np.nan, 0
    pool = columns(uid_N2, (image, text))
    counts = what.count(pool)
    assert len(counts.uid_R2) == 47
    score = what.load({}, counts)(pool)["neg_clip_loss"]
    assert np.flatnonzero(np.isnan(score)).tolist() == [3, 4, 5]
    rule = NegClipShare(share=0.5)
    votes = rule.resolve(dict.fromkeys(rule.quantiles, float(np.nanmedian(score)))).vote(
        {"neg_clip_loss": pl.Series(score)}
    )
    assert np.flatnonzero(votes == -1).tolist() == [3, 4, 5]
    assert (votes == 1).sum() == 24
    empty = columns(uid_N2[:0], (image[:0], text[:0]))
    assert len(what.load({}, what.count(empty))(empty)["neg_clip_loss"]) == 0
    none = columns(uid_N2, (image * 0, text))
    assert np.isnan(what.load({}, what.count(none))(none)["neg_clip_loss"]).all()


def saved(path, array):
    np.save(path, array)
    return path


def test_normsim_reads_its_target_from_a_file(tmp_path):
    _, (image, target) = shard(40)
    path = saved(tmp_path / "t.npy", target)
    cosines = image.astype(float) @ target.astype(float).T
    for p in ("2", "inf"):
        what = NormSim(name="near", column="clip_image", file="t.npy", p=p)
        found = what.load({"t.npy": path}, None)({"clip_image": image})["near"]
        assert found == pytest.approx(np.linalg.norm(cosines, float(p), axis=1), rel=1e-3)
        assert found.dtype == np.float32
    saved(path, np.concatenate([target, target]))  # another file in its place is another target
    twice = what.load({"t.npy": path}, None)({"clip_image": image})["near"]
    assert (twice == found).all()
    what = replace(what, p="2")
    longer = what.load({"t.npy": path}, None)({"clip_image": image})["near"]
    assert longer == pytest.approx(2**0.5 * np.linalg.norm(cosines, axis=1), rel=1e-3)


def test_image_based_keeps_what_shares_a_concept_with_a_target(tmp_path):
    centroids = saved(tmp_path / "c.npy", np.diag([1.0, 2.0, 1.0]).astype(np.float32))
    image = np.eye(3, dtype=np.float16)[[0, 1, 2, 1]]
    image = np.concatenate([image, np.zeros((1, 3), np.float16)])
    by_vector = saved(tmp_path / "v.npy", np.array([[0.1, 0.9, 0], [0, 0.5, 0.5]], np.float32))
    by_number = saved(tmp_path / "n.npy", np.array([1], np.int32))
    for targets in (by_vector, by_number):
        what = ImageBased(centroids="c.npy", targets="t.npy")
        judge = what.load({"c.npy": centroids, "t.npy": targets}, None)
        found = judge({"image_embedding": image})["image_based"]
        assert found == [0, 1, 0, 1, None]
    votes = ImageBasedFilter().primitive().vote({"image_based": pl.Series(found)})
    assert votes.tolist() == [0, 1, 0, 1, -1]


def test_text_based_keeps_captions_of_a_language_that_name_something(tmp_path):
    (tmp_path / "e.txt").write_text("Dog\ntabby cat\n")
    given = {
        "caption": ["A dog, running", "hotdog", "my Tabby Cat", "Hund dog", "dog", ""],
        "language": ["en", "en", "en", "de", None, "en"],
    }
    what = TextBased(file="e.txt")
    weights = {"e.txt": tmp_path / "e.txt"}
    found = what.load(weights, None)(given)["text_based"]
    assert found == [1, 0, 1, 0, None, 0]
    votes = TextBasedFilter().primitive().vote({"text_based": pl.Series(found)})
    assert votes.tolist() == [1, 0, 1, 0, -1, 0]
    every = replace(what, language="")
    assert every.reads == ("caption",)
    assert every.load(weights, None)(given)["text_based"] == [1, 0, 1, 1, 1, 0]
    exact = replace(what, ignore_case=False)
    assert exact.load(weights, None)(given)["text_based"] == [0, 0, 0, 0, None, 0]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3, np.float32), r"float32 \[3\], expected float16 or float32 of \[rows"),
        (np.zeros((3, 2)), r"float64 \[3, 2\], expected float16 or float32"),
        (np.zeros((0, 2), np.float32), r"float32 \[0, 2\], expected float16"),
        (np.array([{}]), "expected an array as numpy.save writes it, without objects"),
    ],
)
def test_a_file_that_holds_no_embeddings_is_refused(tmp_path, array, message):
    path = saved(tmp_path / "t.npy", array)
    with pytest.raises(ValueError, match=message):
        NormSim(file="t.npy").load({"t.npy": path}, None)


def test_files_that_do_not_fit_are_refused(tmp_path):
    three, two = (saved(tmp_path / f"{d}.npy", np.ones((4, d), np.float16)) for d in (3, 2))
    ids = saved(tmp_path / "i.npy", np.array([4]))
    what = ImageBased(centroids="c", targets="t")
    with pytest.raises(ValueError, match=r"got .*2\.npy of shape \[4, 2\], expected .* 3 dim"):
        what.load({"c": three, "t": two}, None)
    with pytest.raises(ValueError, match="with centroids 4 to 4, expected 0 to 3"):
        what.load({"c": three, "t": ids}, None)
    score = NormSim(file="t").load({"t": two}, None)
    with pytest.raises(ValueError, match="normsim: got image_embedding of shape"):
        score({"image_embedding": np.ones((4, 3), np.float16)})
    pool = columns(np.zeros((4, 2), np.uint64), (np.ones((4, 3)), np.ones((4, 2))))
    with pytest.raises(ValueError, match="expected embeddings of one model"):
        NegClipLoss().count(pool)


@pytest.mark.parametrize(
    "wrong", [{"batch": 1}, {"repetitions": 0}, {"temperature": 0.0}, {"name": "a b"}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"neg_clip_loss: got name .* correct them"):
        NegClipLoss(**wrong)
