"""A finished run of 30 pairs in two shards, whose numbers can be counted by eye."""

import io
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from filters.ensemble import Bayes
from filters.extract import Column
from filters.rules import Band, Condition
from pipeline.folder import Folder
from pipeline.ledger import Record, Writer
from pipeline.samples import read_shard
from pipeline.schema import BASE_SCHEMA, Reason
from pipeline.scores import Scores, Source
from pipeline.shards import write_shard
from pipeline.tables import encode, score_schema, to_array
from tests.decided import with_decisions

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "invoice \u202egpj.exe\u202c \u2066isolated",
    "bell\x07 null\x00 escape\x1b[31m red",
    "x" * 100_000,
    "</title></svg><style>@import url(//evil.example)</style>",
    "{{ 7 * 7 }} {% raw %}",
)
RULES = (
    Band(name="bright", column="brightness", keep=120.0, drop=60.0),
    Condition(name="few words", columns=("words", "language"), drop="words < 3"),
    Band(name="<b>sharp</b>", column="sharpness", direction="low", keep=5.0, drop=5000.0),
)
COLUMNS = (
    Column("brightness", "float32", "level", "[0, 255]", "mean grey level"),
    Column("sharpness", "float32", "", "[0, inf)", "variance of the Laplacian"),
    Column("words", "int32", "word", "[0, inf)", "words of the caption"),
    Column("phash", "uint64", "", "[0, 2^64)", "perceptual hash"),
    Column("language", "string", "", "ISO 639", "language"),
)
REASONS = (
    *[Reason.OK] * 18,
    *[Reason.LOW_P_KEEP] * 5,
    *[Reason.DUPLICATE] * 2,
    Reason.QUOTA,
    Reason.REPEATED_UID,
    Reason.DECODE_ERROR,
    Reason.MISSING_IMAGE,
    Reason.MISSING_CAPTION,
)
UNSCORED = (Reason.DECODE_ERROR, Reason.MISSING_IMAGE, Reason.MISSING_CAPTION)
SUMMARY = {
    "pairs_in": 30,
    "pairs_kept": 18,
    "seconds": {"score": 12.5, "vote": 0.25},
    "bytes": {"shards": 123_456, "score tables": 2_048},
    "subset_sha256": "ab" * 32,
    "runs": {"subset": "train/subset-1f", "random": "train/random-2e", "student": "student-3d"},
    "zero_shot": {
        "student": {"zeroshot:category/acc1": 0.25, "zeroshot:category/main_metric": 0.25},
        "subset": {"zeroshot:category/acc1": 0.5, "zeroshot:category/main_metric": 0.5},
        "random": {"zeroshot:category/acc1": 0.4, "zeroshot:category/main_metric": 0.4},
    },
    "planted": {"swapped": {"planted": 4, "dropped": 3, "share": 0.75}},
    "planted_checks": {"alignment_auc": 0.93, "swapped_over_clean": None},
    "planted_rules": {
        "bright": {
            "swapped": {"planted": 4, "dropped": 3, "share": 0.75},
            "other_language": {"planted": 2, "dropped": 0, "share": 0.0},
            "clean": {"planted": 20, "dropped": 1, "share": 0.05},
        },
        "<b>sharp</b>": {
            "swapped": {"planted": 4, "dropped": 0, "share": 0.0},
            "other_language": {"planted": 2, "dropped": 2, "share": 1.0},
            "clean": {"planted": 20, "dropped": 0, "share": 0.0},
        },
    },
    "missing": [
        {"writer": "<i>o</i>", "columns": ["words", "<u>"], "rows": 9, "of": 27, "failed": 9},
        {"writer": "<i>o</i>", "columns": ["ratio"], "rows": 18, "of": 27, "failed": 9},
    ],
}


