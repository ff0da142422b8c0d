"""Derived columns: the same everywhere, done once, whole after a killed worker."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from filters.derive import Counts, merge
from filters.extract.caption import CaptionStatistics
from pipeline.derive import derive
from pipeline.executors import run_local, run_on_ray
from pipeline.executors.cluster import connected
from pipeline.folder import Folder
from pipeline.health import verify
from pipeline.shards import find_shards, write_shard
from tests.derived import Rarity, times
from tests.integration.engine import captioned, score, tables
from tests.toy import pair

SHARDS = 40  # three tasks


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions")
    for shard in range(SHARDS):
        captioned(
            folder / f"{shard:02d}.tar", [" ".join("a" * (1 + (shard + i) % 7)) for i in (0, 3)]
        )
    write_shard(
        folder / "bad.tar",
        pair("bad", image=b"no picture", caption="six words that must not count"),
    )
    return folder


def derived(pool, out, what, execute=run_local):
    scores = score(pool, out, CaptionStatistics())
    return derive(
        scores, what, shards=find_shards([str(pool)]), store=Folder(str(out)), weights=Path,
        execute=execute,
    )  # fmt: skip


def numbers(scores, column):
    return np.concatenate(list(scores.numbers(column)))


def test_counts_are_those_of_the_whole_pool(pool, tmp_path):
    scores = derived(pool, tmp_path, Rarity())
    words = numbers(scores, "caption_words").tolist()
    how_often = Counter(words)
    assert numbers(scores, "rarity").tolist() == [how_often[w] for w in words]
    assert len(words) == 2 * SHARDS + 1
    assert list(verify(Folder(str(tmp_path)))) == []


def test_what_is_done_is_not_done_again(pool, tmp_path):
    derived(pool, tmp_path, Rarity())
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet") if "rarity" in str(p)}
    assert len(before) == SHARDS + 1
    derived(pool, tmp_path, Rarity())
    assert {p: p.stat().st_mtime_ns for p in before} == before


@pytest.mark.slow
def test_ray_gives_the_bytes_of_the_loop_though_a_worker_dies(pool, tmp_path):
    trap = tmp_path / "trap"
    with connected("local"):
        products = run_on_ray("local").map(
            times, 3, range(100), weights={}
        )  # more than fit at once
        assert sorted(products) == list(range(0, 300, 3))
        trap.touch()
        ours = derived(pool, tmp_path / "ray", Rarity(kills=str(trap)), run_on_ray("local"))
    assert not trap.exists()
    assert ours.columns[-1] == "rarity"
    derived(pool, tmp_path / "loop", Rarity(kills=str(trap)))
    named = lambda out: {Path(k).name: v for k, v in tables(out).items() if "rarity" in k}  # noqa: E731
    assert len(named(tmp_path / "loop")) == SHARDS + 1
    assert named(tmp_path / "ray") == named(tmp_path / "loop")


def test_counts_add_up_in_any_order():
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 50, 1000).astype(np.uint64) << np.uint64(50)
    whole = Counts.of(keys)
    for cuts in ([500], [1, 2, 700], []):
        parts = [Counts.of(part) for part in np.split(rng.permutation(keys), cuts)]
        added = merge(parts)
        assert added.key_K.tolist() == whole.key_K.tolist()
        assert added.count_K.tolist() == whole.count_K.tolist()
    assert whole[np.array([keys[0], 7], np.uint64)].tolist() == [int((keys == keys[0]).sum()), 0]
    assert merge([])[keys[:3]].tolist() == [0, 0, 0]


@dataclass(frozen=True, kw_only=True, slots=True)
class TooMany(Rarity):
    def load(self, weights, counts):
        del weights, counts
        return lambda columns: {"rarity": [1] * (len(columns["caption_words"]) + 1)}


def test_what_gives_no_value_a_pair_is_told_with_its_shard(pool, tmp_path):
    with pytest.raises(ValueError, match=r"derive rarity: got .*rarity: got 3 values.*00\.tar"):
        derived(pool, tmp_path, TooMany())
    scores = derived(pool, tmp_path, Rarity())
    assert len(numbers(scores, "rarity")) == 2 * SHARDS + 1
