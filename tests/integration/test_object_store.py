"""Run folders in a real S3 protocol server behind faults, on full disks, and without rights."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.folder import PART_BYTES, Folder
from pipeline.transient import DiskFull, Patience
from tests.faulty import (
    BUCKET,
    EVERY_FAULT,
    Reset,
    Shorten,
    Status,
    small_disk,
)

SMALL = np.random.default_rng(0).bytes(30_000)
LARGE = np.random.default_rng(1).bytes(2 * PART_BYTES + 12_345)
QUICK = Patience(attempts=3, first_s=0.002)
AS_NOBODY = """
import os, sys
sys.path[:0] = sys.argv[2].split(":")
from pipeline.folder import Folder
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    Folder(sys.argv[1]).write("x", b"1")
except ValueError as error:
    print(error)
"""


@pytest.fixture
def run(proxy, request):
    """Return a new folder in the store."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return Folder(f"s3://{BUCKET}/runs/{name}", QUICK)


def uploads(proxy):
    """Return how many uploads in parts are under way: their parts cost money until taken back."""
    status, text = proxy.ask("GET", "?uploads")
    assert status == 200
    return text.count(b"<UploadId>")


def write_streamed(folder, name, data):
    with folder.open_write(name) as file:
        for start in range(0, len(data), 2**20):
            file.write(data[start : start + 2**20])


@pytest.fixture(params=["local", "memory", "s3"])
def anywhere(request, tmp_path):
    """Return a new folder on each kind of filesystem."""
    if request.param == "s3":
        return request.getfixturevalue("run")
    return Folder(str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}")


@pytest.fixture(params=[Folder.write, write_streamed], ids=["write", "open_write"])
def write(request):
    """Return each way to publish a file: (folder, name, data)."""
    return request.param


def test_a_folder_is_the_same_everywhere(anywhere, write):
    folder = anywhere / "inner"
    assert folder.names() == []
    assert not folder.exists("a")
    with pytest.raises(FileNotFoundError):
        folder.read("a")
    folder.check_writable()
    assert folder.names() == []
    write(folder, "b", SMALL)
    write(folder, ".hidden", b"")
    write(folder, "a", b"old")
    write(folder, "a", b"new")
    assert folder.names() == ["a", "b"]
    assert folder.exists("a")
    assert not folder.exists("c")
    assert [folder.read("a"), folder.read("b"), folder.read(".hidden")] == [b"new", SMALL, b""]
    assert (folder / "a").names() == []  # a file is no folder


def test_a_put_is_one_request_under_the_file_s_own_name(proxy, run):
    run.write("x", b"1")
    assert [(m, p.partition("?")[0]) for m, p in proxy.seen] == [
        ("PUT", f"/{run.url.removeprefix('s3://')}/x")
    ]


@pytest.mark.parametrize("fault", [*EVERY_FAULT, Reset(after=True)], ids=repr)
def test_one_fault_changes_no_byte(proxy, run, write, fault):
    write(run, "here", SMALL)
    proxy.first(fault, fault, method="PUT")
    write(run, "x", SMALL)
    proxy.reset()
    if not isinstance(fault, Shorten):  # only a block says how long it should be
        proxy.first(fault, fault, method="GET")
    assert run.read("x") == SMALL
    proxy.first(fault, fault, method="HEAD")
    assert run.exists("x")
    if not isinstance(fault, Shorten):
        proxy.first(fault, fault, method="GET")
    assert run.names() == ["here", "x"]


@pytest.mark.parametrize("seed", range(2))
def test_a_file_of_several_parts_arrives_whole_over_faults(proxy, run, seed):
    proxy.at_random(seed, share=0.4)
    write_streamed(run, "x", LARGE)
    proxy.reset()
    assert run.read("x") == LARGE
    assert uploads(proxy) == 0


def test_an_upload_whose_last_answer_got_lost_is_done_again(proxy, run):
    faults = iter([Reset(after=True), Status(404, "NoSuchUpload")])  # as MinIO says it

    def plan(method, path):
        return next(faults, None) if method == "POST" and "uploadId=" in path else None

    proxy.plan = plan
    write_streamed(run, "x", LARGE)
    assert next(faults, None) is None
    proxy.reset()
    assert run.read("x") == LARGE
    assert uploads(proxy) == 0


