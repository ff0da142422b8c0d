"""Measuring against planted truth, on a table small enough to check by eye."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.planted import Found, alignment_auc, drops_by_rule, found_by_kind

UIDS = [bytes([i] * 16) for i in range(6)]


def parts(columns):
    """Return a table as two shards have it."""
    table = pa.table(columns)
    return [table.slice(0, 1), table.slice(1)]


@pytest.fixture
def truth(tmp_path):
    kinds = ["clean", "clean", "swapped", "copy", "copy", "clean"]
    twins = [None, None, None, UIDS[0].hex(), UIDS[1].hex(), None]
    table = {"uid": [u.hex() for u in UIDS], "kind": kinds, "twin": pa.array(twins, pa.string())}
    pq.write_table(pa.table(table), tmp_path / "truth.parquet")
    return str(tmp_path / "truth.parquet")


def test_a_copy_is_found_if_it_or_its_original_is_out(truth):
    reasons = ["ok", "duplicate", "low_p_keep", "ok", "ok", "ok"]
    found = found_by_kind(truth, parts({"uid": UIDS, "reason": reasons}))
    assert found == {"clean": Found(3, 1), "copy": Found(2, 1), "swapped": Found(1, 1)}
    assert found["copy"].share == 0.5


def test_the_truth_of_another_pool_is_refused(truth):
    with pytest.raises(ValueError, match="expected uids of this pool"):
        found_by_kind(truth, parts({"uid": UIDS[:2], "reason": ["ok", "ok"]}))


def test_auc_counts_pairs_in_the_right_order(truth):
    scores = pa.array([0.9, 0.3, 0.5, 0, 0, 0.5], pa.float32())  # clean .9 .3 .5, swapped .5
    found = alignment_auc(truth, parts({"uid": UIDS, "alignment": scores}))
    assert found == pytest.approx((1 + 0 + 0.5) / 3)


def test_drop_votes_are_counted_by_rule_and_kind(truth):
    votes = {
        "vote:a": pa.array([0, 1, 0, -1, 0, None], pa.int8()),
        "vote:b": pa.array([1, 1, 0, 1, 1, None], pa.int8()),
    }
    found = drops_by_rule(truth, parts({"uid": UIDS, **votes}))
    assert found == {
        "a": {"clean": Found(2, 1), "copy": Found(2, 1), "swapped": Found(1, 1)},
        "b": {"clean": Found(2, 0), "copy": Found(2, 0), "swapped": Found(1, 1)},
    }
    assert list(found["a"]) == ["clean", "copy", "swapped"]


def test_kinds_that_no_rule_could_vote_on_are_left_out(truth):
    vote = pa.array([1, None, None, None, None, None], pa.int8())
    assert drops_by_rule(truth, parts({"uid": UIDS, "vote:a": vote})) == {
        "a": {"clean": Found(1, 0)}
    }
    assert drops_by_rule(truth, parts({"uid": UIDS})) == {}
