"""With a real .deb and the real dpkg-deb; apt-get is a script that has the archive already."""

import shutil
import subprocess

import pytest

from pipeline.pools.debian import package, versions_here

CONTROL = """Package: thresher-sample
Version: 1:2.0-3
Architecture: all
Maintainer: nobody <nobody@example.org>
Description: sample
"""


@pytest.fixture
def archive(tmp_path):
    tree = tmp_path / "sample"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(CONTROL, encoding="utf-8")
    (tree / "usr/share/sample").mkdir(parents=True)
    (tree / "usr/share/sample/hello.txt").write_text("hello", encoding="utf-8")
    path = tmp_path / "thresher-sample_1%3a2.0-3_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, path], check=True, capture_output=True)
    return path


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """Put an apt-get of our own, and nothing but what it needs, on PATH."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "cp", "touch", "test", "dpkg-deb", "tar", "xz", "zstd", "gzip", "rm"):
        found = shutil.which(name)
        if found:
            (tools / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tools))

    def install(script: str) -> None:
        path = tools / "apt-get"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    return install


def test_it_is_fetched_once_and_then_reused(cache, archive, apt):
    apt(f'cp "{archive}" .')
    assert versions_here("thresher-sample") == {}
    got = package("thresher-sample")
    assert got.version == "1:2.0-3"
    assert (got.root / "usr/share/sample/hello.txt").read_text(encoding="utf-8") == "hello"
    apt("exit 1")
    assert package("thresher-sample") == got
    assert versions_here("thresher-sample") == {"thresher-sample": "1:2.0-3"}
    assert [path.name for path in (cache / "debian").iterdir()] == ["thresher-sample_1%3a2.0-3"]


def test_missing_package_lists_are_fetched_into_a_private_folder(cache, archive, apt):
    apt(
        f"""case "$*" in
          update*Dir::State={cache}/apt/state*) touch {cache}/apt/updated ;;
          download*Dir::State*) test -e {cache}/apt/updated && cp "{archive}" . ;;
          *) exit 100 ;;
        esac"""
    )
    assert package("thresher-sample").version == "1:2.0-3"


def test_without_apt_the_message_says_what_else(cache, apt):
    with pytest.raises(ValueError, match=r"without apt-get.* --from hf:<dataset> or a folder"):
        package("thresher-sample")


def test_a_failing_apt_is_quoted_and_leaves_nothing_behind(cache, apt):
    apt('echo "W: noise" >&2; echo "E: Unable to locate package" >&2; exit 100')
    with pytest.raises(ValueError, match=r"ended with 100 \(E: Unable to locate package\)"):
        package("thresher-sample")
    assert list((cache / "debian").iterdir()) == []


def test_a_broken_archive_is_not_taken_for_a_package(cache, apt):
    apt("echo rubbish > thresher-sample_1_all.deb")
    with pytest.raises(ValueError, match="dpkg-deb -x ended with 2"):
        package("thresher-sample")
    assert list((cache / "debian").iterdir()) == []
