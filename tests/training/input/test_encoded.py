"""Bytes are the same wherever they come from; a shard that is gone is named."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.pairs import Pairs
from pipeline.transient import Patience
from training.input import encoded
from training.input.encoded import Encoded
from training.input.spool import Spool

QUICK = Patience(attempts=3, first_s=0.001, total_s=5)


class Flaky(MemoryFileSystem):
    """A store in this process: counts, and answers as `fault` says first."""

    protocol = "flaky"
    cachable = False
    asked: list = []  # noqa: RUF012 (one store, many handles)
    faults: list = []  # noqa: RUF012
    gate = None

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.removeprefix("flaky://").strip("/")

    def cat_file(self, path, start=None, end=None, **kwargs):
        self.asked.append((path, start))
        if self.gate is not None:
            self.gate.wait(10)
        if self.faults:
            raise self.faults.pop()
        return super().cat_file(path, start=start, end=end, **kwargs)


fsspec.register_implementation("flaky", Flaky, clobber=True)


@pytest.fixture
def pairs(toy_pairs):
    return toy_pairs(12, seed=6)


@pytest.fixture
def remote(pairs):
    """Return the pairs with their shard in the store."""
    Flaky.asked.clear()
    Flaky.faults.clear()
    Flaky().pipe_file("/pool/00000.tar", Path(pairs.shards[0]).read_bytes())
    yield dataclasses.replace(pairs, shards=("flaky://pool/00000.tar",))
    Flaky.gate = None
    Flaky().rm("/pool", recursive=True)


def _all(pairs, **how):
    reader = Encoded(pairs, **how)
    return [read() for read in reader.ahead(range(len(pairs)), known=lambda _row: False)]


def test_disk_store_and_spool_give_the_same_bytes(pairs, remote, tmp_path):
    expected = [pairs.image_bytes(i) for i in range(12)]
    assert _all(pairs) == expected
    assert _all(remote, reads=3) == expected
    spool = Spool(tmp_path, limit_bytes=2**20)
    assert _all(remote, reads=5, spool=spool) == expected
    Flaky.asked.clear()
    assert _all(remote, spool=Spool(tmp_path, limit_bytes=2**20)) == expected
    assert Flaky.asked == []


def test_a_shard_that_was_replaced_is_not_read_from_the_spool(remote, tmp_path):
    _all(remote, spool=Spool(tmp_path, limit_bytes=2**20))
    store = Flaky()
    changed = bytearray(store.cat_file("/pool/00000.tar"))
    changed[int(remote.offset_N[3])] ^= 255
    store.pipe_file("/pool/00000.tar", bytes(changed))
    again = _all(remote, spool=Spool(tmp_path, limit_bytes=2**20))
    assert again == _all(remote)


def test_several_requests_are_in_flight(remote):
    """None is answered before four are there."""
    Flaky.gate = threading.Barrier(4)
    assert len(_all(remote, reads=4)) == 12


def test_what_is_known_is_not_asked_for(remote):
    reader = Encoded(remote, reads=2)
    assert len(list(reader.ahead(range(12), known=lambda row: row != 3))) == 12
    reader._pool.shutdown()
    assert [start for _, start in Flaky.asked] == [remote.offset_N[3]]


def test_faults_that_pass_are_waited_out(remote):
    Flaky.faults[:] = [ConnectionResetError("reset"), TimeoutError("late")]
    assert len(_all(remote, patience=QUICK)) == 12
    Flaky.faults[:] = [TimeoutError("late")] * 9
    with pytest.raises(OSError, match=r"shard flaky://pool/00000\.tar: got late, 3 times"):
        _all(remote, patience=QUICK)


def test_a_shard_that_is_gone_is_named(remote):
    Flaky().rm("/pool/00000.tar")
    Flaky().touch("/pool/other")
    with pytest.raises(FileNotFoundError, match=r"shard flaky://pool/00000\.tar: .* put the shard"):
        _all(remote)


def test_a_shard_that_became_shorter_is_named(pairs, tmp_path):
    short = tmp_path / "00000.tar"
    short.write_bytes(Path(pairs.shards[0]).read_bytes()[:3000])
    with pytest.raises(
        OSError, match=r"shard .*00000.tar: got .* bytes from byte .* put the shard"
    ):
        _all(dataclasses.replace(pairs, shards=(str(short),)))


def test_files_are_opened_again_and_again_while_others_read(toy_pairs, monkeypatch):
    """Two files may be open, four threads read six shards."""
    monkeypatch.setattr(encoded, "OPEN_FILES", 2)
    one = toy_pairs(6, seed=6)
    shards = []
    for i in range(6):
        path = Path(one.shards[0]).with_name(f"copy{i}.tar")
        path.write_bytes(Path(one.shards[0]).read_bytes())
        shards.append(str(path))
    many = Pairs.of(
        shards, shard_N=range(6), offset_N=one.offset_N, size_N=one.size_N,
        uids=[bytes(15) + bytes([i]) for i in range(6)], captions={"caption": one.captions[:]},
    )  # fmt: skip
    reader = Encoded(many)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(reader.read, [i % 6 for i in range(600)]))
    assert found == [one.image_bytes(i % 6) for i in range(600)]
