"""The main job on real pictures, small: everything the README's first command does."""

import json
import subprocess
import sys

import pytest

SMALL = (
    "train.samples_seen=1024", "distill.samples_seen=512", "concepts.cluster.clusters=16",
    "dedup.cluster.clusters=16", "train.save.every=8",
)  # fmt: skip


@pytest.mark.demo
@pytest.mark.network
@pytest.mark.timeout(600)
def test_the_demo_ends_with_a_subset_encoders_and_a_report(tmp_path):
    sets = [part for override in SMALL for part in ("--set", override)]
    command = [sys.executable, "-m", "thresher", "demo", "--out", str(tmp_path), "--limit", "500"]
    first = subprocess.run([*command, *sets], check=True, capture_output=True, text=True)
    assert "report:" in first.stdout
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["pairs_in"] == 500 == sum(summary["reasons"].values())
    assert set(summary["zero_shot"]) == {"subset", "random", "student"}
    assert summary["planted_checks"]["alignment_auc"] > 0.75
    assert summary["planted"]["corrupt"]["share"] == 1.0
    assert (tmp_path / "report" / "index.html").stat().st_size > 100_000
    for folder in summary["runs"].values():
        assert (tmp_path / folder / "checkpoint" / "open_clip_model.safetensors").is_file()
    (student,) = (v for k, v in summary["runs"].items() if k == "student")
    judged = subprocess.run(
        [sys.executable, "-m", "thresher", "evaluate", str(tmp_path / student / "checkpoint"),
         "--data", str(tmp_path / "pool" / "heldout"), "--tasks", "retrieval"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = json.loads(judged.stdout)["metrics"]
    expected = {k: v for k, v in summary["zero_shot"]["student"].items() if "retrieval" in k}
    assert {f"retrieval/{k}": v for k, v in found.items()} == expected
