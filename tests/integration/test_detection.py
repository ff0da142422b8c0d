"""The whole set of signals as it is shipped, with real weights, on a dozen drawn pairs."""

import pytest

from pipeline.deciding.decisions import undecided
from pipeline.executors import run_local
from pipeline.folder import Folder
from pipeline.health import scores_of
from pipeline.summary import headline
from tests.tiny_detectors import grounding_dino, saved
from tests.toy import build_pool
from thresher import load_run, run

SMALL = (
    "ensemble.prior=0.7",  # twelve pairs do not tell it
    "data.heldout=[]", 'data.truth=""', "cells.batch=4", "alignment.folds=2", "alignment.epochs=1",
    "concepts.cluster.clusters=2",
    "dedup.cluster.clusters=2",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("name", ["detection", "detection-hub"])
def test_a_shipped_config_runs_whole(name, tmp_path):
    (tmp_path / "pool").mkdir()
    pool, sets = build_pool(tmp_path / "pool", shards=1, pairs=12), list(SMALL)
    if name == "detection-hub":  # the hub's model as it is, but tiny and untrained
        sets.append(f'extract.grounding.model="{saved(grounding_dino, tmp_path / "model")}"')
    cfg = load_run(f"configs/{name}.toml", overrides=[*sets, f'data.shards=["{pool}"]'])
    summary = run(cfg, out=tmp_path / "run", execute=run_local, until="curate")
    assert summary["pairs_in"] == 12
    assert "without a value" not in headline(summary)
    scores = undecided(scores_of(Folder(str(tmp_path / "run"))))
    declared = {c.name for what in (*cfg.extract, *cfg.derive) for c in what.columns}
    views = {f"alignment_{view}" for view in ("flipped", "upside_down", "cropped", "masked")}
    fitted = {"alignment", "consensus"}
    assert declared | views | fitted == set(scores.columns)
