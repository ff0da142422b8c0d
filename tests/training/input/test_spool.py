"""What the spool holds is what the store sent, whoever wrote it and however they ended."""

import logging
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training.input.spool import MARK, Spool

RNG = np.random.default_rng(0)
PICTURES = {offset: RNG.bytes(size) for offset, size in ((512, 300), (1536, 9000), (20_000, 1))}
ROOM = 2**20


def _filled(folder, **how):
    spool = Spool(folder, limit_bytes=how.pop("limit_bytes", ROOM))
    mirror = spool.mirror("s3://pool/00000.tar", "1")
    for offset, picture in PICTURES.items():
        mirror.keep(offset, picture)
    return spool, mirror


def test_what_was_kept_is_found_again_also_by_the_next_run(tmp_path):
    _, mirror = _filled(tmp_path / "spool")
    again = Spool(tmp_path / "spool", limit_bytes=ROOM).mirror("s3://pool/00000.tar", "1")
    for one in (mirror, again):
        assert {o: one.find(o, len(p)) for o, p in PICTURES.items()} == PICTURES
        assert one.find(512, 299) is None
        assert one.find(5120, 300) is None
        assert one.find(9_000_000, 300) is None


def test_another_version_of_a_shard_is_another_shard(tmp_path):
    spool, _ = _filled(tmp_path)
    assert spool.mirror("s3://pool/00000.tar", "2").find(512, 300) is None
    assert spool.mirror("s3://pool/00001.tar", "1").find(512, 300) is None


@pytest.mark.parametrize("keep", [0, 5, MARK.size, MARK.size + 100])
def test_what_a_killed_process_left_half_written_is_not_there(tmp_path, keep):
    """The same bytes, cut at every kind of place; then written whole by the next one."""
    _, mirror = _filled(tmp_path)
    with Path(mirror.path).open("r+b") as file:
        file.seek(1536 - MARK.size + keep)
        file.write(bytes(MARK.size + 9000 - keep))
    assert mirror.find(1536, 9000) is None
    assert mirror.find(512, 300) == PICTURES[512]
    mirror.keep(1536, PICTURES[1536])
    assert mirror.find(1536, 9000) == PICTURES[1536]


def test_the_bound_is_kept_and_what_came_first_stays(tmp_path):
    limit = 200_000
    spool = Spool(tmp_path, limit_bytes=limit)
    mirrors = [spool.mirror(f"{i}.tar", "1") for i in range(40)]
    for mirror in mirrors:
        mirror.keep(600, bytes(9000))
    held = [mirror.find(600, 9000) is not None for mirror in mirrors]
    assert held == sorted(held, reverse=True)
    assert 10 < sum(held) < 40
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir()) <= limit
    again = Spool(tmp_path, limit_bytes=limit)
    assert not again.take(limit // 2)  # what others left counts
    with_more = Spool(tmp_path, limit_bytes=4 * limit)
    assert with_more.take(limit)


WRITER = """
import sys
from pathlib import Path
from training.input.spool import Spool
spool = Spool(Path(sys.argv[1]), limit_bytes=int(sys.argv[2]))
print("open", flush=True)
sys.stdin.readline()
for i in range(60):
    spool.mirror(f"{sys.argv[3]}{i}.tar", "1").keep(4096 + 16, bytes([i]) * 4096)
"""


def test_processes_share_one_bound(tmp_path):
    limit = 400_000
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(limit)]
    writers = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for name in "ab"
    ]
    for writer in writers:
        assert writer.stdout.readline() == b"open\n"
    for writer in writers:
        writer.communicate(b"go\n", timeout=60)
    assert [writer.returncode for writer in writers] == [0, 0]
    spool = Spool(tmp_path, limit_bytes=limit)
    held = [
        spool.mirror(f"{name}{i}.tar", "1").find(4112, 4096) == bytes([i]) * 4096
        for name in "ab"
        for i in range(60)
    ]
    assert 20 < sum(held) < 120
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir()) <= limit


def test_a_disk_that_takes_no_more_is_told_once_and_stops_nothing(tmp_path, caplog):
    _, mirror = _filled(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with caplog.at_level(logging.WARNING):
            mirror.keep(200_000, b"later")
            mirror.keep(300_000, b"later still")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(caplog.records) == 1
    assert "the run goes on" in caplog.text
    assert mirror.find(200_000, 5) is None
    mirror.keep(400_000, b"no more")
    assert mirror.find(400_000, 7) is None
    assert mirror.find(512, 300) == PICTURES[512]


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        ValueError, match=r"loader\.spool: got .*file/spool, expected a local folder"
    ):
        Spool(tmp_path / "file" / "spool", limit_bytes=ROOM)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
