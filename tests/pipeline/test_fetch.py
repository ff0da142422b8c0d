"""Shards from a real S3 protocol server, over a network that drops, cuts and refuses."""

import fsspec
import numpy as np
import pytest

from pipeline.fetch import Transfer, open_shard
from pipeline.transient import DiskFull, Patience
from tests.faulty import (
    BUCKET,
    EVERY_FAULT,
    Cut,
    Reset,
    Shorten,
    Slow,
    Status,
    small_disk,
)

BLOCK = 16 * 1024
DATA = np.random.default_rng(0).bytes(5 * BLOCK + 777)
QUICK = Transfer(block_bytes=BLOCK, patience=Patience(attempts=3, first_s=0.002))


@pytest.fixture
def put(proxy):
    """Return a function (name, data) that gives the URL of the new object."""
    return lambda name, data=DATA: proxy.put(name, data)


def fetched(url, **options):
    with open_shard(url, **{"transfer": QUICK, **options}) as file:
        assert file.tell() == 0
        return file.read()


@pytest.mark.parametrize("fault", EVERY_FAULT, ids=repr)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_one_fault_changes_no_byte(proxy, put, fault, method):
    url = put("a.tar")
    proxy.first(fault, fault, method=method)
    assert fetched(url) == DATA
    blocks = [path for m, path in proxy.seen if m == "GET" and path.endswith("a.tar")]
    retried = method == "GET" and not isinstance(fault, Slow)
    assert len(blocks) == 6 + 2 * retried


@pytest.mark.parametrize("seed", range(3))
def test_all_faults_at_random_change_no_byte(proxy, put, seed):
    url = put("a.tar")
    proxy.at_random(seed, share=0.5)
    assert fetched(url) == DATA


@pytest.mark.parametrize("size", [0, 1, BLOCK, BLOCK + 1])
def test_every_size_comes_whole(put, size):
    assert fetched(put(f"{size}.tar", DATA[:size])) == DATA[:size]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Status(), r"got .*SlowDown.*, 3 times in \d+ s, expected all of its bytes; start the run"),
        (Status(500, "InternalError"), "InternalError.*3 times"),
        (Reset(), "3 times"),
        (Cut(), "3 times"),
        (Shorten(0.5), r"got \d+ of the \d+ bytes from byte \d+ on, 3 times"),
    ],
    ids=repr,
)
def test_a_fault_that_stays_ends_on_one_line(proxy, put, fault, text):
    url = put("a.tar")
    proxy.always(fault, method="GET")
    with pytest.raises(OSError, match=text) as caught:
        fetched(url)
    assert f"shard {url}: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_waiting_does_not_cure_ends_at_once(proxy, put):
    with pytest.raises(FileNotFoundError, match=r"none.tar: got .*data.shards or put"):
        fetched(f"s3://{BUCKET}/none.tar")
    url = put("a.tar")
    for method in ("HEAD", "GET"):
        proxy.reset()
        proxy.always(Status(403, "AccessDenied"), method=method)
        with pytest.raises(PermissionError, match=r"a.tar: got .*expected leave to read it; give"):
            fetched(url)
        assert len([m for m, _ in proxy.seen if m == method]) <= 6  # no request twice
    with pytest.raises(FileNotFoundError, match="expected a tar that is there"):
        fetched("/nowhere/a.tar")
    with pytest.raises(ValueError, match="got nofs://a, expected a local path or the URL of a"):
        fetched("nofs://a")


def test_patience_is_bounded_in_time(proxy, put):
    url = put("a.tar")
    proxy.always(Status(), method="GET")
    impatient = Patience(attempts=1000, first_s=0.01, total_s=0.1)
    with pytest.raises(OSError, match=r"SlowDown.*, \d times in 0 s"):
        fetched(url, transfer=Transfer(block_bytes=BLOCK, patience=impatient))


@pytest.mark.parametrize(
    "data", [DATA[::-1], DATA[:100], DATA * 2], ids=["same size", "shorter", "longer"]
)
def test_an_object_that_is_replaced_while_it_is_read_is_an_error(proxy, put, data):
    url = put("a.tar")

    def replace(method, path):
        if method == "GET":
            proxy.reset()
            put("a.tar", data)

    proxy.plan = replace
    with pytest.raises(OSError, match=rf"got {len(data)} bytes, version .*was replaced while it"):
        fetched(url)


def test_a_local_file_is_opened_where_it_is(tmp_path):
    (tmp_path / "a.tar").write_bytes(DATA)
    for url in (str(tmp_path / "a.tar"), f"file://{tmp_path}/a.tar"):
        with open_shard(url, spool="/nowhere") as file:
            assert file.read() == DATA
            assert file.name == str(tmp_path / "a.tar")


def test_the_copy_has_no_name_and_the_spool_must_be_a_folder(put, tmp_path):
    url = put("a.tar")
    with open_shard(url, spool=str(tmp_path), transfer=QUICK) as file:
        assert list(tmp_path.iterdir()) == []
        assert file.read() == DATA
    with pytest.raises(ValueError, match="spool: got /nowhere, expected a local folder that can"):
        open_shard(url, spool="/nowhere")


def test_a_full_spool_is_no_fault_of_the_shard(put, tmp_path):
    url = put("big.tar", DATA * 20)
    with small_disk(tmp_path) as disk:
        with pytest.raises(DiskFull, match=r"spool: got a full disk at .*goes on where it was"):
            fetched(url, spool=str(disk))
        assert fetched(put("a.tar"), spool=str(disk)) == DATA


def test_other_filesystems_are_copied_too():
    with fsspec.open("memory://fetch/a.tar", "wb") as file:
        file.write(DATA)
    assert fetched("memory://fetch/a.tar") == DATA


def test_http_is_read_by_ranges_and_over_faults(proxy, put):
    put("a.tar")
    proxy.at_random(7, share=0.4)
    assert fetched(f"{proxy.url}/{BUCKET}/a.tar") == DATA
