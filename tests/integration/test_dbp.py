"""Density-based pruning as its config has it: deduplicate, rank by score, prune by complexity."""

from pathlib import Path

import numpy as np

from pipeline.executors import run_local
from pipeline.folder import Folder
from pipeline.schema import Reason
from pipeline.voted import read_decisions
from thresher import load_run, run

CONFIG = Path(__file__).parents[2] / "configs" / "dbp.toml"


def test_the_papers_order(pool, tmp_path):
    cfg = load_run(
        str(CONFIG),
        overrides=[f'data.shards=["{pool}"]', "data.heldout=[]", 'data.truth=""'],
    )
    reasons = run(cfg, out=str(tmp_path), execute=run_local, until="curate")["reasons"]
    unlike = 36 - reasons[Reason.DUPLICATE]
    assert 29 <= unlike < 36  # four fifths of 36, at least
    best = int(0.5 * unlike)  # the budget is a share of what deduplication has left
    assert reasons[Reason.OVER_BUDGET] == unlike - best
    assert reasons[Reason.OK] == int(0.6 * best)
    assert reasons[Reason.QUOTA] == best - int(0.6 * best)

    table = read_decisions(Folder(str(tmp_path)), ("reason", "alignment", "twin")).table
    reason = np.array(table.column("reason").to_pylist())
    alignment = table.column("alignment").to_numpy()
    over = reason == Reason.OVER_BUDGET
    passed = np.isin(reason, (Reason.OK, Reason.QUOTA))
    assert alignment[over].max() <= alignment[passed].min()
    has_twin = table.column("twin").is_valid().to_numpy()
    assert (has_twin == (reason == Reason.DUPLICATE)).all()
