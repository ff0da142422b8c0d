"""What does one more head cost of a pass, and what do the tower's stages cost beside its features?

    python benchmarks/heads.py --pool runs/demo/pool/pool > benchmarks/results/DATE-heads.md

A head needs a stored embedding: it is timed with all that its stage does for a shard (read the
column and the base columns, map, write the table), a linear head and one with a hidden layer. What
it is held against is the embed extractor on the same rows, pictures decoded already, which is less
than a pass takes. The two take turns; times are processor seconds of one thread.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from heading import heading
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file
from threadpoolctl import threadpool_limits

from filters.derive import Head
from filters.extract import Batch, Embeddings, Extractor, Score, Stages
from filters.extract.embed import IMAGE_DIM
from filters.extract.stages import STAGE_DIMS
from pipeline.decode import DecodeError, decode_picture
from pipeline.samples import read_shard
from pipeline.schema import BASE_SCHEMA
from pipeline.shards import list_shards
from pipeline.tables import embedding, encode, read, score_schema, to_array
from pipeline.weights import model_file
from training.heads.fit import fit_head
from training.heads.problem import Shape

BATCH = 32
HIDDEN = 64


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pool", required=True, help="Folder with shards.")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--probes", type=int, default=800, help="Pictures of the second table.")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        print(heading("one thread"))
        costs(batches_of(pictures(arguments.pool, arguments.rows)), Path(folder), arguments.rounds)
        knowledge(pictures(arguments.pool, arguments.probes))


def pictures(pool: str, rows: int) -> list[NDArray[np.uint8]]:
    """Return the first pictures of a pool that can be decoded, as a cell decodes them."""
    found: list[NDArray[np.uint8]] = []
    for shard in list_shards([pool]):
        for sample in read_shard(shard):
            with suppress(DecodeError):
                found += [decode_picture(sample.image, min_side=256).rgb] if sample.image else []
            if len(found) == rows:
                return found
    return found


def batches_of(found: Sequence[NDArray[np.uint8]]) -> list[Batch]:
    """Cut pictures into batches of a cell's size; their captions are all alike."""
    cuts = [found[at : at + BATCH] for at in range(0, len(found), BATCH)]
    return [
        Batch(cut, [p.shape[1::-1] for p in cut], ["a drawing of a house and a tree"] * len(cut))
        for cut in cuts
    ]


def costs(batches: list[Batch], folder: Path, rounds: int) -> None:
    """Print what a head, and the stages, cost beside the embeddings."""
    rows = sum(map(len, batches))
    (folder / "scores.parquet").write_bytes(encode(stored(batches)))
    towers = {
        "embed": [load(Embeddings())],
        "embed and stages, one forward pass": [load(Embeddings()), load(Stages())],
    }
    calls: dict[str, Callable[[], object]] = {
        name: partial(extract, scores, batches) for name, scores in towers.items()
    }
    for name, hidden in (("linear head", 0), (f"head with {HIDDEN} hidden units", HIDDEN)):
        place = folder / f"{hidden}.safetensors"
        save_file(drawn(hidden), place)
        head = Head(name="taste", column="image_embedding", file=str(place))
        calls[name] = partial(derive, head, folder / "scores.parquet")
    turns: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            turns[name].append((time.process_time() - start) / rows * 1e3)
    print(f"\n## What it costs, {rows} rows, batch {BATCH}\n")
    print("| what | ms of a core a row, median (best) | share of embed, median (best) |")
    print("| --- | --- | --- |")
    base = turns["embed"][1:]  # the first turn warms up
    for name, every in turns.items():
        middle, best = statistics.median(every[1:]), min(every[1:])
        share = f"{middle / statistics.median(base):.2%} ({best / min(base):.2%})"
        print(f"| {name} | {middle:.4f} ({best:.4f}) | {share} |")


def load(extractor: Extractor) -> Score:
    """Load an extractor's models."""
    return extractor.load({n: model_file(n) for n in extractor.weights}, threads=1)


def extract(scores: Sequence[Score], batches: Sequence[Batch]) -> None:
    """Score all batches, each as new, so that nothing of the turn before is shared."""
    for batch in batches:
        fresh = batch.rows(0, len(batch))
        for score in scores:
            score(fresh)


