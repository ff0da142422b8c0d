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
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from pipeline.decode import decode_rgb
from pipeline.pools.build import build_pool
from pipeline.shards import list_shards, read_shard, write_shard
from pipeline.tables import embedding
from pipeline.weights import model_file

ROOT = Path(__file__).parents[1]
JOBS = ROOT / "benchmarks" / "peer_jobs"
LONGEST_SIDE = 1024  # of a picture in the shards, as downloaders of web pools leave them
BROKEN_SHARD = 1
ONE_JOB_S = 300


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
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--nemo-python", default=sys.executable)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    clean, broken = build_shards(options.out.resolve(), options.pairs, options.shards)
    engines, skipped = installed(options.nemo_python)
    speed: dict[str, list[Result]] = {engine.name: [] for engine in engines}
    for number in range(options.rounds):
        for engine in engines:
            say(f"round {number + 1} of {options.rounds}: {engine.name}")
            speed[engine.name].append(run(engine, clean, options))
    loss: dict[tuple[str, bool], Result] = {}
    for engine in engines:
        for tolerate in (False, True)[: 1 if engine.script == "cells" else 2]:
            say(f"one broken picture, told to go on: {tolerate}: {engine.name}")
            loss[engine.name, tolerate] = run(engine, broken, options, tolerate=tolerate)
    report = "\n".join(lines(options, engines, skipped, speed, loss, clean))
    (options.out / "report.md").write_text(report + "\n", encoding="utf-8")
    print(report)


def build_shards(out: Path, pairs: int, shards: int) -> tuple[Path, Path]:
    """Write the pool as JPEG shards, and once more with one picture cut in half; reuse both."""
    clean, broken = out / "clean", out / "broken"
    if sum(1 for _ in keys_of(clean)) == pairs and broken.is_dir():
        return clean, broken
    for folder in (clean, broken):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    size = -(-pairs // shards)
    build_pool("openclipart", out=out / "source", limit=pairs, shard_size=size)
    for number, url in enumerate(list_shards([str(out / "source" / "pool")])):
        members = [m for s in read_shard(url) for m in ((s.key, "jpg", jpeg(s.image)),
                   (s.key, "txt", (s.caption or "").encode()))]  # fmt: skip
        write_shard(clean / Path(url).name, ((f"{k}.{e}", data) for k, e, data in members))
        if number == BROKEN_SHARD:
            at = len(members) // 4 * 2
            key, extension, data = members[at]
            members[at] = (key, extension, data[: len(data) // 2])
        write_shard(broken / Path(url).name, ((f"{k}.{e}", data) for k, e, data in members))
    return clean, broken


def jpeg(image: bytes | None) -> bytes:
    """Encode a picture as an RGB JPEG of bounded size."""
    assert image is not None, "the pool has nothing planted"
    picture = Image.fromarray(decode_rgb(image, min_side=LONGEST_SIDE, max_pixels=2**31))
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=90)
    return sink.getvalue()


def keys_of(pool: Path) -> Iterator[tuple[str, str]]:
    """Yield (tar's stem, key) in the order of a pool; nothing without one."""
    for path in sorted(pool.glob("*.tar")):
        yield from ((path.stem, sample.key) for sample in read_shard(str(path)))


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
    """Tell who waits what is going on."""
    print(text, file=sys.stderr, flush=True)


def lines(
    options: argparse.Namespace,
    engines: Sequence[Engine],
    skipped: dict[str, str],
    speed: dict[str, list[Result]],
    loss: dict[tuple[str, bool], Result],
    clean: Path,
) -> Iterator[str]:
    """Compose the report."""
    ours = engines[0].name
    rows = sum(1 for _ in keys_of(clean))
    yield heading(options, rows, clean)
    yield from (f"- {e.name}: {versions(e)}. {speed[e.name][0].note}" for e in engines)
    yield from (f"- {name}: skipped, {reason}" for name, reason in skipped.items())
    yield (
        "\n| engine | rows scored | whole job, rows/s median (best) | cells / engine | from the first "
        "batch, rows/s median (best) | cells / engine | least cosine to the cells' embedding |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for name, results in speed.items():
        if bad := next((r.error for r in results if r.error), None):
            yield f"| {name} | {results[0].rows} | failed: {bad} |"
            continue
        cells = [rate(speed[ours], results, seconds) for seconds in ("job_s", "scoring_s")]
        cosine = least_cosine(speed[ours][0].vectors, results[0].vectors)
        yield f"| {name} | {results[0].rows} | {cells[0]} | {cells[1]} | {cosine:.4f} |"
    yield (
        "\n| one JPEG cut in half | setting | rows scored | rows with a reason | rows lost "
        "| what it said |\n| --- | --- | --- | --- | --- | --- |"
    )
    for (name, tolerate), result in loss.items():
        lost = rows - result.rows - result.named
        setting = "told to go on after errors" if tolerate else "default"
        yield (
            f"| {name} | {setting} | {result.rows} | {result.named} | {lost} "
            f"| {result.error or 'done'} |"
        )


def heading(options: argparse.Namespace, rows: int, clean: Path) -> str:
    """Say where, of what and how."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((x.partition(":")[2].strip() for x in cpuinfo if "model name" in x), "")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True,
                            capture_output=True, check=False).stdout.strip()  # fmt: skip
    size = sum(path.stat().st_size for path in clean.glob("*.tar")) / 1e6
    return (
        f"{os.cpu_count()} cores ({model or platform.machine()}), load {os.getloadavg()[2]:.1f}, "
        f"commit {commit}, Python {platform.python_version()}; command: "
        f"`python {' '.join(sys.argv)}`.\n\n{rows} openclipart pairs as JPEG, longest side "
        f"{LONGEST_SIDE}, {options.shards} shards, {size:.0f} MB; {options.rounds} rounds in turn, "
        f"{options.workers} workers with the model each, batch {options.batch}, one thread per "
        "model.\n"
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


def least_cosine(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    """Return the smallest cosine of two embeddings of the same picture."""
    both = [(ours[k].astype(np.float64), theirs[k].astype(np.float64)) for k in ours if k in theirs]
    return min(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in both)


if __name__ == "__main__":
    main()
