"""The end model over stored columns: a sample of the pool, the same bytes however it is cut."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit

from filters.ensemble.end_model import EndModelSettings, load_end_model
from filters.extract import Column
from pipeline.end_model import apply_to_columns, fit_on_columns
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
SETTINGS = EndModelSettings(columns=("vector", "alignment", "count"), rows=400, l2=1e-3)


class Labels:
    """Soft labels that are held in memory."""

    def __init__(self, by_shard):
        self.by_shard = by_shard

    def __call__(self, shard):
        return self.by_shard[shard]


@pytest.fixture(scope="module")
def pool():
    """Return 1,000 rows by uid; the 50th is null everywhere, each 7th has no vote, bad ones end."""
    rng = np.random.default_rng(0)
    uids = sorted(rng.bytes(15) + b"\0" for _ in range(1000))  # a zero at the end is no padding
    rows = []
    for i, uid in enumerate(uids):
        vector, number = rng.normal(size=3).astype(np.float16), float(np.float32(rng.normal()))
        p = expit(2 * number + float(vector[0]))
        row = {"uid": uid, "alignment": number, "count": i % 5, "vector": vector, "status": "ok"}
        if i == 50:
            row |= {"alignment": None, "count": None, "vector": None}
        rows.append(row | {"p": np.nan if i % 7 == 0 else p, "language": "en"})
    rows[-1] |= {"status": "decode_error", "alignment": None, "vector": None}
    return rows


def scores_of(folder, shards):
    """Write shards of rows; return their scores and soft labels."""
    folder.mkdir()
    schema, labels = score_schema(COLUMNS), []
    for i, rows in enumerate(shards):
        base = {"key": "", "offset": 0, "size": 0, "caption": ""}
        arrays = [
            pa.array([row.get(f.name, base.get(f.name)) for row in rows], f.type)
            for f in BASE_SCHEMA
        ]
        arrays += [array_of([r[c.name] for r in rows], schema.field(c.name)) for c in COLUMNS]
        data = encode(pa.Table.from_arrays(arrays, schema=schema))
        (folder / f"{i}.parquet").write_bytes(data)
        labels.append(np.array([row["p"] for row in rows if row["status"] == "ok"]))
    source = Source(str(folder), tuple(c.name for c in COLUMNS), np.ones((len(shards), 32), "u1"))
    ids = tuple(str(i) for i in range(len(shards)))
    return Scores(ids, ids, (source,)), Labels(labels)


def fitted(folder, shards, settings=SETTINGS):
    scores, labels = scores_of(folder, shards)
    model = fit_on_columns(scores, labels, settings, execute=run_local)
    uids = [row["uid"] for rows in shards for row in rows if row["status"] == "ok"]
    p_keep = np.concatenate(apply_to_columns(scores, model, execute=run_local))
    return model, dict(zip(uids, p_keep.tolist(), strict=True))


def test_cutting_and_shuffling_the_pool_changes_no_bit(pool, tmp_path):
    one, p_one = fitted(tmp_path / "one", [pool])
    mixed = [pool[i] for i in np.random.default_rng(1).permutation(len(pool))]
    cuts = [mixed[at : at + 50] for at in range(0, len(mixed), 50)]  # 20 shards: two tasks
    many, p_many = fitted(tmp_path / "many", [*cuts, []])
    assert one.to_json() == many.to_json()
    assert load_end_model(many.to_json()) == many
    assert p_one == p_many
    assert one.told["rows"] == SETTINGS.rows


def test_it_learns_from_pairs_that_have_a_label_and_says_something_of_all(pool, tmp_path):
    model, p_keep = fitted(tmp_path / "run", [pool], EndModelSettings(
        columns=SETTINGS.columns, rows=10_000, l2=1e-6
    ))  # fmt: skip
    labelled = [row for row in pool if row["status"] == "ok" and not np.isnan(row["p"])]
    assert model.told["rows"] == len(labelled)
    assert len(p_keep) == 999
    for row in pool[:40:7]:  # no rule voted on these
        truth = expit(2 * row["alignment"] + float(row["vector"][0]))
        assert p_keep[row["uid"]] == pytest.approx(truth, abs=0.02)
    assert p_keep[pool[50]["uid"]] > 0  # without any value


def test_texts_and_pools_without_votes_are_refused(pool, tmp_path):
    with pytest.raises(ValueError, match="got column 'language' of string"):
        fitted(tmp_path / "text", [pool], EndModelSettings(columns=("language",)))
    silent = [{**row, "p": np.nan} for row in pool]
    with pytest.raises(ValueError, match="no pair on which a rule votes"):
        fitted(tmp_path / "silent", [silent])
