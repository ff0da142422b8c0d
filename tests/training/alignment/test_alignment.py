"""The alignment score finds swapped captions of planted concepts, and never scores what it saw."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits

from training.alignment.fit import Alignment
from training.alignment.projections import Projections, Tower
from training.losses.sigmoid import siglip_init, siglip_loss

SMALL = Alignment(dim=16, folds=3, epochs=30, batch_size=64, lr=3e-3)


def planted(*, pairs=600, concepts=12, seed=0):
    rng = np.random.default_rng(seed)
    concept = rng.integers(concepts, size=pairs)
    image = rng.normal(size=(concepts, 40))[concept] + rng.normal(size=(pairs, 40), scale=0.4)
    text = rng.normal(size=(concepts, 24))[concept] + rng.normal(size=(pairs, 24), scale=0.4)
    swapped = rng.choice(pairs, pairs // 10, replace=False)
    text[swapped] = text[np.roll(swapped, 1)]
    wrong = concept[swapped] != concept[np.roll(swapped, 1)]
    unit = lambda x: (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16)  # noqa: E731
    return unit(image), unit(text), swapped[wrong], np.setdiff1d(np.arange(pairs), swapped)


def scores(image, text, *, views=None, seed=0, cfg=SMALL):
    return cfg.fit(image, text, seed=seed).score({"picture": image, **(views or {})}, text)


def in_memory(cfg, image, text, *, seed):
    """Fit and score a whole pool at once: what cross-fitting says, in as few lines as it takes."""
    _, picture = np.unique([row.tobytes() for row in image], return_inverse=True)
    fold, score = picture % cfg.folds, np.empty(len(image), np.float32)
    x, y = (torch.from_numpy(each).float() for each in (image, text))
    x, y = (
        (z - z.mean(0)) / (z.std(0, correction=0).clamp_min(1e-6) * z.shape[1] ** 0.5)
        for z in (x, y)
    )
    for held in range(cfg.folds):
        generator = torch.Generator().manual_seed(seed + held)
        start = [
            torch.randn(z.shape[1], cfg.dim, generator=generator) / z.shape[1] ** 0.5
            for z in (x, y)
        ]
        a, b, scale, bias = (
            each.requires_grad_()
            for each in (*start, *map(torch.tensor, siglip_init(cfg.batch_size)))
        )
        optimiser = torch.optim.AdamW([a, b, scale, bias], lr=cfg.lr, weight_decay=cfg.weight_decay)
        u, v = x[fold != held], y[fold != held]
        batches = -(-len(u) // cfg.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, cfg.epochs * batches)
        for _ in range(cfg.epochs):
            for rows in torch.randperm(len(u), generator=generator).chunk(batches):
                p, q = (
                    z[rows] * (torch.rand(z[rows].shape, generator=generator) >= cfg.dropout)
                    / (1 - cfg.dropout) for z in (u, v)
                )  # fmt: skip
                p, q = F.normalize(p @ a, dim=1), F.normalize(q @ b, dim=1)
                optimiser.zero_grad()
                siglip_loss(p, q, scale=scale.exp(), bias=bias).backward()
                optimiser.step()
                schedule.step()
        with torch.inference_mode():
            seen = torch.from_numpy(fold == held)
            score[seen] = F.cosine_similarity(x[seen] @ a, y[seen] @ b)
    return score


def test_the_pool_that_was_fitted_on_is_cross_fitted():
    image, text, _, _ = planted(pairs=200)
    image[50:60] = image[:10]
    image[:, 7] = 0.25  # says nothing
    with threadpool_limits(1):
        truth = in_memory(SMALL, image, text, seed=3)
    assert scores(image, text, seed=3)["picture"] == pytest.approx(truth, abs=1e-4)


def test_swapped_captions_score_below_true_ones():
    image, text, swapped, clean = planted()
    score = scores(image, text)["picture"]
    assert score.dtype == np.float32
    assert np.abs(score).max() <= 1 + 1e-6
    auc = np.mean(score[clean][:, None] > score[swapped][None, :])
    assert auc > 0.9


def test_the_same_seed_gives_the_same_bits():
    image, text, _, _ = planted(pairs=100)
    one, two, other = (scores(image, text, seed=s)["picture"] for s in (0, 0, 1))
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != other.tobytes()


def test_a_pair_s_score_does_not_depend_on_its_own_caption_in_training():
    """A wrong caption met by one pair alone cannot have been learned by heart."""
    rng = np.random.default_rng(0)
    image, text, _, _ = planted(pairs=300)
    text[7] = rng.normal(size=text.shape[1]).astype(np.float16)
    score = scores(image, text)["picture"]
    assert score[7] < np.quantile(score, 0.35)


def test_copies_of_a_picture_share_a_fold_and_the_unknown_are_dealt_out():
    image, text, _, _ = planted(pairs=60)
    image[10:20] = image[:10]
    fitted = SMALL.fit(image[:50], text[:50], seed=0)
    fold = fitted.folds(image[:50])
    assert (fold[10:20] == fold[:10]).all()
    assert np.bincount(fold[10:]).tolist() == [14, 13, 13]  # 40 pictures, three folds
    others = np.random.default_rng(0).normal(size=(900, 40)).astype(np.float16)
    assert np.bincount(fitted.folds(others), minlength=3).min() > 250
    mixed = np.concatenate([others[:5], image[10:20]])
    assert fitted.folds(mixed).tolist() == [*fitted.folds(others[:5]), *fold[:10]]


def test_pairs_that_were_not_fitted_on_are_told_apart_as_well():
    image, text, swapped, clean = planted(pairs=900)
    score = SMALL.fit(image[:300], text[:300], seed=0).score({"picture": image}, text)["picture"]
    new, wrong = clean[clean >= 300], swapped[swapped >= 300]
    assert np.mean(score[new][:, None] > score[wrong][None, :]) > 0.9


def test_a_score_depends_on_its_row_alone_to_the_bit():
    image, text, _, _ = planted(pairs=300)
    fitted = SMALL.fit(image, text, seed=0)
    whole = fitted.score({"picture": image}, text)["picture"]
    order = np.random.default_rng(0).permutation(300)
    for rows in [*np.array_split(order, 7), *([i] for i in order[:20])]:
        cut = fitted.score({"picture": image[rows]}, text[rows])["picture"]
        assert cut.tobytes() == whole[rows].tobytes()
    again = Projections.from_arrays(fitted.to_arrays()).score({"picture": image}, text)
    assert again["picture"].tobytes() == whole.tobytes()


@pytest.mark.parametrize("strength", [1e-5, 1.0, 1e5])
def test_projections_add_up_without_rounding(strength):
    from fractions import Fraction

    rng = np.random.default_rng(0)
    head = (rng.normal(size=(1, 40, 3)) * strength).astype(np.float32)
    mean, scale = rng.normal(size=40).astype(np.float32), np.ones(40, np.float32)
    tower = Tower.of(head, mean_D=mean, scale_D=scale)
    assert tower.weight_FDK == pytest.approx(head, abs=2e-7 * strength)
    image, _, _, _ = planted(pairs=20)
    sums = image.astype(np.float64) @ tower.weight_FDK[0]
    for i, k in ((0, 0), (7, 1), (19, 2)):
        exact = sum(
            Fraction(float(x)) * Fraction(float(w))
            for x, w in zip(image[i], tower.weight_FDK[0, :, k], strict=True)
        )
        assert exact == Fraction(float(sums[i, k]))


def test_what_is_missing_is_not_scored():
    image, text, _, _ = planted(pairs=100)
    fitted = SMALL.fit(image, text, seed=0)
    image[3], image[4, 0], text[5], text[6, 1] = 0, np.nan, 0, np.inf
    found = fitted.score({"picture": image, "none": np.zeros_like(image)}, text)
    assert np.flatnonzero(np.isnan(found["picture"])).tolist() == [3, 4, 5, 6]
    assert np.isnan(found["none"]).all()


def test_too_small_a_pool_is_refused():
    few = np.ones((5, 4), np.float16)
    with pytest.raises(ValueError, match="got 5 usable pairs, expected at least 6"):
        SMALL.fit(few, few, seed=0)


def test_pictures_that_are_all_alike_are_refused():
    same = np.ones((20, 4), np.float16)
    with pytest.raises(ValueError, match=r"all alike \(1 different ones\)"):
        SMALL.fit(same, same, seed=0)


@pytest.mark.parametrize("setting", ["dim", "folds", "epochs", "batch_size", "sample"])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=f"alignment.{setting}: got 0"):
        Alignment(**{setting: 0})


def test_a_view_is_scored_by_the_models_that_score_the_picture():
    image, text, _, _ = planted(pairs=200)
    masked = image.copy()
    masked[3] = 0  # no such view of this pair
    masked[4] = image[5]  # it looks like another picture
    found = scores(image, text, views={"masked": masked, "flipped": image})
    assert list(found) == ["picture", "masked", "flipped"]
    assert found["picture"].tobytes() == found["flipped"].tobytes()
    assert np.flatnonzero(np.isnan(found["masked"])).tolist() == [3]
    differs = np.abs(found["picture"] - found["masked"]) > 1e-5
    assert np.flatnonzero(differs).tolist() == [4]


def test_settings_come_without_torch():
    """Else every command, `--help` too, would take twice as long to start."""
    code = "import sys, thresher; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
