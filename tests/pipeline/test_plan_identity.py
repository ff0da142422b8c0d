"""What identifies an extractor's output: its settings, and the models that they name."""

from pathlib import Path

from filters.extract import ClipScore, Grounding
from pipeline.config import Cells
from pipeline.folder import Folder
from pipeline.ledger import Ledger
from pipeline.score import plan_passes
from pipeline.shards import find_shards
from tests.toy import build_pool


def stage_of(extractor, tmp_path):
    shards = find_shards([str(tmp_path / "pool")])
    store = Folder(str(tmp_path / "run"))
    (todo,), _ = plan_passes(
        shards, [extractor], store=store, weights=Path, cells=Cells(), ledger=Ledger(store)
    )
    return todo.job.plan.stage


def test_a_model_in_a_folder_counts_by_its_bytes(tmp_path):
    (tmp_path / "pool").mkdir()
    build_pool(tmp_path / "pool", shards=1, pairs=1)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"1")
    for extractor in (Grounding(model=str(model)), ClipScore(model=f"local-dir:{model}")):
        (model / "model.safetensors").write_bytes(b"1")
        first = stage_of(extractor, tmp_path)
        assert stage_of(extractor, tmp_path) == first
        (model / "model.safetensors").write_bytes(b"2")
        assert stage_of(extractor, tmp_path) != first


def test_a_folder_that_is_no_model_and_a_long_text_do_not_count(tmp_path, monkeypatch):
    (tmp_path / "pool").mkdir()
    build_pool(tmp_path / "pool", shards=1, pairs=1)
    monkeypatch.chdir(tmp_path)
    before = stage_of(Grounding(revision="main"), tmp_path)
    (tmp_path / "main").mkdir()
    (tmp_path / "main" / "notes").write_text("x")
    assert stage_of(Grounding(revision="main"), tmp_path) == before
    assert stage_of(Grounding(model="a" * 5000), tmp_path) != before
