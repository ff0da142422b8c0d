"""How fast do training batches come out of shards, against open_clip's own input pipeline?

    python benchmarks/loader.py --peer PYTHON > benchmarks/results/DATE-loader.md

PYTHON is an interpreter with open_clip_torch 3.3.0, webdataset 0.2.86, torch and torchvision. Both
sides read the same shards of 500 x 375 photographs with one worker process, batches of 64, crops
of 90 to 100 % of the area to 224 px (open_clip's default) and CLIP's tokens. They take turns, each
turn a process of its own. open_clip hands over normalised float32, Thresher uint8: it normalises
on the device, which costs a CPU what the last table says.
"""

import argparse
import io
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from heading import heading
from loader_turn import SIDE, Turn, timed
from photographs import photographs
from PIL import Image

from filters.open_clip_models import tokenizer
from pipeline.decode import decode_jpeg, read_header, reduction
from pipeline.pairs import pairs_from_shards
from pipeline.shards import list_shards, write_shard
from training.config import Augment, Loader
from training.input.augment import Crop, draw_crop, random_crop
from training.input.batches import Batches
from training.input.order import Order, sample_rng
from training.input.texts import texts_in_memory

WORDS = """a the of on in and with at red blue old small wooden photo view lake mountain sunset tree
house street dog cat field flower bridge river stone cloud night morning winter summer light shadow
garden path window boat beach forest snow sky road city"""
SHARDS, PER_SHARD = 5, 1000
AUGMENT = Augment(min_area=0.9, max_aspect=4 / 3, flip=0.0)  # open_clip's


def main() -> None:
    """Take turns and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="interpreter with open_clip 3.3.0 and webdataset 0.2.86")
    parser.add_argument("--pool", type=Path, default=Path("runs/loader-pool"))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--side", action="store_true", help="one turn of ours, as JSON")
    turn = Turn.parse(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.side:
        print(json.dumps(ours(arguments.pool, turn)))
        return
    pictures = photographs((500, 375), quality=90)
    build(arguments.pool, pictures)
    print(heading(f"{turn.workers} worker, batches of {turn.batch_size}"))
    compare(arguments.pool, arguments.peer, turn, turns=arguments.turns)
    alone(pictures, rounds=2 * arguments.turns)
    agreement(pictures)


def build(pool: Path, pictures: list[bytes]) -> None:
    """Write the shards, each picture many times in another order; reuse what is there."""
    if len(list(pool.glob("*.tar"))) == SHARDS:
        return
    pool.mkdir(parents=True, exist_ok=True)
    draw = random.Random(0)
    for shard in range(SHARDS):
        members = []
        for i in range(PER_SHARD):
            key = f"{shard:04d}{i:05d}"
            caption = " ".join(draw.choices(WORDS.split(), k=draw.randint(5, 15)))
            members += [
                (f"{key}.jpg", draw.choice(pictures)),
                (f"{key}.txt", caption.encode()),
                (f"{key}.json", json.dumps({"uid": f"{shard * PER_SHARD + i:032x}"}).encode()),
            ]
        write_shard(pool / f"{shard:05d}.tar", members)


def ours(pool: Path, turn: Turn) -> dict[str, float]:
    """Measure one turn of Thresher's loader."""
    pairs = pairs_from_shards(list_shards([str(pool)]))
    tokenize = tokenizer({"text_cfg": {}})
    start = time.process_time()
    texts = texts_in_memory(pairs.captions, tokenize)
    tokens_ms = (time.process_time() - start) / len(pairs) * 1e3
    loader = Loader(workers=turn.workers, threads=1, prefetch=2 * turn.workers, cache_bytes=0)
    batches = Batches(
        pairs,
        texts,
        size=SIDE,
        batch_size=turn.batch_size,
        order=Order(len(pairs), seed=0, batch_size=turn.batch_size),
        augment=AUGMENT,
        loader=loader,
    )
    drawn = ((b.pixels_BHWC, b.text_BL) for b in batches.iterate(0, turn.warm + turn.batches + 9))
    shape = (turn.batch_size, SIDE, SIDE, 3)
    return {**timed(drawn, turn, shape=shape), "tokens_ms": tokens_ms}