@dataclass(frozen=True)
class Run:
    folder: Folder
    scores: Scores
    decisions: pa.Table
    votes_NM: np.ndarray  # of the scored rows


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Run:
    """Rows alternate between two shards; row i has the uid i, so galleries are in that order."""
    tmp_path = tmp_path_factory.mktemp("report")
    (tmp_path / "pool").mkdir()
    urls = [_write_shard(tmp_path / "pool" / f"{s:05d}.tar", range(s, 30, 2)) for s in (0, 1)]
    rows = [*range(0, 30, 2), *range(1, 30, 2)]
    values = {i: _values(i) for i in rows}
    for s in (0, 1):
        _write_scores(tmp_path / f"{s}.parquet", urls[s], values)
    columns, digests = tuple(c.name for c in COLUMNS), np.ones((2, 32), np.uint8)
    scored = Scores(tuple(urls), ("0", "1"), (Source(str(tmp_path), columns, digests),))
    votes = {rule.name: [_vote(rule, values[i], REASONS[i]) for i in rows] for rule in RULES}
    decisions = _decisions(urls, rows, votes)
    folder = Folder(str(tmp_path / "run"))
    scores = with_decisions(scored, tmp_path / "decided", decisions, RULES)
    _write_run(folder, scores)
    write_ledger(folder, stage=tmp_path.name)
    voted = np.array([v for v in zip(*votes.values(), strict=True) if None not in v], np.int8)
    return Run(folder, scores, decisions, voted)


@pytest.fixture
def own_run(run, tmp_path) -> Run:
    """The same, with a run folder that a test may change: `tmp_path / "run"`."""
    shutil.copytree(run.folder.url, tmp_path / "run")
    return replace(run, folder=Folder(str(tmp_path / "run")))


def write_ledger(folder: Folder, *, stage: str) -> None:
    """Two cells, a shard each, a pause of a day between them, and a shard that is not the run's."""
    begun = 1_700_000_000.0
    for cell, shard, start in (("a", "0", 0.0), ("b<b>", "1", 86_400.0), ("c", "other", 50.0)):
        with Writer(folder, f"writer-{shard}") as ledger:
            record = Record(
                shard=shard, stage=stage, rows=15, reasons={"ok": 15}, sha256="ab" * 32,
                output_bytes=1, input_bytes=1, seconds={"read": 2.0, "<i>step</i>": 5.0},
                cell=cell, took=10.0, at=begun + start + 10,
            )  # fmt: skip
            ledger.add(record)


def caption_of(i: int) -> str:
    return HOSTILE[i] if i < len(HOSTILE) else f"picture number {i} of a thing"


def _write_shard(path: Path, rows: range) -> str:
    members = []
    for i in rows:
        meta = json.dumps({"uid": f"{i:032x}"}).encode()
        if REASONS[i] is not Reason.MISSING_IMAGE:
            png = _picture(i)
            cut = len(png) // 2 if REASONS[i] is Reason.DECODE_ERROR else len(png)
            members.append((f"{i:05d}.png", png[:cut]))
        if REASONS[i] is not Reason.MISSING_CAPTION:
            members.append((f"{i:05d}.txt", caption_of(i).encode()))
        members.append((f"{i:05d}.json", meta))
    write_shard(path, members)
    return str(path)


def _picture(i: int) -> bytes:
    image = Image.new("RGB", (200, 120 + 4 * i), (8 * i, 120, 255 - 8 * i))
    ImageDraw.Draw(image).ellipse((20, 20, 120, 100), fill=(255, 255 - 8 * i, 40))
    sink = io.BytesIO()
    about = PngInfo()
    about.add_text("comment", "not for the report")
    image.save(sink, "PNG", pnginfo=about)
    return sink.getvalue()


def _values(i: int) -> dict:
    return {
        "brightness": float("nan") if i == 2 else 8.0 * i,
        "sharpness": 1.5**i,
        "words": i % 7,
        "phash": i,
        "language": "en",
    }


