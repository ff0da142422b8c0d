"""How fast does a JPEG become a model's input on one core, against open_clip's own transform?

    python benchmarks/decode.py > benchmarks/results/DATE-decode.md

Both sides end in normalised float32 [3, 224, 224]. They take turns over the same pictures, one
thread each; a figure is the processor time of a turn over the number of pictures, so that what else
runs on the machine counts only by what it does to caches and clock.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from heading import heading
from photographs import photographs
from PIL import Image

from filters.extract import embed
from filters.extract.base import center_crop, normalised
from filters.open_clip_models import ensure_torchvision
from pipeline.decode import decode_picture, picture_bounds

SIDE = 224
SIZES = ((320, 240), (500, 375), (1000, 750), (1600, 1200))
PEER = "open_clip: Pillow, bicubic, crop, normalise"
OURS = "Thresher: decode, crop, bicubic, normalise"


def main() -> None:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quality", type=int, default=90)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(heading("one thread"))
    for size in SIZES:
        pictures = photographs(size, quality=arguments.quality)
        measure(f"{size[0]} x {size[1]}", pictures, arguments.rounds)


def contenders() -> dict[str, Callable[[bytes], object]]:
    """Return what is compared, the peer first; each takes the bytes of a picture."""
    ensure_torchvision()
    import open_clip

    transform = open_clip.image_transform(SIDE, is_train=False)
    mean, std = (
        np.array(v) * 255 for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )

    def ours(data: bytes) -> object:
        picture = decode_picture(data, min_side=SIDE).rgb
        return normalised(center_crop(picture, SIDE, mode="bicubic"), mean, std)

    return {
        PEER: lambda data: transform(Image.open(io.BytesIO(data))),
        OURS: ours,
        "Thresher: decode, letterbox, normalise (embed)": lambda data: embed.pixels_of(
            decode_picture(data, min_side=SIDE).rgb
        ),
        "Pillow: decode alone": lambda data: Image.open(io.BytesIO(data)).convert("RGB"),
        "Thresher: decode alone": lambda data: decode_picture(data, min_side=SIDE),
        "Thresher: bounds alone": picture_bounds,
    }


def measure(name: str, pictures: list[bytes], rounds: int) -> None:
    """Print the table of one size."""
    calls = contenders()
    turns: dict[str, list[float]] = {label: [] for label in calls}
    for _ in range(rounds + 1):
        for label, call in calls.items():
            start = time.process_time()
            for data in pictures:
                call(data)
            turns[label].append((time.process_time() - start) / len(pictures) * 1e3)
    kilobytes = statistics.mean(map(len, pictures)) / 1e3
    print(f"\n## {name}, {len(pictures)} pictures, {kilobytes:.0f} kB on average\n")
    print("| step | ms of a core, median (best) | pictures/s | times open_clip, median (best) |")
    print("| --- | --- | --- | --- |")
    peer = turns[PEER][1:]  # the first turn warms up
    for label, every in turns.items():
        middle, best = statistics.median(every[1:]), min(every[1:])
        ratio = f"{statistics.median(peer) / middle:.2f}x ({min(peer) / best:.2f}x)"
        print(f"| {label} | {middle:.3f} ({best:.3f}) | {1e3 / middle:.0f} | {ratio} |")


if __name__ == "__main__":
    main()
