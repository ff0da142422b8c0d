"""Parts, killed coordinators, damaged data, stores and disks that fail: nothing is lost."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from filters.extract.caption import CaptionStatistics
from filters.extract.image import ImageStatistics
from pipeline.cells import Cell, Work
from pipeline.config import Cells
from pipeline.executors import run_local, run_on_ray
from pipeline.executors.cluster import connected
from pipeline.fetch import open_shard
from pipeline.folder import Folder
from pipeline.health import verify
from pipeline.leases import Lease
from pipeline.ledger import Ledger
from pipeline.score import plan_passes
from pipeline.shards import find_shards, write_shard
from pipeline.transient import Patience
from pipeline.weights import model_file
from tests.faulty import BUCKET, Status, faulty_store, small_disk
from tests.integration.engine import captioned, our_processes, rows, score, tables
from tests.poison import Poison
from tests.toy import draw, encoded, pair
from thresher import run

pytestmark = pytest.mark.slow
LOCAL = run_on_ray("local")
ROOM = 140 * 1024  # for about two of three tables


@pytest.fixture(scope="module")
def ray():
    """Start Ray once for this module."""
    with connected("local"):
        yield


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Return a folder with one shard of several row groups."""
    folder = tmp_path_factory.mktemp("long")
    captioned(folder / "long.tar", [f"a caption of pair {i}" for i in range(2500)])
    return folder


class Killer:
    """Kills a process of this name when a pass is so far, then lets the paused cells go on."""

    def __init__(self, name, when, pause):
        self._name, self._when, self._pause, self.killed = name, when, pause, []
        pause.touch()

    def __call__(self, snapshot):
        if not self.killed and self._when(snapshot):
            self.killed = our_processes(self._name)[:1]
            assert self.killed, f"no {self._name} descends from this process"
            os.kill(self.killed[0], signal.SIGKILL)
            self._pause.unlink()


def test_parts_of_a_shard_make_the_table_of_the_whole(ray, long, tmp_path):
    score(long, tmp_path / "reference", CaptionStatistics(), batch=4)
    score(
        long, tmp_path / "parts", CaptionStatistics(),
        execute=LOCAL, batch=4, part_bytes=1, count=3,
    )  # fmt: skip
    assert tables(tmp_path / "parts") == tables(tmp_path / "reference")
    assert sorted(p.name for p in (tmp_path / "parts" / "scores").glob("*/.*")) == []
    log = b"".join(p.read_bytes() for p in (tmp_path / "parts" / "log").iterdir())
    assert (log.count(b'"event": "part"'), log.count(b'"event": "join"')) == (3, 1)


@pytest.fixture
def cell(long, tmp_path):
    """Return a cell that has loaded its models, and the only shard."""
    (shard,) = shards = find_shards([str(long)])
    store = Folder(str(tmp_path / "alone"))
    (todo,), _ = plan_passes(
        shards, [CaptionStatistics()], store=store, weights=model_file, cells=Cells(batch=4),
        ledger=Ledger(store),
    )  # fmt: skip
    found = Cell(todo.job.plan, "cell")
    found.load()
    return found, shard


def test_parts_that_another_run_took_away_are_made_up_for(cell, long, tmp_path):
    score(long, tmp_path / "reference", CaptionStatistics(), batch=4)
    at_work, shard = cell
    leases = [Lease(shard, "part", part, 2) for part in range(2)]
    exchange = iter([[leases[0]], [leases[1]], [Lease(shard, "join", 0, 2)], None])

    def next_of(_name, reports, _most):
        assert not any(report.error for report in reports)
        more = next(exchange)
        if more and more[0].task == "join":
            for part in (tmp_path / "alone").rglob("*-of-00002.parquet"):
                part.unlink()
        return more

    Work(at_work, next_of, open_shard).run()
    assert tables(tmp_path / "alone") == tables(tmp_path / "reference")


def test_what_leaves_no_record_is_reported_before_the_next_lease(cell):
    at_work, shard = cell
    told, leases = [], [Lease(shard, "try", first=0, last=2), Lease(shard, "count"), Lease(shard)]
    exchange = iter([leases, [], [], None])

    def next_of(_name, reports, _most):
        told.append([report.lease.task for report in reports])
        return next(exchange)

    Work(at_work, next_of, open_shard).run()
    assert told == [[], ["try"], ["count"], ["score"]]


def test_what_was_fetched_ahead_and_is_not_wanted_is_closed(cell):
    at_work, shard = cell
    opened, exchange = [], iter([[Lease(shard, "count"), Lease(shard)], None])

    def opening(url):
        opened.append(open_shard(url))
        return opened[-1]

    Work(at_work, lambda *_: next(exchange), opening).run()  # ends with one lease in hand
    assert [file.closed for file in opened] == [True, True]


