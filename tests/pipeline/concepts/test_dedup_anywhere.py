"""Where copies are looked for, who does what again, and in which order, changes no byte."""

import numpy as np
import pytest

from filters.concepts.clustering import Flat
from pipeline.concepts import comparison
from pipeline.concepts.copies import drop_copies
from pipeline.concepts.dedup import drop_alike
from pipeline.executors import run_local, run_on_ray, tasks
from pipeline.executors.local import Local
from pipeline.settings import Dedup
from tests.pipeline.concepts.pools import pool_of, tables, told, written

ROWS, SHARDS = 300, 5
KINDS = ("copies", "alike", "dedup")


class Again(Local):
    """Does everything twice, the last first, as if each task's worker had died at its end."""

    def map(self, function, shared, items, *, weights):
        for item in reversed(items):
            function(shared, weights, item)
            yield function(shared, weights, item)


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(ROWS, 8))
    vectors[100:] = vectors[rng.integers(0, 100, 200)] + 0.1 * rng.normal(size=(200, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return pool_of({
        "image_embedding": vectors.astype(np.float16),
        "phash": rng.choice(rng.integers(0, 2**64, 250, np.uint64), ROWS),
        "content": rng.integers(0, 1000, ROWS).astype(np.uint64),
        "p_keep": rng.integers(0, 50, ROWS) / 50,
    })  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def several_tasks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "FEW", 3)
        patch.setattr(comparison, "SMALL_BYTES", 1)
        yield


def done(home, pool, execute):
    cfg = Dedup(copy_bits=2, similarity=0.95, cluster=Flat(clusters=5, sample=ROWS))
    remaining, place = written(home, pool, shards=SHARDS, execute=execute)
    after = drop_copies(remaining, cfg, seed=1, place=place)
    return drop_alike(after, cfg, seed=1, place=place)


@pytest.fixture(scope="module")
def by_loop(pool, tmp_path_factory):
    home = tmp_path_factory.mktemp("loop")
    after = done(home, pool, run_local)
    reasons = [reason for (reason,) in told(after, "reason_dedup").values()]
    copies = [reason for (reason,) in told(after, "reason_copies").values()]
    assert 20 < copies.count("duplicate") < reasons.count("duplicate") < len(reasons) - 20
    return {kind: tables(home, kind) for kind in KINDS}


def test_what_is_done_again_is_the_same(pool, tmp_path, by_loop):
    done(tmp_path, pool, Again())
    assert {kind: tables(tmp_path, kind) for kind in KINDS} == by_loop


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
def test_ray_gives_the_bytes_of_the_loop(ray_data, pool, tmp_path, by_loop):
    done(tmp_path, pool, run_on_ray("local"))
    assert {kind: tables(tmp_path, kind) for kind in KINDS} == by_loop