def _write_scores(path: Path, url: str, values: dict[int, dict]) -> None:
    samples = list(read_shard(url))
    rows = [int(sample.key) for sample in samples]
    status = [str(REASONS[i]) if REASONS[i] in UNSCORED else "ok" for i in rows]
    base = {
        "uid": [s.uid for s in samples],
        "key": [s.key for s in samples],
        "offset": [s.offset for s in samples],
        "size": [s.size for s in samples],
        "status": status,
        "caption": [s.caption for s in samples],
    }
    schema = score_schema(COLUMNS)
    valid_N = np.array([s == "ok" for s in status])
    good = [values[i] for i, ok in zip(rows, valid_N, strict=True) if ok]
    arrays = [pa.array(base[name], BASE_SCHEMA.field(name).type) for name in base]
    arrays += [
        to_array([v[c.name] for v in good], schema.field(c.name), valid_N=valid_N) for c in COLUMNS
    ]
    path.write_bytes(encode(pa.Table.from_arrays(arrays, schema=schema)))


def _vote(rule: Band | Condition, value: dict, reason: Reason) -> int | None:
    """Vote by plain arithmetic; None where the row was not scored."""
    if reason in UNSCORED:
        return None
    if rule.name == "bright":
        return 1 if value["brightness"] >= 120 else 0 if value["brightness"] <= 60 else -1
    if rule.name == "few words":
        return 0 if value["words"] < 3 else -1
    return 1 if value["sharpness"] <= 5 else 0 if value["sharpness"] >= 5000 else -1


def _decisions(urls: list[str], rows: list[int], votes: dict[str, list]) -> pa.Table:
    samples = {int(s.key): s for url in urls for s in read_shard(url)}
    scored = {i for i in rows if REASONS[i] not in UNSCORED}
    grouped = {i for i in scored if REASONS[i] in (Reason.OK, Reason.DUPLICATE, Reason.QUOTA)}
    twins = {i: samples[i - 20].uid for i in rows if REASONS[i] is Reason.DUPLICATE}
    columns = {
        "shard": pa.array([i % 2 for i in rows], pa.int32()),
        "uid": pa.array([samples[i].uid for i in rows], pa.binary(16)),
        "key": [samples[i].key for i in rows],
        "offset": [samples[i].offset for i in rows],
        "size": [samples[i].size for i in rows],
        "caption": [samples[i].caption for i in rows],
        "reason": [str(REASONS[i]) for i in rows],
        "p_keep": pa.array([1 - i / 30 if i in scored else None for i in rows], pa.float64()),
        "concept": pa.array([i % 3 if i in grouped else None for i in rows], pa.int32()),
        "distance": pa.array([i / 100 if i in grouped else None for i in rows], pa.float32()),
        "twin": pa.array([twins.get(i) for i in rows], pa.binary(16)),
    }
    return pa.table(columns | {f"vote:{n}": pa.array(v, pa.int8()) for n, v in votes.items()})


def _write_run(folder: Folder, scores: Scores) -> None:
    reasons = {str(r): REASONS.count(r) for r in sorted(set(REASONS))}
    folder.write("summary.json", json.dumps(SUMMARY | {"reasons": reasons}).encode())
    folder.write("config.toml", b'seed = 0\nnote = "<script>alert(3)</script>"\n')
    model = Bayes(
        kind="triplet",
        prior=(0.3, 0.7),
        accuracy=(0.9, float("nan"), 0.75),
        share=(1.0,) * 3,
        told={},
        evidence=tuple(
            ((0.0, 0.0), (0.0, drop), (0.0, keep))
            for drop, keep in ((-2.0, 1.5), (-0.5, 0.0), (0.25, 3.0))
        ),
    )
    subset = folder / "subset"
    subset.write("scores.parquet", scores.dump())
    subset.write("label_model.json", model.to_json().encode())
    subset.write("rules.json", json.dumps([asdict(rule) for rule in RULES]).encode())
    concepts = {"concept": [0, 1, 2], "size": [7, 7, 7], "quota": [7, 7, 6]}
    numbers = {"complexity": [0.3, 0.1, 0.2], "x": [0.0, 1.0, 1.0], "y": [0.0, 0.5, 1.0]}
    subset.write("concepts.parquet", encode(pa.table(concepts | numbers)))
    for run in SUMMARY["runs"].values():
        lines = [{"step": s, "samples_seen": 8 * s, "loss": 1 / s} for s in (1, 2, 4)]
        text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 5, "lo'
        (folder / run).write("metrics.jsonl", text.encode())
