"""Alignment and consensus over stored columns: the same bytes however the pool is cut."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from filters.concepts import Consensus
from filters.extract import Column
from pipeline.columns.draw import draw
from pipeline.columns.remaining import Remaining
from pipeline.columns.stages import Place
from pipeline.executors import run_local
from pipeline.executors.local import Local
from pipeline.folder import Folder
from pipeline.health import verify
from pipeline.ledger import Ledger
from pipeline.relating.relate import relate
from pipeline.relating.relation import FITTED
from tests.scored import Planted, scored
from training.alignment.fit import Alignment

COLUMNS = (
    Column("image_embedding", "embedding", "", "", "", 12),
    Column("text_embedding", "embedding", "", "", "", 8),
    Column("flipped_embedding", "embedding", "", "", "", 12),
)
ALIGNMENT = Alignment(dim=8, folds=2, epochs=2, batch_size=32)
CONSENSUS = Consensus(neighbours=4, best=2)
WRITTEN = ("alignment", "alignment_flipped", "consensus")
NO_IMAGE, NAN_IMAGE, NO_TEXT, NO_FLIP = 20, 21, 22, 23  # rows


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def planted(rows=200):
    """Return pairs of six concepts, some of them odd."""
    rng = np.random.default_rng(0)
    concept = rng.integers(6, size=rows)
    image = unit(np.eye(6, 12)[concept] + rng.normal(size=(rows, 12), scale=0.2))
    text = unit(np.eye(6, 8)[concept] + rng.normal(size=(rows, 8), scale=0.2))
    flipped = unit(image + rng.normal(size=(rows, 12), scale=0.1))
    uids = [hashlib.md5(rng.bytes(8)).digest() for _ in range(rows)]
    is_ok = np.arange(rows) % 10 != 7
    if rows > 30:
        image[NO_IMAGE], image[NAN_IMAGE, 3], text[NO_TEXT], flipped[NO_FLIP] = 0, np.nan, 0, 0
        image[40:60] = image[40]  # copies
        uids[11] = uids[12] = uids[13]  # of different contents
    values = dict(zip((c.name for c in COLUMNS), (image, text, flipped), strict=True))
    return Planted(uids=uids, is_ok=is_ok, is_good=is_ok, values=values)


class Watched(Local):
    """Remembers what it is asked for."""

    def __init__(self):
        self.asked = []

    def map(self, function, shared, items, *, weights):
        self.asked.append(function.__name__)
        return super().map(function, shared, items, weights=weights)


def related(
    home, pool, *, shards=3, order=None, relations=(ALIGNMENT, CONSENSUS), execute=run_local
):
    """Return scores with the columns of relations."""
    scores, listed = scored(home, pool, shards=shards, order=order, columns=COLUMNS)
    for relation in relations:
        place = Place(listed, Folder(str(home)), execute)
        scores = relate(scores, relation, place=place, seed=5)
    return scores


def digest(*vectors):
    """Return what decides between pairs of one uid."""
    data = b"".join(each.tobytes() for each in vectors)
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def by_row(scores, column, pool):
    """Return a column of good rows in the order of the pool, NaN for the others."""
    found = np.full(len(pool.uids), np.nan, np.float32)
    for shard in range(len(scores)):
        table = scores.good(shard, ["key", column])
        found[[int(key) for key in table.column("key").to_pylist()]] = table.column(
            column
        ).to_numpy()
    return found


@pytest.fixture(scope="module")
def pool():
    return planted()


@pytest.fixture
def small_groups(monkeypatch):
    """Have clusters of 40, some of them cut, in several partitions."""
    monkeypatch.setattr("filters.concepts.consensus.CLUSTER_SIZE", 40)
    monkeypatch.setattr("filters.concepts.consensus.LARGEST", 30)
    monkeypatch.setattr("pipeline.columns.shuffle.PARTITION_BYTES", 4000)


@pytest.mark.parametrize("sample", [1000, 70])
def test_cut_and_order_of_the_pool_change_no_bit(pool, tmp_path, small_groups, sample):
    relations = (replace(ALIGNMENT, sample=sample), replace(CONSENSUS, sample=sample))
    found = []
    for shards in (1, 2, 7, 40):
        order = np.random.default_rng(shards).permutation(len(pool.uids))
        if shards == 40:  # some without a good pair
            order = order[np.argsort(pool.is_ok[order], kind="stable")]
        home = tmp_path / str(shards)
        scores = related(home, pool, shards=shards, order=order, relations=relations)
        found.append([by_row(scores, column, pool).tobytes() for column in WRITTEN])
        assert not Folder(str(home / "scratch")).files()
    assert found[0] == found[1] == found[2] == found[3]


def test_alignment_of_a_small_pool_is_fitted_on_all_of_it_in_order_of_uid(pool, tmp_path):
    scores = related(tmp_path, pool, relations=[ALIGNMENT])
    image, text, flipped = pool.values.values()
    usable = pool.is_ok & image.any(1) & np.isfinite(image).all(1) & text.any(1)
    order = sorted(np.flatnonzero(usable), key=lambda i: (pool.uids[i], digest(image[i], text[i])))
    truth = ALIGNMENT.fit(image[order], text[order], seed=5)
    truth = truth.score(
        {"alignment": image[order], "alignment_flipped": flipped[order]}, text[order]
    )
    for column in ("alignment", "alignment_flipped"):
        assert by_row(scores, column, pool)[order].tobytes() == truth[column].tobytes()
    found = by_row(scores, "alignment", pool)
    assert np.isnan(found[[NO_IMAGE, NAN_IMAGE, NO_TEXT]]).all()
    assert np.isfinite(found[usable]).all()
    assert np.isnan(by_row(scores, "alignment_flipped", pool)[NO_FLIP])


def test_consensus_of_a_small_pool_is_that_of_its_pairs_together(pool, tmp_path):
    found = by_row(related(tmp_path, pool, relations=[CONSENSUS]), "consensus", pool)
    image, text, _ = pool.values.values()
    usable = pool.is_ok & image.any(1) & np.isfinite(image).all(1) & text.any(1)
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort([pool.uids[i] for i in rows], kind="stable")]
    assert found[rows] == pytest.approx(CONSENSUS.agreement(image[rows], text[rows]), abs=1e-6)
    assert np.isnan(found[~usable]).all()


def test_pairs_that_are_alone_have_no_consensus(pool, tmp_path, small_groups, monkeypatch):
    monkeypatch.setattr("filters.concepts.consensus.LARGEST", 2)
    found = by_row(related(tmp_path, pool, relations=[CONSENSUS]), "consensus", pool)
    alone = np.isnan(found[pool.is_ok]).sum()
    assert 4 < alone < 120
    one = planted(1)
    assert np.isnan(
        by_row(related(tmp_path / "1", one, relations=[CONSENSUS], shards=1), "consensus", one)
    ).all()


def test_what_is_done_is_not_done_again(pool, tmp_path):
    first, second = Watched(), Watched()
    scores = related(tmp_path, pool, execute=first)
    assert "_fill_some" in first.asked
    again = related(tmp_path, pool, execute=second)
    assert second.asked == []
    assert again.dump() == scores.dump()
    assert list(verify(Folder(str(tmp_path)))) == []


class Overtaken(Watched):
    """Another run of the same pool does it all while this one has sent rows to others."""

    def __init__(self, other):
        super().__init__()
        self.other = other

    def map(self, function, shared, items, *, weights):
        for found in super().map(function, shared, items, weights=weights):
            if function.__name__ == "_send":
                self.other()
            yield found


def test_two_runs_may_be_at_one_store(pool, tmp_path, small_groups):
    alone = related(tmp_path / "alone", pool)
    execute = Overtaken(lambda: related(tmp_path / "both", pool))
    both = related(tmp_path / "both", pool, execute=execute)
    assert "_fill_some" in execute.asked
    for column in WRITTEN:
        assert by_row(both, column, pool).tobytes() == by_row(alone, column, pool).tobytes()
    assert not Folder(str(tmp_path / "both" / "scratch")).files()


def test_a_run_that_goes_on_fits_nothing_anew(pool, tmp_path):
    scores = related(tmp_path, pool)
    tables = {p: p.read_bytes() for p in (tmp_path / "scores").glob("[ac]*/*")}
    assert sum(p.name == FITTED for p in tables) == 2
    ledger = Ledger(Folder(str(tmp_path)))
    lost = [r for r in ledger.records() if r.shard == scores.ids[1]]
    for record in lost:
        (tmp_path / "scores" / record.stage / f"{record.shard}.parquet").unlink()
    ledger.strike(lost)
    second = Watched()
    again = related(tmp_path, pool, execute=second)
    assert not {"_count_some", "_take", "_numbered"} & set(second.asked)
    assert again.dump() == scores.dump()
    assert {p: p.read_bytes() for p in (tmp_path / "scores").glob("[ac]*/*")} == tables


def test_what_was_fitted_and_is_damaged_is_told(pool, tmp_path):
    related(tmp_path, pool, relations=[ALIGNMENT])
    (fitted,) = (tmp_path / "scores").glob(f"*/{FITTED}")
    fitted.write_bytes(b"nonsense")
    ledger = Ledger(Folder(str(tmp_path)))
    ledger.strike(list(ledger.records()))
    with pytest.raises(ValueError, match=rf"{FITTED}, expected.*delete it"):
        related(tmp_path, pool, relations=[ALIGNMENT])


def test_a_pool_that_is_too_small_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got 3 usable pairs, expected at least 4"):
        related(tmp_path, planted(3), relations=[ALIGNMENT], shards=1)


@pytest.mark.parametrize("relation", [ALIGNMENT, CONSENSUS])
def test_a_pool_without_a_pair_is_refused(tmp_path, relation):
    pool = planted(4)
    pool.is_ok[:] = False
    with pytest.raises(ValueError, match=f"{relation.column.name}: got no readable pair"):
        related(tmp_path / "bad", pool, relations=[relation])
    pool.is_ok[:] = True
    pool.values["image_embedding"][:] = 0
    with pytest.raises(
        ValueError, match=f"{relation.column.name}: got no readable pair with image"
    ):
        related(tmp_path / "zeros", pool, relations=[relation])


def test_settings_and_seed_name_the_stage(pool, tmp_path):
    scores, listed = scored(tmp_path, pool, shards=2, columns=COLUMNS)
    place = Place(listed, Folder(str(tmp_path)), run_local)
    for relation, seed in (
        (CONSENSUS, 0), (CONSENSUS, 1), (replace(CONSENSUS, sample=9), 0), (CONSENSUS, 0),
    ):  # fmt: skip
        relate(scores, relation, place=place, seed=seed)
    assert len(list((tmp_path / "scores").glob("consensus-*"))) == 3


def test_a_sample_has_the_lowest_hashes_in_order_of_uid(pool, tmp_path):
    flipped = pool.values["flipped_embedding"]
    uid_of = {row.tobytes(): uid for row, uid in zip(flipped, pool.uids, strict=True)}
    everybody = {uid_of[row.tobytes()] for row in flipped[pool.is_ok & flipped.any(axis=1)]}
    drawn = {}
    for most, seed in ((20, 0), (60, 0), (60, 1), (1000, 0)):
        scores, _ = scored(tmp_path / f"{most}-{seed}", pool, shards=most % 7 + 1, columns=COLUMNS)
        found = draw(
            Remaining(scores), ["flipped_embedding"], most=most, seed=seed, execute=run_local
        )
        assert found.pairs == pool.is_ok.sum()
        uids = [uid_of[row.tobytes()] for row in found.embeddings["flipped_embedding"]]
        assert uids == sorted(uids)
        assert most / 2 < len(uids) <= most or most == 1000
        drawn[most, seed] = set(uids)
    assert drawn[20, 0] < drawn[60, 0] < drawn[1000, 0] == everybody
    assert drawn[60, 0] != drawn[60, 1]
