"""Files and folders appear whole or not at all, on a disk and on a store."""

from pathlib import Path

import pytest

from pipeline.folder import Folder
from pipeline.staging import (
    UNFINISHED,
    drop_drafts,
    fetched,
    is_file,
    local_path,
    new_folder,
    split_url,
)


@pytest.fixture(params=["out", "remote"])
def anywhere(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("url", "folder", "name"),
    [
        ("c.toml", ".", "c.toml"),
        ("/c.toml", "/", "c.toml"),
        ("a/b/c.toml", "a/b/", "c.toml"),
        ("s3://bucket/a/c.toml", "s3://bucket/a/", "c.toml"),
        ("memory://c.toml", "memory://", "c.toml"),
    ],
)
def test_a_file_is_split_from_its_folder(url, folder, name):
    assert split_url(url) == (Folder(folder), name)


def test_what_lies_on_a_disk():
    assert local_path("a/b") == Path("a/b")
    assert local_path("file:///a/b") == Path("/a/b")
    assert local_path("s3://a/b") is None
    assert local_path("memory://a") is None
    assert local_path("simplecache::s3://a/b") is None


def test_a_file_is_found_and_fetched(anywhere):
    anywhere.write("a.json", b"{}")
    assert is_file(anywhere.path("a.json"))
    assert not is_file(anywhere.path("b.json"))
    with fetched(anywhere, "a.json") as folder:
        assert (folder / "a.json").read_bytes() == b"{}"
    assert folder.exists() == (local_path(anywhere.url) is not None)


def test_fetching_what_is_not_there_names_it(remote):
    with pytest.raises(FileNotFoundError, match=r"nothing\.json"), fetched(remote, "nothing.json"):
        pass


def half_a_file(path):
    with path.open("wb") as file:
        file.write(b"tw")
        file.write(bytes(1 // 0))


def test_a_new_folder_replaces_the_old_one(anywhere):
    for number in range(2):
        with new_folder(anywhere, last="z.json") as path:
            (path / "in").mkdir()
            (path / "in" / str(number)).write_bytes(b"x")
            (path / "z.json").write_bytes(str(number).encode())
            assert anywhere.exists("z.json") == (number == 1)
    assert anywhere.files() == ["in/1", "z.json"]
    assert anywhere.read("z.json") == b"1"


def test_a_new_folder_that_fails_leaves_the_old_one_alone(anywhere):
    with new_folder(anywhere, last="z.json") as path:
        (path / "z.json").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), new_folder(anywhere, last="z.json") as path:
        half_a_file(path / "z.json")
    assert anywhere.read("z.json") == b"old"


def test_what_a_killed_writer_left_is_dropped(out):
    killed = new_folder(out / "checkpoint", last="z.json")
    (killed.__enter__() / "weights").write_bytes(b"half of them")
    assert len(out.files()) == 1
    drop_drafts(out / "checkpoint")
    assert out.files() == []


def test_an_upload_that_breaks_off_leaves_no_last_file_and_can_be_done_again(remote):
    """A file where a folder has to be stops the second of two uploads."""

    def publish():
        with new_folder(remote, last="0.json") as path:
            (path / "a").write_bytes(b"a")
            (path / "b").mkdir()
            (path / "b" / "c").write_bytes(b"c")
            (path / "0.json").write_bytes(b"new")

    remote.write("0.json", b"old")
    remote.write("b", b"in the way")
    with pytest.raises(ValueError, match="expected a folder that can be written to"):
        publish()
    assert remote.files() == [UNFINISHED, "a", "b"]
    remote.remove("b")
    publish()
    assert remote.files() == ["0.json", "a", "b/c"]


def test_a_place_that_takes_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    folder = Folder(str(tmp_path / "file" / "out"))
    with pytest.raises(ValueError, match="expected a place that can be written to"):
        new_folder(folder, last="z.json").__enter__()
