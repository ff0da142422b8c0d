"""The alignment score finds swapped captions of planted concepts, and never scores what it saw."""

import numpy as np
import pytest

from training.alignment import Alignment, folds_by_picture

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


def test_swapped_captions_score_below_true_ones():
    image, text, swapped, clean = planted()
    score = SMALL.fit(image, text, views={}, seed=0)["alignment"]
    assert score.dtype == np.float32
    assert np.abs(score).max() <= 1 + 1e-6
    auc = np.mean(score[clean][:, None] > score[swapped][None, :])
    assert auc > 0.9


def test_the_same_seed_gives_the_same_bits():
    image, text, _, _ = planted(pairs=100)
    one, two, other = (SMALL.fit(image, text, views={}, seed=s)["alignment"] for s in (0, 0, 1))
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != other.tobytes()


def test_a_pair_s_score_does_not_depend_on_its_own_caption_in_training():
    """A wrong caption met by one pair alone cannot have been learned by heart."""
    rng = np.random.default_rng(0)
    image, text, _, _ = planted(pairs=300)
    text[7] = rng.normal(size=text.shape[1]).astype(np.float16)
    score = SMALL.fit(image, text, views={}, seed=0)["alignment"]
    assert score[7] < np.quantile(score, 0.35)


def test_copies_of_a_picture_share_a_fold():
    image = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float16)
    image[10:20] = image[:10]
    fold = folds_by_picture(image, folds=5)
    assert (fold[10:20] == fold[:10]).all()
    assert np.bincount(fold[:10], minlength=5).max() <= 5


def test_too_small_a_pool_is_refused():
    few = np.ones((5, 4), np.float16)
    with pytest.raises(ValueError, match="got 5 usable pairs, expected at least 6"):
        SMALL.fit(few, few, views={}, seed=0)["alignment"]


def test_pictures_that_are_all_alike_are_refused():
    same = np.ones((20, 4), np.float16)
    with pytest.raises(ValueError, match="all alike"):
        SMALL.fit(same, same, views={}, seed=0)["alignment"]


@pytest.mark.parametrize("setting", ["dim", "folds", "epochs", "batch_size"])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=f"alignment.{setting}: got 0"):
        Alignment(**{setting: 0})


def test_a_view_is_scored_by_the_models_that_score_the_picture():
    image, text, _, _ = planted(pairs=200)
    masked = image.copy()
    masked[3] = 0  # no such view of this pair
    masked[4] = image[5]  # it looks like another picture
    views = {"masked_embedding": masked, "flipped_embedding": image}
    found = SMALL.fit(image, text, views=views, seed=0)
    assert list(found) == ["alignment", "alignment_masked", "alignment_flipped"]
    assert found["alignment"].tobytes() == found["alignment_flipped"].tobytes()
    assert np.flatnonzero(np.isnan(found["alignment_masked"])).tolist() == [3]
    differs = np.abs(found["alignment"] - found["alignment_masked"]) > 1e-5
    assert np.flatnonzero(differs).tolist() == [4]
    alone = SMALL.fit(image, text, views={}, seed=0)
    assert alone["alignment"].tobytes() == found["alignment"].tobytes()
