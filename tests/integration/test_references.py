"""negCLIPLoss over a pool: the same however it is cut, ordered and mapped."""

import numpy as np
import pytest

from filters.derive import NegClipLoss
from filters.hashing import uniform
from pipeline.derive import derive
from pipeline.executors import run_local
from pipeline.folder import Folder
from pipeline.tables import numbers, uid_words, uids
from tests.scored import planted, scored

WHAT = NegClipLoss(image="image_embedding", text="image_embedding", batch=24, repetitions=3)


class Backwards(type(run_local)):
    """Ends its tasks in the wrong order."""

    def map(self, function, shared, items, *, weights):
        found = list(super().map(function, shared, items, weights=weights))
        yield from reversed(found)


def by_uid(home, pool, what=WHAT, execute=run_local, **cut):
    scores, shards = scored(home, pool, **cut)
    scores = derive(
        scores, what, shards=shards, store=Folder(str(home)), weights=str, execute=execute
    )
    found = {}
    for shard in range(len(scores)):
        table = scores.good(shard, ["uid", what.name])
        found.update(zip(uids(table), numbers(table, what.name, np.float32), strict=True))
    return found


@pytest.fixture(scope="module")
def pool():
    return planted(600)


@pytest.mark.slow
def test_every_cut_of_a_pool_gives_the_same_bits(tmp_path, pool):
    whole = by_uid(tmp_path / "one", pool, shards=1)
    assert len(whole) == pool.is_ok.sum()
    order = np.random.default_rng(0).permutation(600)
    # More than four tasks are several rounds.
    assert by_uid(tmp_path / "few", pool, shards=7, order=order) == whole
    last = by_uid(tmp_path / "many", pool, execute=Backwards(), shards=70, order=order[::-1])
    assert last == whole


def test_references_are_the_lowest_draws_of_the_whole_pool(tmp_path, pool):
    found = by_uid(tmp_path, pool, shards=40)
    ok = np.flatnonzero(pool.is_ok)
    uid_N = np.array(pool.uids, "S16")[ok]
    vectors = pool.values["image_embedding"][ok].astype(float)
    expected = np.zeros(len(ok))
    for k in range(3):
        drawn = uniform(uid_words(uid_N), salt=f"neg_clip_loss {k}:0")
        order = np.argsort(drawn)
        for at in range(len(ok)):
            batch = [*[i for i in order[:24] if i != at][:23], at]
            cosine = vectors[batch] @ vectors[at]
            expected[at] += cosine[-1] - 0.01 * np.log(np.exp(cosine / 0.01).sum())
    ours = np.array([found[uid] for uid in uid_N])
    assert ours == pytest.approx(expected / 3, abs=1e-6)


def test_a_uid_that_is_there_twice_leaves_no_doubt(tmp_path):
    pool = planted(200)
    pool.uids[100:] = pool.uids[:100]
    first = by_uid(tmp_path / "a", pool, shards=30, order=np.arange(200))
    # Of one uid the last row read counts here, so the same rows have to come last.
    second = by_uid(tmp_path / "b", pool, shards=1)
    assert first == second
