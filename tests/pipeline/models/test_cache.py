import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.models.cache import cached_model


@pytest.fixture
def build():
    """Write the same bytes each time and count the times."""

    def write(path):
        write.times += 1
        path.write_bytes(b"model" * 1000)

    write.times = 0
    return write


def test_a_model_is_built_once(tmp_path, build):
    first = cached_model(tmp_path / "models", "net-1", build=build)
    assert cached_model(tmp_path / "models", "net-1", build=build) == first
    assert build.times == 1
    manifest = json.loads((tmp_path / "models/net-1.json").read_text(encoding="utf-8"))
    assert manifest["sha256"] == hashlib.sha256(b"model" * 1000).hexdigest()
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == [first.name, "net-1.json"]


@pytest.mark.parametrize("pattern", ["*.onnx", "*.json"])
@pytest.mark.parametrize("damaged", [b"", b"{}", b"\xff", b"model" * 999, None])
def test_a_damaged_model_is_built_again(tmp_path, build, pattern, damaged):
    cached_model(tmp_path, "net-1", build=build)
    (path,) = tmp_path.glob(pattern)
    if damaged is None:
        path.unlink()
    else:
        path.write_bytes(damaged)
    assert cached_model(tmp_path, "net-1", build=build).read_bytes() == b"model" * 1000
    assert build.times == 2


def test_a_manifest_cannot_point_outside_the_cache(tmp_path, build):
    outside = tmp_path / "outside.onnx"
    outside.write_bytes(b"x")
    cache = tmp_path / "cache"
    cache.mkdir()
    entry = {"file": "../outside.onnx", "sha256": hashlib.sha256(b"x").hexdigest()}
    (cache / "net-1.json").write_text(json.dumps(entry), encoding="utf-8")
    assert cached_model(cache, "net-1", build=build).parent == cache


def test_a_failed_build_leaves_nothing(tmp_path):
    def fail(path):
        path.write_bytes(b"half a mo")
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        cached_model(tmp_path, "net-1", build=fail)
    assert list(tmp_path.iterdir()) == []


def test_many_at_once_all_get_a_whole_model(tmp_path, build):
    with ThreadPoolExecutor(8) as pool:
        models = list(
            pool.map(lambda _: cached_model(tmp_path, "net-1", build=build).read_bytes(), range(40))
        )
    assert set(models) == {b"model" * 1000}


def test_a_folder_that_cannot_be_made_is_named(tmp_path, build, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)  # root may write everywhere
    with pytest.raises(FileNotFoundError, match=r"model cache: got .*point THRESHER_CACHE"):
        cached_model(tmp_path / "models", "net-1", build=build)