def compare(pool: Path, peer: str | None, turn: Turn, *, turns: int) -> None:
    """Print the table of both sides."""
    here = Path(__file__).parent
    settings = {f"--{name.replace('_', '-')}": str(v) for name, v in asdict(turn).items()}
    rest = [part for setting in settings.items() for part in setting]
    sides = {"Thresher": [sys.executable, str(here / "loader.py"), "--side", "--pool", str(pool)]}
    if peer:
        pairs = str(SHARDS * PER_SHARD)
        script = [str(here / "loader_peer.py"), "--shards", str(pool), "--pairs", pairs]
        sides = {"open_clip 3.3.0": [peer, *script], **sides}
    figures: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(turns):
        for side, command in sides.items():
            done = subprocess.run([*command, *rest], capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{side}: {done.stderr}")
            figures[side].append(json.loads(done.stdout.splitlines()[-1]))
    print("\n## Pictures per second, one worker, median (best) [all turns]\n")
    print("| side | of wall time | of a core's time, all processes | times open_clip, core |")
    print("| --- | --- | --- | --- |")
    first = next(iter(figures.values()))
    for side, every in figures.items():
        cells = []
        for clock in ("wall", "cpu"):
            found = [f[clock] for f in every]
            turns_text = ", ".join(f"{v:.0f}" for v in found)
            cells.append(f"{statistics.median(found):.0f} ({max(found):.0f}) [{turns_text}]")
        middle = statistics.median([f["cpu"] for f in every])
        middle /= statistics.median([f["cpu"] for f in first])
        best = max(f["cpu"] for f in every) / max(f["cpu"] for f in first)
        print(f"| {side} | {' | '.join(cells)} | {middle:.2f}x ({best:.2f}x) |")
    tokens_ms = statistics.median([f["tokens_ms"] for f in figures["Thresher"]])
    print(f"\nThresher's tokens are made once, {tokens_ms:.3f} ms a caption, and are not in this.")


def alone(pictures: list[bytes], *, rounds: int) -> None:
    """Print what the parts cost."""
    headers = [read_header(data) for data in pictures]
    assert None not in headers
    crops = [drawn(number, augment=AUGMENT) for number in range(len(pictures))]
    decoded = [decode_jpeg(d, h, factor=1) for d, h in zip(pictures, headers, strict=True) if h]
    square = torch.from_numpy(random_crop(decoded[0], crops[0], SIDE))
    mean = torch.tensor([120.0, 115.0, 105.0]).view(3, 1, 1)

    def whole(data: bytes) -> None:
        with Image.open(io.BytesIO(data)) as image:
            image.convert("RGB")

    def boxed(number: int) -> object:
        box = crops[number].box(500, 375)
        image = Image.fromarray(decoded[number])
        return image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box)

    parts: dict[str, Callable[[int], object]] = {
        "decode (the ceiling)": lambda i: decode_jpeg(pictures[i], headers[i], factor=1),
        "decode by Pillow": lambda i: whole(pictures[i]),
        "decode by 1/2": lambda i: decode_jpeg(pictures[i], headers[i], factor=2),
        "header": lambda i: read_header(pictures[i]),
        "draw the crop": lambda i: drawn(i, augment=AUGMENT),
        "crop and resize": lambda i: random_crop(decoded[i], crops[i], SIDE),
        "crop and resize by Pillow": boxed,
        "normalise to float32, on the device": lambda _: (square.permute(2, 0, 1) - mean) / mean,
    }
    turns: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds + 1):
        for name, part in parts.items():
            start = time.process_time()
            for i in range(len(pictures)):
                part(i)
            turns[name].append((time.process_time() - start) / len(pictures) * 1e3)
    print("\n## The parts, in one thread\n")
    print("| part | ms of a core, median (best) | pictures/s |\n| --- | --- | --- |")
    for name, every in turns.items():
        middle = statistics.median(every[1:])
        print(f"| {name} | {middle:.3f} ({min(every[1:]):.3f}) | {1e3 / middle:.0f} |")


def agreement(pictures: list[bytes]) -> None:
    """Print how far the pixels are from Pillow's of the same crop."""
    print("\n## Against Pillow's whole decode and bicubic of the same crop, grey levels\n")
    print("| picture | reduced by | mean difference | 99th percentile | PSNR |")
    print("| --- | --- | --- | --- | --- |")
    sources = {"500 x 375": pictures, "1000 x 750": photographs((1000, 750), quality=90)}
    sources["1600 x 1200"] = photographs((1600, 1200), quality=90)
    for name, every in sources.items():
        off: dict[int, list[np.ndarray]] = {}
        for number, data in enumerate(every):
            factor, difference = compared(data, drawn(number, data=data, augment=Augment()))
            off.setdefault(factor, []).append(difference)
        for factor, differences in sorted(off.items()):
            found = np.concatenate([d.ravel() for d in differences]).astype(float)
            psnr = 10 * np.log10(255**2 / (found**2).mean())
            row = f"{np.abs(found).mean():.2f} | {np.percentile(np.abs(found), 99):.0f}"
            print(f"| {name}, {len(differences)} pictures | {factor} | {row} | {psnr:.1f} dB |")


def compared(data: bytes, crop: Crop) -> tuple[int, np.ndarray]:
    """Return the reduction, and ours minus Pillow's."""
    header = read_header(data)
    assert header is not None
    factor = reduction(crop.short_side(header.width, header.height), SIDE)
    picture = decode_jpeg(data, header, factor=factor)
    left, top, right, bottom = crop.box(picture.shape[1], picture.shape[0])
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    box = (left * factor, top * factor, min(right * factor, whole.width),
           min(bottom * factor, whole.height))  # fmt: skip
    theirs = np.asarray(whole.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box), np.int16)
    return factor, random_crop(picture, replace(crop, mirror=False), SIDE) - theirs


def drawn(number: int, *, augment: Augment, data: bytes | None = None) -> Crop:
    """Draw a crop as the loader does."""
    header = None if data is None else read_header(data)
    size = (500, 375) if header is None else (header.width, header.height)
    return draw_crop(*size, augment=augment, rng=sample_rng(0, 0, number))


if __name__ == "__main__":
    main()