def test_a_cell_that_is_killed_in_a_part_changes_no_byte(ray, long, tmp_path):
    pause = tmp_path / "pause"
    score(long, tmp_path / "reference", Poison(pause=str(pause)), batch=4)
    killer = Killer(b"CellActor.run", lambda s: s.cells == 3, pause)
    score(
        long, tmp_path / "parts", Poison(pause=str(pause)),
        execute=LOCAL, progress=killer, batch=4, part_bytes=1, count=3,
    )  # fmt: skip
    assert killer.killed
    assert list(tables(tmp_path / "parts").values()) == list(
        tables(tmp_path / "reference").values()
    )
    assert list(verify(Folder(str(tmp_path / "parts")))) == []


def test_a_coordinator_that_is_killed_goes_on_where_it_was(ray, tmp_path):
    pause, pool = tmp_path / "pause", tmp_path / "pool"
    for shard in range(12):
        captioned(pool / f"{shard:02d}.tar", [f"{shard} has pair {i}" for i in range(20)])
    score(pool, tmp_path / "reference", Poison(pause=str(pause)))
    killer = Killer(b"CoordinatorActor", lambda s: s.cells == 2, pause)
    found = score(
        pool, tmp_path / "out", Poison(pause=str(pause)), execute=LOCAL, progress=killer, count=2
    )
    assert killer.killed
    assert len(found) == 12
    assert list(tables(tmp_path / "out").values()) == list(tables(tmp_path / "reference").values())
    journals = (tmp_path / "out" / "ledger").glob("*.jsonl")
    records = sum(len(p.read_text().splitlines()) for p in journals)
    assert 12 <= records <= 13, "a shard or more was done again"
    assert len(list(Ledger(Folder(str(tmp_path / "out"))).records())) == 12


def test_one_broken_picture_of_three_thousand_costs_one_row(tmp_path):
    image = encoded(draw("circle", "red", size=(16, 16)), "JPEG")
    members = []
    for i in range(3000):
        members += pair(f"{i:05d}", image=image if i != 1234 else image[:40], extension="jpg")
    write_shard(tmp_path / "0.tar", members)
    score(tmp_path / "0.tar", tmp_path / "out", ImageStatistics())
    found = rows(tmp_path / "out")
    assert Counter(row["status"] for row in found) == {"ok": 2999, "decode_error": 1}
    assert [row["key"] for row in found if row["width"] is None] == ["01234"]


def test_a_shard_that_ends_early_keeps_what_can_be_read(tmp_path):
    whole = captioned(tmp_path / "whole" / "0.tar", [f"pair {i}" for i in range(50)])
    cut = tmp_path / "cut" / "0.tar"
    cut.parent.mkdir()
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    for folder in (whole.parent, cut.parent):
        score(folder, tmp_path / f"{folder.name}-out", ImageStatistics(), CaptionStatistics())
    expected, found = rows(tmp_path / "whole-out"), rows(tmp_path / "cut-out")
    last = found.pop()
    assert len(found) == len(cut.read_bytes()) // 2048 - 1  # four blocks of 512 bytes each
    assert found == expected[: len(found)]
    assert (last["status"], last["width"]) == ("truncated", None)


@pytest.fixture(scope="module")
def network():
    with faulty_store() as proxy:
        yield proxy


@pytest.fixture
def quick(monkeypatch):
    """Let faults pass in no time: as many tries as ever, but hardly a wait between them."""
    monkeypatch.setattr(Patience, "wait_s", lambda _self, failures: 0.002 * failures)


@pytest.fixture
def stored(network, tmp_path):
    """Return the way to a store, with a pool of six shards in it and the same on the disk."""
    network.reset()
    for shard in range(6):
        path = captioned(tmp_path / "pool" / f"{shard}.tar", [f"{shard}: {i}" for i in range(40)])
        network.put(f"{tmp_path.name}/pool/{shard}.tar", path.read_bytes())
    return network


def objects(proxy, name):
    """Return the objects below a folder of the bucket, by their path in it."""
    _, listing = proxy.ask("GET", f"?list-type=2&prefix={name}/")
    keys = re.findall(r"<Key>(.*?)</Key>", listing.decode())
    return {key.removeprefix(f"{name}/"): proxy.ask("GET", f"/{key}")[1] for key in keys}


@pytest.mark.parametrize("seed", range(2))
def test_pool_and_run_in_a_store_that_fails_now_and_then(stored, quick, tmp_path, seed):
    score(tmp_path / "pool", tmp_path / "reference", ImageStatistics(), CaptionStatistics())
    home = f"{tmp_path.name}/run"
    stored.at_random(seed, share=0.25)
    found = score(
        f"s3://{BUCKET}/{tmp_path.name}/pool", f"s3://{BUCKET}/{home}",
        ImageStatistics(), CaptionStatistics(),
    )  # fmt: skip
    stored.reset()
    tables_there = {k: v for k, v in objects(stored, home).items() if k.endswith(".parquet")}
    assert list(tables_there.values()) == list(tables(tmp_path / "reference").values())
    assert len(found) == 6
    assert list(verify(Folder(f"s3://{BUCKET}/{home}"))) == []


