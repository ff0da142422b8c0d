"""Our cells against the readers of Ray Data and NeMo Curator: rows per second, and rows lost.

    python benchmarks/peers.py --out runs/peers
    python benchmarks/peers.py --out runs/peers --nemo-python peers-venv/bin/python

Every engine embeds the same JPEG shards with the same model (EfficientNet-Lite0, one thread) in
as many workers and writes Parquet; a fresh process each, in turn, round after round. Then once more
with one JPEG cut in half. Writes a Markdown report to standard output and to `OUT/report.md`. A
peer that is not installed is reported as skipped.

NeMo Curator wants an environment of its own: `pip install "nemo-curator[image-cpu]"
nvidia-dali-cuda120 onnxruntime`, then `--nemo-python`.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from peer_shards import LONGEST_SIDE, build_broken, build_clean, keys_of

from pipeline.tables import embedding
from pipeline.weights import model_file

ROOT = Path(__file__).parents[1]
JOBS = ROOT / "benchmarks" / "peer_jobs"
ONE_JOB_S = 300
LOSS_PAIRS = 200  # of the pool with a broken picture: what is lost shows on a small one
STARTED = time.perf_counter()


@dataclass(frozen=True, slots=True)
class Engine:
    """Who is measured: a script of `peer_jobs`, its interpreter, packages whose versions count."""

    name: str
    script: str
    python: str
    packages: tuple[str, ...]


@dataclass(slots=True)
class Result:
    """What one job left behind.

    Attributes:
        rows: Rows of the pool that its Parquet holds, scored.
        named: Rows that it holds with a reason instead.
        job_s: From a running Ray to the end: workers, model, everything.
        scoring_s: From the first batch at a model to the end; None if there was none.
        error: What the engine raised.
        note: What its start had to say.
        vectors: Of each row by key, for checking that all computed the same.
    """

    rows: int = 0
    named: int = 0
    job_s: float = 0.0
    scoring_s: float | None = None
    error: str | None = None
    note: str = ""
    vectors: dict[str, np.ndarray] = field(default_factory=dict)


def main() -> None:
    """Build the shards, run the engines in turn, write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=800)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--nemo-python", default=sys.executable)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    folder = options.out.resolve()
    clean = build_clean(folder / "clean", options.pairs, options.shards)
    broken = build_broken(folder / "broken", clean, min(LOSS_PAIRS, options.pairs))
    engines, skipped = installed(options.nemo_python)
    speed: dict[str, list[Result]] = {engine.name: [] for engine in engines}
    for number in range(options.rounds):
        for engine in engines:
            say(f"round {number + 1} of {options.rounds}: {engine.name}")
            speed[engine.name].append(run(engine, clean, options))
    if error := next((r.error for r in speed[engines[0].name] if r.error), None):
        raise SystemExit(f"cells: {error}; see {options.out / 'cells.log'}")
    loss: dict[tuple[str, bool], Result] = {}
    for engine in engines:
        for tolerate in (False, True)[: 1 if engine.script == "cells" else 2]:
            say(f"one broken picture, told to go on: {tolerate}: {engine.name}")
            loss[engine.name, tolerate] = run(engine, broken, options, tolerate=tolerate)
    report = "\n".join(lines(options, engines, skipped, speed, loss))
    (options.out / "report.md").write_text(report + "\n", encoding="utf-8")
    print(report)


