"""What is done again and what is not: retried errors, shared scores, murders at random."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from filters.extract import CaptionStatistics
from pipeline.executors import run_local
from pipeline.folder import Folder
from pipeline.health import strike, to_retry, verify
from pipeline.ledger import Ledger
from pipeline.shards import write_shard
from tests.integration.engine import score
from tests.poison import Poison
from tests.toy import build_pool, pair
from thresher import run

CHAOS = Path(__file__).parents[2] / "benchmarks" / "chaos.py"


def finished_at(folder):
    return {r.shard: r.at for r in Ledger(folder).records() if r.stage.startswith("score-")}


def test_only_shards_with_the_error_are_scored_again(load, tmp_path):
    (tmp_path / "pool").mkdir()
    pool = build_pool(tmp_path / "pool", shards=2, pairs=8)
    write_shard(pool / "broken.tar", [*pair("x", image=b"no picture"), *pair("y")])
    cfg, out = load("ensemble.prior=0.9", shards=pool), tmp_path / "run"
    first = run(cfg, out=out, execute=run_local, until="curate")
    before = finished_at(Folder(str(out)))
    assert to_retry(Folder(str(out)), errors="timeout,unreadable", nulls="") == []
    records = [
        r
        for r in to_retry(Folder(str(out)), errors="decode_error", nulls="")
        if r.stage.startswith("score-")
    ]
    assert [r.shard.rpartition("-")[0] for r in records] == ["broken"]
    strike(Folder(str(out)), records)
    again = run(cfg, out=out, execute=run_local, until="curate")
    after = finished_at(Folder(str(out)))
    assert {s for s in after if after[s] > before[s]} == {records[0].shard}
    assert again["subset_sha256"] == first["subset_sha256"]


def test_the_command_line_retries(load, tmp_path):
    (tmp_path / "pool").mkdir()
    pool = build_pool(tmp_path / "pool", shards=1, pairs=8)
    write_shard(pool / "broken.tar", [*pair("x", image=b"no picture"), *pair("y")])
    out = tmp_path / "run"
    run(load("ensemble.prior=0.9", shards=pool), out=out, execute=run_local, until="curate")
    command = [sys.executable, "-m", "thresher", "retry", str(out), "--ray", "off", "--errors"]
    done = subprocess.run([*command, "decode_error"], capture_output=True, text=True, check=True)
    assert "tables are made again" in done.stdout
    assert list(verify(Folder(str(out)))) == []
    wrong = subprocess.run([*command, "oops"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "got 'oops', expected some of" in wrong.stderr


def test_rows_that_an_extractor_left_empty_are_sent_back_by_column(pool, tmp_path):
    broken, out = tmp_path / "broken", Folder(str(tmp_path / "out"))
    broken.touch()
    extractors = (Poison(raises=str(broken)), CaptionStatistics())
    values = lambda: np.concatenate(list(score(pool, out.url, *extractors).numbers("letters")))  # noqa: E731
    assert np.isnan(values()).all()
    broken.unlink()
    assert np.isnan(values()).all()  # what is done is done
    records = to_retry(out, errors="", nulls="letters")
    assert len(records) == 3
    assert to_retry(out, errors="", nulls="caption_words") == []
    strike(out, records)
    assert (values() > 0).all()
    assert to_retry(out, errors="", nulls="letters") == []
    for nulls, message in (("lettres", "got column 'lettres'"), ("", "neither --errors nor --nul")):
        with pytest.raises(ValueError, match=message):
            to_retry(out, errors="", nulls=nulls)


def test_two_runs_share_scores(load, pool, tmp_path):
    shared = f'data.scores="{tmp_path / "scores"}"'
    one = run(load(shared), out=tmp_path / "one", execute=run_local, until="curate")
    before = finished_at(Folder(str(tmp_path / "scores")))
    cfg = load(shared, "rules.words.keep=5.0")
    two = run(cfg, out=tmp_path / "two", execute=run_local, until="curate")
    assert finished_at(Folder(str(tmp_path / "scores"))) == before
    assert len(before) == 3
    assert one["pairs_in"] == two["pairs_in"]
    assert not (tmp_path / "two" / "scores").exists()


@pytest.mark.timeout(280)
def test_murders_at_random_change_no_byte(pool):
    command = [sys.executable, str(CHAOS), "--runs", "2", "--pool", str(pool), "--seed", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=270)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 runs of 3 shards" in done.stdout
    assert "every byte the same" in done.stdout