def test_others_write_into_the_folder_too(proxy, run):
    run.write("a", b"1")
    assert run.names() == ["a"]
    proxy.put(f"{run.url.removeprefix(f's3://{BUCKET}/')}/b", b"2")  # past this process's client
    assert run.names() == ["a", "b"]
    assert run.exists("b")


@pytest.mark.parametrize("size", [10, len(LARGE)])
def test_a_block_that_raises_publishes_nothing(anywhere, tmp_path, request, size):
    folder = anywhere
    folder.write("x", b"old")

    def stop():
        with folder.open_write("x") as file:
            file.write(LARGE[:size])
            raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="the caller's own"):
        stop()
    assert folder.read("x") == b"old"
    assert folder.names() == ["x"]
    assert [p.name for p in tmp_path.iterdir()] in ([], ["x"])  # no temporary name is left
    if folder.url.startswith("s3:"):
        assert uploads(request.getfixturevalue("proxy")) == 0


@pytest.mark.parametrize("fault", [Status(), Reset()], ids=repr)
def test_a_store_that_stays_away_is_told_on_one_line(proxy, run, fault):
    proxy.always(fault)
    text = rf"run folder {run.url}: got .* 3 times in \d+ s, expected an answer.*goes on where"
    calls = [
        lambda: run.write("x", SMALL),
        lambda: run.read("x"),
        lambda: run.exists("x"),
        run.names,
    ]
    for call in calls:
        with pytest.raises(OSError, match=text) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_an_upload_in_parts_that_fails_is_taken_back(proxy, run):
    run.write("x", b"old")
    parts = 0

    def plan(method, path):
        nonlocal parts
        parts += "partNumber" in path
        return Status(403, "AccessDenied") if parts > 1 and "partNumber" in path else None

    proxy.plan = plan
    with pytest.raises(ValueError, match="expected a folder that can be written to"):
        write_streamed(run, "x", LARGE)
    assert parts == 2
    assert uploads(proxy) == 0
    assert run.read("x") == b"old"


def test_a_store_that_refuses_is_a_wrong_request(proxy, run, write):
    with pytest.raises(
        ValueError, match="got s3://nobucket, expected a folder that can be written"
    ):
        write(Folder("s3://nobucket", QUICK), "x", b"1")
    proxy.always(Status(403, "AccessDenied"), method="PUT")
    for refused in (lambda: write(run, "x", b"1"), run.check_writable):
        with pytest.raises(ValueError, match=rf"got {run.url}, expected a folder that can be wri"):
            refused()


def test_a_full_disk_leaves_what_was_there(tmp_path, write):
    with small_disk(tmp_path) as disk:
        folder = Folder(str(disk / "run"))
        write(folder, "x", b"old")
        text = (
            rf"run folder {folder.url}: got a full disk .*No space left.* it goes on where it was"
        )
        for _ in range(3):  # each would leave less room than before, if it left anything
            with pytest.raises(DiskFull, match=text):
                write(folder, "x", bytes(300_000))
        assert [p.name for p in (disk / "run").iterdir()] == ["x"]
        assert folder.read("x") == b"old"
        write(folder, "y", bytes(200_000))
        assert folder.names() == ["x", "y"]


def test_a_full_disk_for_temporary_files_publishes_nothing(run, tmp_path, monkeypatch):
    with small_disk(tmp_path) as disk:
        monkeypatch.setattr("tempfile.tempdir", str(disk))
        with pytest.raises(DiskFull, match=f"got a full disk at {disk}"):
            write_streamed(run, "x", LARGE)
        assert run.names() == []
        assert list(disk.iterdir()) == []


def test_a_folder_without_rights_is_a_wrong_request(tmp_path_factory):
    closed = tmp_path_factory.mktemp("closed")
    closed.chmod(0o555)
    path = [str(Path(__file__).parents[2]), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(closed / "run"), ":".join(filter(None, path))],
        capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    assert done.stdout.startswith(f"run folder: got {closed}/run, expected a folder that can be")
    assert done.stdout.count("\n") == 1
    assert list(closed.iterdir()) == []


def test_a_folder_under_a_file_is_a_wrong_request(tmp_path, write):
    (tmp_path / "file").write_bytes(b"")
    for name in ("file", "file/run"):
        with pytest.raises(ValueError, match="expected a folder that can be written to; choose"):
            write(Folder(str(tmp_path / name)), "x", b"1")