def installed(nemo_python: str) -> tuple[list[Engine], dict[str, str]]:
    """Return the engines that can be imported, and why the others cannot."""
    here = sys.executable
    engines = [
        Engine("Thresher cells", "cells", here, ("ray", "onnxruntime", "simplejpeg")),
        Engine("Ray Data", "ray_data", here, ("ray", "onnxruntime", "pandas", "pillow")),
        Engine("NeMo Curator, Xenna", "nemo", nemo_python,
               ("nemo-curator", "cosmos-xenna", "nvidia-dali-cuda120", "ray", "onnxruntime")),
    ]  # fmt: skip
    needs = {
        "cells": "ray",
        "ray_data": "ray.data, webdataset",
        "nemo": "nemo_curator, nvidia.dali",
    }
    found, skipped = [], {}
    for engine in engines:
        command = [engine.python, "-c", f"import {needs[engine.script]}, onnxruntime"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            reason = done.stderr.strip().splitlines()[-1] if done.returncode else ""
        except OSError as error:
            reason = str(error)
        if reason:
            skipped[engine.name] = f"`{engine.python}`: {reason}"
        else:
            found.append(engine)
    return found, skipped


def run(
    engine: Engine, pool: Path, options: argparse.Namespace, *, tolerate: bool = False
) -> Result:
    """Run one job in a fresh process and read what it wrote."""
    out = options.out.resolve() / "job"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    weights = model_file("efficientnet_lite0")
    command = [engine.python, str(JOBS / f"{engine.script}.py"), "--pool", str(pool)]
    command += ["--out", str(out), "--weights", str(weights)]
    command += ["--workers", str(options.workers), "--batch", str(options.batch)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{JOBS}", "OMP_NUM_THREADS": "1"}
    log = options.out / f"{engine.script}.log"
    with log.open("wb") as sink:
        try:
            subprocess.run([*command, *["--tolerate"] * tolerate], env=environment, stdout=sink,
                           stderr=sink, check=False, timeout=ONE_JOB_S)  # fmt: skip
        except subprocess.TimeoutExpired:
            return Result(error=f"not done after {ONE_JOB_S} s")
    if not (out / "result.json").is_file():
        return Result(error=f"the process died, see {log}")
    result = Result(**json.loads((out / "result.json").read_text(encoding="utf-8")))
    result.vectors, result.named = read_rows(out, pool)
    result.rows = len(result.vectors)
    return result


def read_rows(out: Path, pool: Path) -> tuple[dict[str, np.ndarray], int]:
    """Read keys and embeddings of all Parquet files, and count the rows with a reason.

    NeMo Curator renames samples to `<tar>_<position>`; they get their keys back by position.
    """
    renamed = {}
    places: dict[str, int] = {}
    for stem, key in keys_of(pool):
        places[stem] = places.get(stem, -1) + 1
        renamed[f"{stem}_{places[stem]:06d}"] = key
    vectors, named = {}, 0
    for path in sorted(out.rglob("*.parquet")):
        table = pq.read_table(path)
        if "status" in table.column_names:
            good = table.filter(pc.equal(table.column("status"), "ok"))
            named += len(table) - len(good)
            values = embedding(good, "embedding")
        else:
            good = table
            values = np.stack([np.asarray(v) for v in _lists(table.column("embedding"))])
        keys = [renamed.get(key, key) for key in good.column("key").to_pylist()]
        vectors |= dict(zip(keys, values, strict=True))
    return vectors, named


def _lists(column: pa.ChunkedArray) -> Iterator[np.ndarray]:
    """Yield vectors of a list column, or of Ray Data's tensor column."""
    for chunk in column.chunks:
        storage = getattr(chunk, "storage", chunk)
        yield from (np.asarray(value.values) for value in storage)


def say(text: str) -> None:
    """Tell who waits what is going on, with the seconds since the start."""
    print(f"{time.perf_counter() - STARTED:5.0f} s  {text}", file=sys.stderr, flush=True)


def lines(
    options: argparse.Namespace,
    engines: Sequence[Engine],
    skipped: dict[str, str],
    speed: dict[str, list[Result]],
    loss: dict[tuple[str, bool], Result],
) -> Iterator[str]:
    """Compose the report."""
    ours, few = engines[0].name, min(LOSS_PAIRS, options.pairs)
    yield heading(options)
    yield from (f"- {e.name}: {versions(e)}. {speed[e.name][0].note}" for e in engines)
    yield from (f"- {name}: skipped, {reason}" for name, reason in skipped.items())
    yield (
        "\n| engine | rows scored | whole job, rows/s median (best) | cells / engine "
        "| from the first batch, rows/s median (best) | cells / engine "
        "| cosine to the cells' embedding, median (least) |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for name, results in speed.items():
        if bad := next((r.error for r in results if r.error), None):
            yield f"| {name} | {results[0].rows} | failed: {bad} |"
            continue
        cells = [rate(speed[ours], results, seconds) for seconds in ("job_s", "scoring_s")]
        cosine = agreement(speed[ours][0].vectors, results[0].vectors)
        yield f"| {name} | {results[0].rows} | {cells[0]} | {cells[1]} | {cosine} |"
    yield (
        f"\n| one JPEG of {few} cut in half | setting | rows scored | rows with a reason "
        "| rows lost | what it said |\n| --- | --- | --- | --- | --- | --- |"
    )
    for (name, tolerate), result in loss.items():
        lost = few - result.rows - result.named
        setting = "told to go on after errors" if tolerate else "default"
        yield (
            f"| {name} | {setting} | {result.rows} | {result.named} | {lost} "
            f"| {result.error or 'done'} |"
        )


def heading(options: argparse.Namespace) -> str:
    """Say where, of what and how."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((x.partition(":")[2].strip() for x in cpuinfo if "model name" in x), "")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True,
                            capture_output=True, check=False).stdout.strip()  # fmt: skip
    size = sum(path.stat().st_size for path in (options.out / "clean").glob("*.tar")) / 1e6
    return (
        f"{os.cpu_count()} cores ({model or platform.machine()}), load {os.getloadavg()[2]:.1f}, "
        f"commit {commit}, Python {platform.python_version()}; command: "
        f"`python {' '.join(sys.argv)}`.\n\n{options.pairs} openclipart pairs as JPEG, longest "
        f"side {LONGEST_SIDE}, {options.shards} shards, {size:.0f} MB; {options.rounds} rounds in "
        f"turn, {options.workers} workers with the model each, batch {options.batch}, one thread "
        "per model.\n"
    )


def versions(engine: Engine) -> str:
    """Ask an engine's interpreter for the versions of its packages."""
    code = (
        "import importlib.metadata as m, sys; "
        "print(', '.join(f'{p} {m.version(p)}' for p in sys.argv[1:]))"
    )
    command = [engine.python, "-c", code, *engine.packages]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def rate(ours: Sequence[Result], theirs: Sequence[Result], seconds: str) -> str:
    """Format rows per second and the median over rounds of our rate over theirs."""
    rates = [[r.rows / getattr(r, seconds) for r in results] for results in (ours, theirs)]
    ratio = statistics.median(a / b for a, b in zip(*rates, strict=True))
    return f"{statistics.median(rates[1]):.1f} ({max(rates[1]):.1f}) | {ratio:.2f}"


def agreement(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> str:
    """Format median and least cosine of two embeddings of the same picture."""
    both = [(ours[k].astype(np.float64), theirs[k].astype(np.float64)) for k in ours if k in theirs]
    cosine = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in both]
    return f"{statistics.median(cosine):.4f} ({min(cosine):.4f})"


if __name__ == "__main__":
    main()
