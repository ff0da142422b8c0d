"""negCLIPLoss, NormSim and the image-based filter against their formulas in float64."""

import numpy as np
import pytest

from filters.concepts import products
from filters.concepts.image_based import nearest, wanted
from filters.concepts.neg_clip_loss import neg_clip_loss
from filters.concepts.normsim import gram, normsim, normsim_2, normsim_dynamic


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def pairs(n, dim, *, seed, noise=0.7):
    """Pictures and captions about a few things; some captions are of other pictures."""
    rng = np.random.default_rng(seed)
    about = rng.normal(size=(40, dim))[rng.integers(0, 40, n)] + rng.normal(size=(n, dim)) / 2
    image = unit(about + noise * rng.normal(size=(n, dim)))
    text = unit(about + noise * rng.normal(size=(n, dim)))
    text[: n // 10] = rng.permutation(text[: n // 10])
    return image.astype(np.float32), text.astype(np.float32)


def direct(image, text, temperature):
    """The paper's formula for one batch, in float64, all in memory."""
    scaled = image.astype(float) @ text.astype(float).T / temperature
    own = scaled.diagonal()
    total = sum(
        np.log(np.exp(scaled - scaled.max(axis, keepdims=True)).sum(axis)) + scaled.max(axis)
        for axis in (0, 1)
    )
    return temperature * (own - total / 2)


def batched(image, text, size, *, seed, temperature=0.01):
    """The paper's random batches, by our function: each batch is its own reference."""
    order = np.random.default_rng(seed).permutation(len(image))
    score = np.empty(len(image))
    for batch in np.split(order, np.arange(size, len(image), size)):
        score[batch] = neg_clip_loss(
            image[batch], text[batch], reference_image_RD=image[batch],
            reference_text_RD=text[batch], excluded_N=np.arange(len(batch)),
            temperature=temperature,
        )  # fmt: skip
    return score


@pytest.mark.slow
def test_neg_clip_loss_is_the_formula_in_float64():
    image, text = pairs(4096, 16, seed=0)
    assert batched(image, text, 4096, seed=0) == pytest.approx(direct(image, text, 0.01), abs=1e-6)


@pytest.mark.parametrize("temperature", [0.005, 0.01, 0.07])
def test_random_batches_are_those_of_the_formula(temperature, monkeypatch):
    monkeypatch.setattr(products, "OTHERS", 100)  # some tiles, the last one smaller
    image, text = pairs(1000, 16, seed=0)
    score = batched(image, text, 250, seed=1, temperature=temperature)
    for batch in np.split(np.random.default_rng(1).permutation(1000), 4):
        expected = direct(image[batch], text[batch], temperature)
        assert score[batch] == pytest.approx(expected, abs=1e-6)


def test_a_pair_that_is_no_reference_is_scored_in_the_batch_with_itself():
    image, text = pairs(300, 16, seed=2)
    reference = np.arange(64)
    excluded = np.where(np.arange(300) < 63, np.arange(300), 63)
    score = neg_clip_loss(
        image, text, reference_image_RD=image[reference], reference_text_RD=text[reference],
        excluded_N=excluded,
    )  # fmt: skip
    for pair in (0, 62, 63, 64, 299):
        others = np.delete(reference, excluded[pair])
        batch = np.append(others, pair)
        assert len(batch) == 64
        assert score[pair] == pytest.approx(direct(image[batch], text[batch], 0.01)[-1], abs=1e-6)


def test_cosines_of_one_do_not_overflow():
    image, _ = pairs(200, 8, seed=3)
    image[100:] = image[:100]
    score = batched(image, image, 200, seed=0, temperature=0.005)
    assert score == pytest.approx(direct(image, image, 0.005), abs=1e-6)
    assert np.isfinite(score).all()


def test_what_a_row_gives_does_not_depend_on_which_rows_it_comes_with():
    image, text = (x.astype(np.float16) for x in pairs(700, 64, seed=4))
    reference = {"reference_image_RD": image[:300], "reference_text_RD": text[:300]}
    excluded = np.minimum(np.arange(700), 299)
    whole = neg_clip_loss(image, text, excluded_N=excluded, **reference)
    sim = normsim_2(image, gram(text)), normsim(image, text, p="inf"), nearest(image, text)
    order = np.random.default_rng(5).permutation(700)
    for some in (order, order[:1], order[:257], order[650:]):
        again = neg_clip_loss(image[some], text[some], excluded_N=excluded[some], **reference)
        assert (again == whole[some]).all()
        assert (normsim_2(image[some], gram(text)) == sim[0][some]).all()
        assert (normsim(image[some], text, p="inf") == sim[1][some]).all()
        assert (nearest(image[some], text) == sim[2][some]).all()


@pytest.mark.parametrize("p", ["2", "inf"])
def test_normsim_is_the_norm_of_the_cosines(p, monkeypatch):
    monkeypatch.setattr(products, "OTHERS", 100)
    image, target = (x.astype(np.float16) for x in pairs(600, 32, seed=6))
    target = target[:333]
    cosine = image.astype(float) @ target.astype(float).T
    expected = np.linalg.norm(cosine, float(p), axis=1)
    assert normsim(image, target, p=p) == pytest.approx(expected, rel=1e-5)
    opposite = -target
    assert normsim(image, opposite, p=p) == pytest.approx(expected, rel=1e-5)


def test_rows_without_an_embedding_have_no_score():
    image, text = pairs(20, 8, seed=7)
    image[3], text[4], image[5, 0], text[6, 1] = 0, 0, np.nan, np.inf
    image = image.astype(np.float16)
    reference = {"reference_image_RD": image[8:], "reference_text_RD": text[8:]}
    score = neg_clip_loss(image, text, excluded_N=np.full(20, 11), **reference)
    assert np.flatnonzero(np.isnan(score)).tolist() == [3, 4, 5, 6]
    for p in ("2", "inf"):
        assert np.flatnonzero(np.isnan(normsim(image, text, p=p))).tolist() == [3, 5]
        assert np.isfinite(normsim(image[8:], image, p=p)).all()  # such targets do not count
    assert np.flatnonzero(nearest(image, text) < 0).tolist() == [3, 5]
    assert not np.isin(nearest(image[8:], image), [3, 5]).any()
    for empty in (image[:0], image[3:4]):
        assert np.isnan(normsim(empty, text, p="2")).all()


def test_dynamic_normsim_leaves_what_most_are_like():
    rng = np.random.default_rng(8)
    many, few = np.eye(6)[rng.choice(3, 200)], np.eye(6)[rng.choice([3, 4, 5], 60)]
    image = unit(np.concatenate([few, many]) + 0.1 * rng.normal(size=(260, 6)))
    kept = normsim_dynamic(image, size=180, steps=20)
    assert len(kept) == 180
    assert (kept >= 60).all()
    assert normsim_dynamic(image, size=260).tolist() == list(range(260))
    gram_kept = image[kept].T @ image[kept]
    once = np.sort(np.argsort(-normsim_2(image, gram(image)), kind="stable")[:180])
    assert normsim_dynamic(image, size=180, steps=1).tolist() == once.tolist()
    out = np.setdiff1d(np.arange(260), kept)
    lowest_in, highest_out = (f(normsim_2(image[x], gram_kept)) for f, x in
                              ((np.min, kept), (np.max, out)))  # fmt: skip
    assert highest_out < lowest_in * 1.2
    with pytest.raises(ValueError, match="normsim: got size 261 and 500 steps for 260 pictures"):
        normsim_dynamic(image, size=261)


def test_nearest_is_the_largest_product_with_centroids_as_they_are(monkeypatch):
    monkeypatch.setattr(products, "OTHERS", 7)
    rng = np.random.default_rng(9)
    image, centroid = rng.normal(size=(500, 4)), rng.normal(size=(40, 4)) * rng.random((40, 1)) * 3
    centroid[33] = centroid[2]  # of equals the first counts
    found = nearest(image, centroid)
    products_NK = image.astype(np.float32) @ centroid.astype(np.float32).T
    assert found.tolist() == products_NK.argmax(axis=1).tolist()
    by_distance = ((image[:, None] - centroid) ** 2).sum(2).argmin(1)
    assert (found != by_distance).any()
    assert np.flatnonzero(wanted(image[:9], centroid)).tolist() == sorted(set(found[:9].tolist()))


def ranks(x):
    return np.argsort(np.argsort(x)).astype(float)


@pytest.mark.slow
def test_common_references_rank_pairs_as_random_batches_do():
    image, text = pairs(1024, 16, seed=10)
    paper = np.mean([batched(image, text, 128, seed=s) for s in range(5)], axis=0)
    rng = np.random.default_rng(11)
    ours = []
    for _ in range(5):
        chosen = rng.permutation(1024)[:128]
        excluded = np.full(1024, 127)
        excluded[chosen] = np.arange(128)
        ours.append(
            neg_clip_loss(
                image, text, reference_image_RD=image[chosen], reference_text_RD=text[chosen],
                excluded_N=excluded,
            )
        )  # fmt: skip
    ours = np.mean(ours, axis=0)
    again = np.mean([batched(image, text, 128, seed=s) for s in range(90, 95)], axis=0)
    noise = np.corrcoef(ranks(paper), ranks(again))[0, 1]
    assert np.corrcoef(ranks(paper), ranks(ours))[0, 1] > noise - 0.005
    cosine = (image * text).sum(axis=1)
    assert np.corrcoef(ranks(paper), ranks(cosine))[0, 1] < noise - 0.005
