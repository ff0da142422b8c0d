"""Rows that meet, and answers that come home: whole, in order, and read once a partition."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.columns.exchange import SHARD, exchange
from pipeline.columns.shuffle import Rows, Runs, shuffle
from pipeline.executors import at_once, run_local

PARTITIONS = 3


def sent(shared, item):
    """Yield the rows of an item in two parts: numbers 10 * item + 0 ... 5."""
    for start in (0, 3):
        number_N = 10 * item + np.arange(start, start + 3)
        yield Rows(pa.table({"number": number_N}), (number_N % PARTITIONS).astype(np.int32))


@pytest.mark.parametrize("place", ["out", "remote"])
@pytest.mark.parametrize(("run_bytes", "runs"), [(1, 4), (2**20, 2)])
def test_rows_meet_in_the_order_in_which_they_were_sent(
    request, monkeypatch, place, run_bytes, runs
):
    monkeypatch.setattr("pipeline.columns.shuffle.RUN_BYTES", run_bytes)
    folder = request.getfixturevalue(place) / "runs"
    found = shuffle(sent, None, [0, 1], partitions=PARTITIONS + 1, folder=folder, execute=run_local)
    assert folder.names() == list(found.names)
    assert len(found.names) == runs
    assert found.rows_P.tolist() == [4, 4, 4, 0]
    met = [found.read(p).column("number").to_pylist() for p in range(PARTITIONS)]
    assert met == [[0, 3, 12, 15], [1, 4, 10, 13], [2, 5, 11, 14]]
    assert found.read(PARTITIONS) is None
    found.remove()
    assert folder.names() == []


def test_a_run_that_breaks_off_leaves_nothing(out):
    def broken():
        with out.open_write("run", lasting=False) as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert out.files() == []


def ask(shared, shard):
    row_N = np.arange(shard % 3, dtype=np.int32)[::-1]  # some shards have nothing to ask
    yield Rows(pa.table({"row": row_N}), row_N)


def answer(shared, runs, partition):
    table = runs.read(partition)
    value = pa.array(100 * table.column(SHARD).to_numpy() + table.column("row").to_numpy())
    yield table.append_column("value", value)


@pytest.mark.parametrize("few", [1, 32])
def test_answers_come_home(out, monkeypatch, few):
    monkeypatch.setattr("pipeline.executors.tasks.FEW", few)
    read = []
    of_file = Runs.read
    monkeypatch.setattr(Runs, "read", lambda runs, p: read.append(p) or of_file(runs, p))
    answers = exchange(ask, answer, None, shards=40, partitions=2, folder=out, execute=run_local)
    read.clear()
    for shard in range(40):
        table = answers.of(shard)
        values = [] if table is None else table.column("value").to_pylist()
        assert values == [100 * shard + row for row in range(shard % 3)]
    assert read == list(range(-(-40 // at_once(40))))


@pytest.mark.parametrize(
    ("shards", "size"), [(0, 1), (1, 1), (32, 1), (100, 4), (50_000, 16), (1_000_000, 245)]
)
def test_a_task_does_more_of_a_large_pool(shards, size):
    assert at_once(shards) == size