def test_a_store_that_goes_away_ends_the_run_and_a_second_one_goes_on(stored, quick, tmp_path):
    pool, home = f"s3://{BUCKET}/{tmp_path.name}/pool", f"s3://{BUCKET}/{tmp_path.name}/run"
    written = []

    def plan(method, path):
        written.append(path) if method == "PUT" and ".parquet" in path else None
        return Status() if len(written) > 2 else None

    stored.plan = plan
    with pytest.raises(
        OSError, match=r"expected an answer of the store.*goes on where it was"
    ) as e:
        score(pool, home, CaptionStatistics())
    assert "\n" not in str(e.value)
    stored.reset()
    done = {record.shard.partition("-")[0] for record in Ledger(Folder(home)).records()}
    assert len(done) == 2
    assert len(score(pool, home, CaptionStatistics())) == 6
    opened = {p for m, p in stored.seen if m == "GET" and p.partition("?")[0].endswith(".tar")}
    assert not [path for path in opened if Path(path).stem in done]
    assert len(opened) == 4
    assert list(verify(Folder(home))) == []


def test_a_store_that_refuses_all_shards_is_told_and_none_is_given_up(network, tmp_path):
    network.reset()
    for shard in range(12):
        path = captioned(tmp_path / f"{shard}.tar", [f"{shard}: {i}" for i in range(4)])
        network.put(f"{tmp_path.name}/refused/{shard}.tar", path.read_bytes())
    pool = f"s3://{BUCKET}/{tmp_path.name}/refused"
    network.plan = lambda _method, path: (
        Status(403, "AccessDenied") if path.partition("?")[0].endswith(".tar") else None
    )
    with pytest.raises(RuntimeError, match=r"got 11 of 12 that cannot be read.*run again") as e:
        score(pool, tmp_path / "out", CaptionStatistics())
    assert "\n" not in str(e.value)
    network.reset()
    score(pool, tmp_path / "out", CaptionStatistics())
    assert Counter(row["status"] for row in rows(tmp_path / "out")) == {"ok": 48}


def test_a_spool_that_is_full_is_not_the_shard_s_fault(stored, tmp_path):
    pool, disk = f"s3://{BUCKET}/{tmp_path.name}/pool", tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, size=32 * 1024):
        with pytest.raises(OSError, match=r"spool: got a full disk at .*it goes on where it was"):
            score(pool, tmp_path / "out", CaptionStatistics(), spool=str(disk))
        assert rows(tmp_path / "out") == []


CLI = [sys.executable, "-m", "thresher"]
AS_NOBODY = """
import os, sys
sys.path[:0] = sys.argv.pop(1).split(":")
import thresher, torch  # torch before the rights go: who is nobody may not read where Python lies
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
thresher.main()
"""


def curated_by(start, config, out):
    """Run the command line; return its exit code and the line that it ends with."""
    options = ["curate", str(config), "--out", str(out), "--ray", "off"]
    done = subprocess.run([*start, *options], capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("thresher:")]
    assert len(lines) == 1, done.stderr
    assert done.stderr.splitlines()[-1] == lines[0]
    return done.returncode, lines[0]


def test_a_disk_that_is_full_ends_the_run_and_it_goes_on_when_there_is_room(
    tmp_path, pool, config, load
):
    reference = run(load(), out=tmp_path / "reference", execute=run_local, until="curate")
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, size=8 * 2**20):
        (disk / "ballast").write_bytes(bytes(8 * 2**20 - ROOM))
        code, line = curated_by(CLI, config(), disk / "run")
        assert code == 1
        assert f"run folder {disk}/run/scores/" in line
        assert "free some space and start the run again: it goes on where it was" in line
        done = tables(disk / "run" / "scores")
        assert 1 <= len(done) < 3
        assert list(verify(Folder(str(disk / "run")))) == []
        assert not list(disk.rglob("*.tmp"))
        (disk / "ballast").unlink()
        again = run(load(), out=disk / "run", execute=run_local, until="curate")
        assert again["subset_sha256"] == reference["subset_sha256"]
        assert tables(disk / "run" / "scores") == tables(tmp_path / "reference" / "scores")


def test_a_run_folder_without_rights_is_a_wrong_request(config):
    with tempfile.TemporaryDirectory() as home:  # pytest's own folders are closed to others
        (Path(home) / "c.toml").write_text(config().read_text())
        Path(home).chmod(0o555)
        path = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
        start = [sys.executable, "-c", AS_NOBODY, ":".join(path)]
        code, line = curated_by(start, Path(home) / "c.toml", Path(home) / "run")
        assert code == 2
        text = f"thresher: run folder: got {home}/run, expected a folder that can be written to; "
        assert line.startswith(f"{text}choose another with --out or change its permissions")
