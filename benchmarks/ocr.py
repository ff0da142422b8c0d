"""What does finding text cost on one core, against rapidocr's own call?

    thresher pool build openclipart --out POOL --limit 300
    python benchmarks/ocr.py --pool POOL > benchmarks/results/DATE-ocr.md

All start from the decoded picture and end in quads, by the same network on one thread. They take
turns over the same pictures; a figure is the processor time of a turn over the number of pictures,
so that what else runs on the machine counts only by what it does to caches and clock.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import onnxruntime
import torch
from heading import heading
from numpy.typing import NDArray
from photographs import photographs
from rapidocr import RapidOCR

from filters.extract import Batch
from filters.extract.base import onnx_session
from filters.extract.text.detector import TextDetector
from filters.extract.text.finder import DETECTOR, TextSearch, legible
from filters.extract.text.reader import Line
from filters.extract.text.words import words_of
from pipeline.cells.decoding import PICTURE_SIDE
from pipeline.decode import DecodeError, decode_rgb
from pipeline.samples import read_shard
from pipeline.shards import list_shards
from pipeline.weights import model_file

SIDE, BATCH = 256, 32
PEER = "rapidocr as it comes: short side raised to 736"
OURS = f"Thresher, longest side {SIDE}, batches of {BATCH}"
ONE_THREAD = {
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    "Global.log_level": "error",
}
SHAPES, COUNTS = ((256, 256), (256, 192), (96, 96)), (1, 2, 4, 8, 32)
Pictures = list[NDArray[np.uint8]]
Call = Callable[[Pictures], object]


def main() -> None:
    """Measure both sets of pictures, the network alone, and what is read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pool", required=True)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(heading(f"onnxruntime {onnxruntime.__version__}; one thread"))
    drawings = pool_pictures(arguments.pool)[: arguments.pictures]
    taken = [decode_rgb(data, min_side=PICTURE_SIDE) for data in photographs((500, 375))]
    measure("openclipart", drawings, arguments.rounds)
    measure("photographs, 500 x 375", taken, arguments.rounds)
    measure_network(arguments.rounds)
    compare_words(drawings)


def pool_pictures(pool: str) -> Pictures:
    """Decode the pictures of a pool as a cell does."""
    pictures = []
    for url in list_shards([f"{pool}/pool"]):
        for sample in read_shard(url):
            try:
                pictures.append(decode_rgb(sample.image or b"", min_side=PICTURE_SIDE))
            except DecodeError:
                continue
    return pictures


def contenders() -> dict[str, Call]:
    """Return what is compared, the peer first."""
    same = {"Det.limit_type": "max", "Det.limit_side_len": SIDE}
    detector = TextDetector(model_file(DETECTOR), side=SIDE, threshold=0.5, threads=1)
    search = TextSearch(side=SIDE)
    finder = search.finder({name: model_file(name) for name in search.networks}, threads=1)
    return {
        PEER: by_rapidocr(RapidOCR(params=ONE_THREAD)),
        f"rapidocr, told to see a longest side of {SIDE}": by_rapidocr(
            RapidOCR(params=ONE_THREAD | same)
        ),
        f"Thresher, longest side {SIDE}, one by one": lambda pictures: [
            detector([picture]) for picture in pictures
        ],
        OURS: in_batches(detector),
        f"the same, and up to {search.lines} lines read": in_batches(
            lambda chunk: finder.of(batch_of(chunk))
        ),
    }


def by_rapidocr(ocr: RapidOCR) -> Call:
    """Return its own call for detection alone, picture by picture (it takes BGR)."""
    return lambda pictures: [
        ocr(np.ascontiguousarray(p[:, :, ::-1]), use_cls=False, use_rec=False) for p in pictures
    ]


def in_batches(call: Callable[[Pictures], object]) -> Call:
    """Return the call made for each `BATCH` pictures."""
    return lambda pictures: [
        call(pictures[at : at + BATCH]) for at in range(0, len(pictures), BATCH)
    ]


def batch_of(pictures: Pictures) -> Batch:
    """Return a batch of pictures alone."""
    return Batch(pictures, [(p.shape[1], p.shape[0]) for p in pictures], ["a"] * len(pictures))


def measure(name: str, pictures: Pictures, rounds: int) -> None:
    """Print the table of one set of pictures."""
    calls = contenders()
    turns: dict[str, list[float]] = {label: [] for label in calls}
    for call in calls.values():
        call(pictures[:BATCH])  # warms up
    for _ in range(rounds):
        for label, call in calls.items():
            start = time.process_time()
            call(pictures)
            turns[label].append((time.process_time() - start) / len(pictures) * 1e3)
    print(f"\n## {name}, {len(pictures)} pictures\n")
    print("| detection by | ms of a core, median (best) | times rapidocr, median (best) |")
    print("| --- | --- | --- |")
    peer = turns[PEER]
    for label, every in turns.items():
        middle, best = statistics.median(every), min(every)
        ratio = f"{statistics.median(peer) / middle:.1f}x ({min(peer) / best:.1f}x)"
        print(f"| {label} | {middle:.1f} ({best:.1f}) | {ratio} |", flush=True)


def measure_network(rounds: int) -> None:
    """Print what the network alone costs by how many pictures it is given."""
    session = onnx_session(model_file(DETECTOR), threads=1)
    name = session.get_inputs()[0].name
    print(f"\n## The network alone, ms a picture, best of {rounds}\n")
    print(f"| input | {' | '.join(f'{count} at once' for count in COUNTS)} |")
    print(f"| --- {'| --- ' * len(COUNTS)}|")
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        pixels = rng.standard_normal((max(COUNTS), 3, *shape)).astype(np.float32)
        best = dict.fromkeys(COUNTS, np.inf)
        for _ in range(rounds + 1):
            for count in COUNTS:
                start = time.process_time()
                for at in range(0, len(pixels), count):
                    session.run(None, {name: pixels[at : at + count]})
                spent = (time.process_time() - start) / len(pixels) * 1e3
                best[count] = min(best[count], spent)
        cells = " | ".join(f"{best[count]:.2f}" for count in COUNTS)
        print(f"| {shape[0]} x {shape[1]} | {cells} |", flush=True)


def compare_words(pictures: Pictures) -> None:
    """Print how many of the words that rapidocr reads as it comes are read here, too."""
    peer = RapidOCR(params=ONE_THREAD)
    search = TextSearch(side=SIDE)
    finder = search.finder({name: model_file(name) for name in search.networks}, threads=1)
    ours, theirs, common = 0, 0, 0
    for picture in pictures:
        found: Any = peer(np.ascontiguousarray(picture[:, :, ::-1]), use_cls=False)
        lines = zip(found.txts or (), found.scores or (), strict=True)
        legibly = [text for text, score in lines if legible(Line(text, score))]
        (text,) = finder.of(batch_of([picture]))
        read, expected = words(text.lines), words(legibly)
        ours, theirs, common = (
            ours + len(read),
            theirs + len(expected),
            common + len(read & expected),
        )
    print(f"\n## Words read legibly in {len(pictures)} pictures of openclipart\n")
    print("| rapidocr as it comes | Thresher | both |")
    print("| --- | --- | --- |")
    print(f"| {theirs} | {ours} | {common} |")


def words(lines: Sequence[str]) -> set[str]:
    """Return the different words of a picture's lines."""
    return {word for line in lines for word in words_of(line)}


if __name__ == "__main__":
    main()
