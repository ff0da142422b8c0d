"""The end model over stored columns: a sample of the pool, the same bytes however it is cut."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit
from scipy.stats import spearmanr

from filters.ensemble import fit_label_model
from filters.ensemble.end_model import EndModelSettings, load_end_model
from filters.extract import Column
from filters.rules import Band
from pipeline.end_model import Known, fit_on_columns
from pipeline.executors import run_local
from pipeline.schema import BASE_SCHEMA
from pipeline.scores import Scores, Source
from pipeline.tables import array_of, encode, score_schema

COLUMNS = (
    Column("alignment", "float32", "", "", "number"),
    Column("count", "int32", "", "", "number"),
    Column("vector", "embedding", "", "", "vector", 3),
    Column("language", "string", "", "", "text"),
)
SETTINGS = EndModelSettings(columns=("vector", "alignment", "count"), rows=400, l2=1e-3, most=1.0)


@dataclass(frozen=True)
class Ballots:
    """Votes that are held in memory."""

    by_shard: tuple
    rules: tuple = tuple(
        Band(name=n, column="alignment", keep=0.0, drop=-1.0, veto=n == "hard")
        for n in ("first", "second", "hard")
    )

    def of(self, shard):
        return self.by_shard[shard]


@pytest.fixture(scope="module")
def pool():
    """Return 1,000 rows by uid; the 50th has no value, each 7th no vote, the last is bad."""
    rng = np.random.default_rng(0)
    uids = sorted(rng.bytes(15) + b"\0" for _ in range(1000))  # a zero at the end is no padding
    rows = []
    for i, uid in enumerate(uids):
        vector, number = rng.normal(size=3).astype(np.float16), float(np.float32(rng.normal()))
        p = expit(2 * number + float(vector[0]))
        votes = [int(rng.random() < p), int(rng.random() < p), -1]
        row = {"uid": uid, "alignment": number, "count": i % 5, "vector": vector, "status": "ok"}
        if i == 50:
            row |= {"alignment": None, "count": None, "vector": None}
        rows.append(row | {"p": p, "votes": [-1] * 3 if i % 7 == 0 else votes, "language": "en"})
    rows[-1] |= {"status": "decode_error", "alignment": None, "vector": None}
    return rows


def known_of(folder, shards, settings):
    """Write shards of rows."""
    folder.mkdir()
    schema, votes = score_schema(COLUMNS), []
    for i, rows in enumerate(shards):
        base = {"key": "", "offset": 0, "size": 0, "caption": ""}
        arrays = [
            pa.array([row.get(f.name, base.get(f.name)) for row in rows], f.type)
            for f in BASE_SCHEMA
        ]
        arrays += [array_of([r[c.name] for r in rows], schema.field(c.name)) for c in COLUMNS]
        data = encode(pa.Table.from_arrays(arrays, schema=schema))
        (folder / f"{i}.parquet").write_bytes(data)
        good = [row["votes"] for row in rows if row["status"] == "ok"]
        votes.append(np.array(good, np.int8).reshape(-1, 3))
    source = Source(str(folder), tuple(c.name for c in COLUMNS), np.ones((len(shards), 32), "u1"))
    ids = tuple(str(i) for i in range(len(shards)))
    model = fit_label_model(np.concatenate(votes), model="majority", prior=0.5)
    return Known(Scores(ids, ids, (source,)), Ballots(tuple(votes)), model, settings)


def fitted(folder, shards, settings=SETTINGS):
    known = known_of(folder, shards, settings)
    model = fit_on_columns(known, execute=run_local)
    uids = [row["uid"] for rows in shards for row in rows if row["status"] == "ok"]
    p_keep = np.concatenate([known.predict(model, shard) for shard in range(len(known.scores))])
    return model, dict(zip(uids, p_keep.tolist(), strict=True))


def test_cutting_and_shuffling_the_pool_changes_no_bit(pool, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.executors.tasks.FEW", 2)
    one, p_one = fitted(tmp_path / "one", [pool])
    mixed = [pool[i] for i in np.random.default_rng(1).permutation(len(pool))]
    cuts = [mixed[at : at + 50] for at in range(0, len(mixed), 50)]  # 20 shards: two tasks
    many, p_many = fitted(tmp_path / "many", [*cuts, []])
    assert one.to_json() == many.to_json()
    assert load_end_model(many.to_json()) == many
    assert p_one == p_many
    assert one.told["rows"] == SETTINGS.rows


def test_it_learns_where_rules_vote_and_says_something_of_all(pool, tmp_path):
    everybody = replace(SETTINGS, rows=10_000)
    model, p_keep = fitted(tmp_path / "all", [pool], everybody)
    good = [row for row in pool if row["status"] == "ok"]
    silent = [row for row in good if max(row["votes"]) < 0]
    assert model.told["rows"] == len(good) - len(silent)
    assert len(p_keep) == 999
    said = [p_keep[row["uid"]] for row in silent]
    assert spearmanr(said, [row["p"] for row in silent]).statistic > 0.98
    assert 0 < p_keep[pool[50]["uid"]] < 1  # without any value

    same, p_mixed = fitted(tmp_path / "abstained", [pool], replace(everybody, use="abstained"))
    assert same == model
    for row in good:
        voted = [vote for vote in row["votes"] if vote >= 0]
        expected = np.mean(voted) if voted else p_keep[row["uid"]]
        assert p_mixed[row["uid"]] == expected


def test_a_veto_weighs_against_pairs_that_look_alike(pool, tmp_path):
    vetoed = [
        {**row, "votes": [*row["votes"][:2], 0 if row["vector"][1] > 1 else -1]}
        for row in pool
        if row["vector"] is not None
    ]
    _, p_keep = fitted(tmp_path / "veto", [vetoed])
    alike = [p_keep[row["uid"]] for row in vetoed if row["vector"][1] > 1]
    others = [p_keep[row["uid"]] for row in vetoed if row["vector"][1] < 0]
    assert np.mean(alike) < np.mean(others) - 0.2


def test_texts_and_pools_without_votes_are_refused(pool, tmp_path):
    with pytest.raises(ValueError, match="got column 'language' of string"):
        fitted(tmp_path / "text", [pool], EndModelSettings(columns=("language",)))
    known = known_of(tmp_path / "silent", [pool], SETTINGS)
    silent = Ballots((np.full((999, 3), -1, np.int8),))
    with pytest.raises(ValueError, match="no pair on which a rule votes"):
        fit_on_columns(replace(known, votes=silent), execute=run_local)
