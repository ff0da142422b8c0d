"""Whole runs: what is done is not done again, and where it runs changes no byte."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline.cells.decoding
import pipeline.executors.local
from filters.extract.ocr import TextInImage
from pipeline.executors import run_local, run_on_ray
from pipeline.folder import Folder
from pipeline.health import scores_of, status, strike, verify
from pipeline.index.build import index_of_scores
from pipeline.index.parts import uids_from_bytes
from pipeline.scores import Scores
from pipeline.shards import write_shard
from tests.toy import build_pool, draw, encoded, huge_png, pair
from thresher import run


@pytest.fixture(scope="session")
def reference(tmp_path_factory, pool):
    """Return the folder of a finished run with `--ray off`, and its summary."""
    from pipeline.config import load_config
    from tests.integration.conftest import CONFIG
    from thresher import Run

    folder = tmp_path_factory.mktemp("reference")
    (folder / "c.toml").write_text(CONFIG.format(shards=pool))
    cfg = load_config(folder / "c.toml", Run)
    return folder / "run", run(cfg, out=folder / "run", execute=run_local)


def score_files(out):
    return {
        p.relative_to(out).as_posix(): p.read_bytes()
        for p in sorted((out / "scores").rglob("*.parquet"))
    }


def no_pixels(*_args, **_kwargs):
    raise AssertionError("a finished shard was opened")


def test_a_run_leaves_what_the_contract_names(reference):
    out, summary = reference
    subset = np.load(out / "subset" / "subset.npy")  # refuses pickles
    assert subset.dtype == np.dtype("u8,u8")
    assert subset.tolist() == sorted(subset.tolist())
    chosen = pq.read_table(out / "subset" / "subset.parquet")
    assert chosen.column_names == ["uid", "p_keep", "concept", "copies"]
    uids = uids_from_bytes(b"".join(chosen.column("uid").to_pylist()))
    assert uids.tolist() == subset.tolist()
    dropped = pq.read_table(out / "subset" / "dropped.parquet")
    assert len(dropped) + len(subset) == summary["pairs_in"] == 36
    counted = Counter(dropped.column("reason").to_pylist())
    assert {**counted, "ok": len(subset)} == summary["reasons"]
    assert (out / "config.toml").is_file()
    assert (out / "report" / "index.html").stat().st_size > 10_000
    assert list(verify(Folder(str(out)))) == []


def test_plain_numpy_reads_the_subset(reference):
    out, summary = reference
    subset = np.load(out / "subset" / "subset.npy", allow_pickle=False)
    assert len(subset) == summary["pairs_kept"]


def test_a_finished_run_opens_no_shard(reference, load, monkeypatch, tmp_path):
    out, summary = reference
    shutil.copytree(out, tmp_path / "again")
    monkeypatch.setattr(pipeline.executors.local, "open_shard", no_pixels)
    monkeypatch.setattr(pipeline.cells.decoding, "decode_picture", no_pixels)
    again = run(load(), out=tmp_path / "again", execute=run_local)
    assert again["subset_sha256"] == summary["subset_sha256"]


def test_a_changed_threshold_reads_no_pixel(reference, load, monkeypatch, tmp_path):
    out, summary = reference
    shutil.copytree(out, tmp_path / "again")
    monkeypatch.setattr(pipeline.executors.local, "open_shard", no_pixels)
    cfg = load("rules.words.keep=99.0")
    again = run(cfg, out=tmp_path / "again", execute=run_local)
    assert again["subset_sha256"] != summary["subset_sha256"]
    assert again["pairs_kept"] < summary["pairs_kept"]


def test_an_added_extractor_runs_alone(reference, load, tmp_path):
    out, _ = reference
    shutil.copytree(out, tmp_path / "again")
    before = score_files(tmp_path / "again")
    cfg = load()
    more = (*cfg.extract, TextInImage(side=64))
    run(replace(cfg, extract=more), out=tmp_path / "again", execute=run_local)
    after = score_files(tmp_path / "again")
    assert {name: data for name, data in after.items() if name in before} == before
    added = {name: pq.read_table(io.BytesIO(after[name])) for name in after if name not in before}
    assert sum("/votes-" in name for name in added) == 3  # which rows are good may have changed
    added = [table for name, table in added.items() if "/score-" in name]
    assert len(added) == 3
    written = [column.name for column in TextInImage().columns]
    assert all(t.column_names[6:] == written for t in added)


def test_ray_gives_the_bytes_of_the_for_loop(reference, load, tmp_path):
    out, summary = reference
    cfg = load("cells.count=2")
    found = run(cfg, out=tmp_path / "ray", execute=run_on_ray("local"))
    assert found["subset_sha256"] == summary["subset_sha256"]
    assert list(score_files(tmp_path / "ray").values()) == list(score_files(out).values())


def test_decoders_elsewhere_change_no_byte(reference, load, tmp_path):
    """One cell and two decoders: another number of cells than above, too."""
    out, summary = reference
    cfg = load("cells.count=1", "cells.decode_cells=2", "cells.cpus=0.2")
    found = run(cfg, out=tmp_path / "ray", execute=run_on_ray("local"), until="curate")
    assert found["subset_sha256"] == summary["subset_sha256"]
    assert list(score_files(tmp_path / "ray").values()) == list(score_files(out).values())


def test_the_order_and_the_cut_of_shards_change_nothing(reference, load, tmp_path, pool):
    _, summary = reference
    names = sorted(pool.glob("*.tar"))
    cfg = load(f"data.shards={json.dumps([str(n) for n in names[::-1]])}")
    found = run(cfg, out=tmp_path / "reversed", execute=run_local, until="curate")
    assert found["subset_sha256"] == summary["subset_sha256"]


def test_killed_in_the_middle_of_scoring_and_started_again(reference, config, tmp_path):
    _, summary = reference
    out = tmp_path / "killed"
    options = ["--out", str(out), "--ray", "off"]
    command = [sys.executable, "-m", "thresher", "curate", str(config()), *options]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not list((out / "ledger").glob("*.jsonl")):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = sum(s.shards for s in status(Folder(str(out))))
    assert 1 <= done <= 3
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = json.loads((out / "summary.json").read_text())
    assert found["subset_sha256"] == summary["subset_sha256"]
    assert not [p for p in out.rglob("*.tmp") if "scores" not in str(p)]


def test_every_kind_of_trouble_costs_its_own_rows_and_the_counts_add_up(load, tmp_path):
    folder = build_pool(tmp_path, shards=1, pairs=12)
    noise = encoded(draw("circle", "red", size=(64, 64)), "BMP")
    write_shard(
        tmp_path / "bad.tar",
        [
            *pair("huge", image=huge_png(100_000, 100_000)),
            *pair("corrupt", image=noise[:50]),
            *pair("gif", image=encoded(draw("circle", "red"), "GIF"), extension="jpg"),
            *pair("grey", image=encoded(draw("circle", "red", mode="L"))),
            *pair("../../x"),
            ("lonely.txt", b"no picture"),
            *pair("twice", meta={"uid": "0"}),  # a uid of the clean shard
            *pair("end"),
        ],
    )
    (tmp_path / "cut.tar").write_bytes((tmp_path / "bad.tar").read_bytes()[:1500])
    (tmp_path / "junk.tar").write_bytes(b"junk" * 1000)
    (tmp_path / "empty.tar").write_bytes(b"")
    cfg = load("ensemble.prior=0.9", shards=folder)
    summary = run(cfg, out=tmp_path / "run", execute=run_local)
    reasons = summary["reasons"]
    assert summary["pairs_in"] == sum(reasons.values()) == 12 + 8 + 1 + 1 + 1
    expected = {
        "too_many_pixels": 1, "decode_error": 1, "unsafe_name": 1, "missing_image": 1,
        "repeated_uid": 1, "not_a_tar": 1, "empty_shard": 1, "truncated": 1,
    }  # fmt: skip
    assert {r: n for r, n in reasons.items() if r in expected} == expected


def test_a_damaged_table_is_found_and_repaired(reference, load, tmp_path):
    out, _ = reference
    shutil.copytree(out, tmp_path / "damaged")
    table = next((tmp_path / "damaged" / "scores").rglob("*.parquet"))
    table.write_bytes(table.read_bytes()[:-1] + b"\0")
    folder = Folder(str(tmp_path / "damaged"))
    ((defect, record),) = verify(folder)
    assert table.name in defect
    strike(folder, [record])
    run(load(), out=tmp_path / "damaged", execute=run_local)
    assert list(verify(folder)) == []
    assert score_files(tmp_path / "damaged") == score_files(out)


def test_labels_and_a_budget_by_the_config(reference, load, tmp_path):
    out, _ = reference
    shutil.copytree(out, tmp_path / "run")
    uids = [f"{number:032x}" for number in range(0, 36, 3)]
    table = pa.table({"uid": uids, "label": pa.array([1] * len(uids), pa.int32())})
    pq.write_table(table, tmp_path / "labels.parquet")
    overrides = [f'ensemble.labels="{tmp_path / "labels.parquet"}"', "ensemble.budget=7"]
    cfg = load(*overrides, "concepts.keep=1.0")
    summary = run(cfg, out=tmp_path / "run", execute=run_local, until="curate")
    assert summary["labels"] == {"keep": 12, "drop": 0, "without_votes": 0}
    assert summary["reasons"] == {"ok": 7, "over_budget": 29}
    pq.write_table(table.set_column(0, "uid", [["f" * 32] * 12]), tmp_path / "labels.parquet")
    with pytest.raises(ValueError, match=r"labels: got f{32} twice"):
        run(cfg, out=tmp_path / "run", execute=run_local, until="curate")


def test_a_gap_is_found(reference, tmp_path):
    out, _ = reference
    shutil.copytree(out, tmp_path / "gap")
    subset = Folder(str(tmp_path / "gap" / "subset"))
    scores = Scores.load(subset.read("scores.parquet"))
    digests = scores.sources[0].digest_S32.copy()
    digests[1] = 0
    sources = (replace(scores.sources[0], digest_S32=digests), *scores.sources[1:])
    subset.write("scores.parquet", replace(scores, sources=sources).dump())
    ((gap, record),) = verify(Folder(str(tmp_path / "gap")))
    assert record is None
    assert "00001.tar: got no" in gap


def test_of_two_pairs_with_one_uid_training_sees_the_one_that_was_kept(load, tmp_path):
    for shard in range(2):
        members = []
        for i in range(8):
            image = encoded(draw("circle", "red", size=(40 + i, 60 + 20 * shard)))
            meta = {"uid": f"{i:x}"}
            members += pair(f"{i}", image=image, caption=f"text {shard} of {i}", meta=meta)
        write_shard(tmp_path / f"{shard}.tar", members)
    cfg = load("ensemble.prior=0.9", "concepts.keep=1.0", shards=tmp_path)
    run(cfg, out=tmp_path / "run", execute=run_local)
    scores, home = scores_of(Folder(str(tmp_path / "run"))), Folder(str(tmp_path / "home"))
    subset = str(tmp_path / "run" / "subset" / "subset.npy")
    kept = [low for _, low in np.load(subset).tolist()]
    assert kept
    for subsets, expected in (([], range(8)), ([subset], kept)):
        shown = index_of_scores(scores, subsets, home=home, execute=run_local)
        assert sorted(shown.captions) == [f"text 0 of {i}" for i in expected]


def test_verify_misses_a_table_that_is_gone(reference, tmp_path):
    out, _ = reference
    shutil.copytree(out, tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone" / "scores")
    assert len(list(verify(Folder(str(tmp_path / "gone"))))) == len(score_files(out))


def parent_of(pid):
    stat = (Path("/proc") / str(pid) / "stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def our_busy_cells():
    """Return the ids of cells at work that descend from this process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            busy = b"ray::CellActor.run" in (folder / "cmdline").read_bytes()
            ancestors, pid = set(), int(folder.name)
            while busy and pid > 1:
                pid = parent_of(pid)
                ancestors.add(pid)
            if busy and os.getpid() in ancestors:
                found.append(int(folder.name))
        except (OSError, ValueError):
            continue
    return found


def test_a_cell_that_is_killed_costs_no_row(reference, load, tmp_path):
    out, summary = reference
    killed = []

    def kill_one():
        while not killed and not stop.wait(0.005):
            for pid in our_busy_cells()[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    stop = threading.Event()
    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        found = run(load("cells.count=2"), out=tmp_path / "run", execute=run_on_ray("local"))
    finally:
        stop.set()
        killer.join()
    assert killed, "no cell was at work long enough to be killed"
    assert found["subset_sha256"] == summary["subset_sha256"]
    assert list(score_files(tmp_path / "run").values()) == list(score_files(out).values())