def stored(batches: Sequence[Batch]) -> pa.Table:
    """Return the score table of the rows, all good."""
    score = load(Embeddings())
    parts = [score(batch.rows(0, len(batch))) for batch in batches]
    rows = sum(map(len, batches))
    base = [
        [i.to_bytes(16, "big") for i in range(rows)], [str(i) for i in range(rows)],
        [512 * i for i in range(rows)], [512] * rows, ["ok"] * rows, ["a caption"] * rows,
    ]  # fmt: skip
    arrays = [pa.array(v, f.type) for v, f in zip(base, BASE_SCHEMA, strict=True)]
    schema, every = score_schema(Embeddings.columns), np.ones(rows, bool)
    for column in Embeddings.columns:
        values = np.concatenate([np.asarray(part[column.name]) for part in parts])
        arrays.append(to_array(values, schema.field(column.name), valid_N=every))
    return pa.Table.from_arrays(arrays, schema=schema)


def drawn(hidden: int) -> dict[str, NDArray[np.float32]]:
    """Return a head's tensors; what they are makes no difference to the clock."""
    rng, dim = np.random.default_rng(0), IMAGE_DIM
    sizes = [(hidden, dim), (1, hidden)] if hidden else [(1, dim)]
    return {
        f"layers.{i}.weight": rng.normal(size=size).astype(np.float32)
        for i, size in enumerate(sizes)
    }


def derive(head: Head, scores: Path) -> None:
    """Do all that a head's stage does for a shard."""
    make = head.load({head.file: Path(head.file)}, None)
    table = read(str(scores), [*BASE_SCHEMA.names, head.column])
    values = make({head.column: embedding(table, head.column)})[head.name]
    schema = score_schema(head.columns)
    added = to_array(values, schema.field(head.name), valid_N=np.ones(len(table), bool))
    base = table.select(BASE_SCHEMA.names).columns
    written = encode(pa.Table.from_arrays([*base, added], schema=schema))
    scores.with_name("derived.parquet").write_bytes(written)


def knowledge(found: Sequence[NDArray[np.uint8]]) -> None:
    """Print how well heads tell what was done to a picture, by the features they read."""
    rng = np.random.default_rng(0)
    label = rng.permutation(len(found)) % 2
    print(f"\n## What they know: held-out AUC, {len(found)} pictures, half of them changed\n")
    print("| changed by | image_embedding | stage_embedding | the same, stages weighed |")
    print("| --- | --- | --- | --- |")
    towers = [load(Embeddings()), load(Stages())]
    for name, change in CHANGES.items():
        mixed = [change(p) if bad else p for p, bad in zip(found, label, strict=True)]
        parts = [{k: v for s in towers for k, v in s(b).items()} for b in batches_of(mixed)]
        columns = {c: np.concatenate([p[c] for p in parts]) for c in parts[0]}
        shapes = [("image_embedding", ()), ("stage_embedding", ()), ("stage_embedding", STAGE_DIMS)]
        heads = [
            fit_head(columns[c], label.astype(float), shape=Shape(stage_dims=d), seed=0)
            for c, d in shapes
        ]
        shares = ", ".join(f"{share:.2f}" for share in heads[-1].stage_shares)
        aucs = " | ".join(f"{head.heldout['auc']:.3f}" for head in heads)
        print(f"| {name} | {aucs} ({shares}) |")


def recompressed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write a picture as a JPEG of quality 50, and read it."""
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "JPEG", quality=50)
    return np.asarray(Image.open(sink))


def enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Halve a picture and double it again."""
    image = Image.fromarray(picture)
    half = image.resize((max(1, image.width // 2), max(1, image.height // 2)))
    return np.asarray(half.resize(image.size, Image.Resampling.BICUBIC))


def marked(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay faint stripes over a picture, as a watermark is laid."""
    height, width = picture.shape[:2]
    stripes = np.add.outer(np.arange(height), np.arange(width)) // 12 % 3 == 0
    return np.where(stripes[..., None], picture * 0.94, picture).astype(np.uint8)


CHANGES = {
    "JPEG, quality 50": recompressed,
    "halved and doubled": enlarged,
    "stripes, 6 % darker": marked,
}

if __name__ == "__main__":
    main()
