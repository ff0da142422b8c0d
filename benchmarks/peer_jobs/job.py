"""What every job of `peers.py` shares: its arguments, the model, and the clock."""

import argparse
import json
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filters.extract.base import letterbox, onnx_session

SIDE, DIM = 224, 1280


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One engine's task: embed every picture of `pool`, write Parquet below `out`.

    Attributes:
        pool: Folder of WebDataset tars.
        out: Empty folder; `marks` inside it gets the time of each worker's first batch.
        weights: EfficientNet-Lite0 as ONNX.
        workers: Processes that hold the model.
        batch: Pictures that the model sees at once.
        tolerate: Tell the engine to go on after errors.
    """

    pool: Path
    out: Path
    weights: Path
    workers: int
    batch: int
    tolerate: bool

    @property
    def marks(self) -> Path:
        """Return the folder of first-batch times."""
        return self.out / "marks"


class Tower:
    """EfficientNet-Lite0 on one thread: the same pixels and the same graph for every engine."""

    def __init__(self, weights: Path, marks: Path) -> None:
        self._session = onnx_session(weights, threads=1)
        self._marks: Path | None = marks

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float16]:
        """Embed B pictures [height, width, 3]; float16 [B, 1280], not normalised."""
        if self._marks is not None:
            (self._marks / str(os.getpid())).write_text(repr(time.time()), encoding="utf-8")
            self._marks = None
        squares = np.stack([letterbox(picture, SIDE) for picture in pictures])
        pixels = ((squares.astype(np.float32) - 127.0) / 128.0).transpose(0, 3, 1, 2)
        (features_BD,) = self._session.run(["features"], {"pixels": np.ascontiguousarray(pixels)})
        return features_BD.astype(np.float16)


def run_job(start: Callable[[Job], str], work: Callable[[Job], None]) -> None:
    """Run `start` outside and `work` inside the clock; write `result.json`.

    `start` brings Ray up and returns a note for the report; `work` starts the workers too.
    """
    parser = argparse.ArgumentParser()
    for name in ("pool", "out", "weights"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("workers", "batch"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--tolerate", action="store_true")
    job = Job(**vars(parser.parse_args()))
    job.marks.mkdir(parents=True)
    note = start(job)
    begin, error = time.time(), None
    try:
        work(job)
    except Exception as raised:  # what an engine raises on a broken picture is a result
        traceback.print_exc()
        error = summary(raised)
    end = time.time()
    first = [float(mark.read_text(encoding="utf-8")) for mark in job.marks.iterdir()]
    result = {
        "job_s": end - begin,
        "scoring_s": end - min(first) if first else None,
        "error": error,
        "note": note,
    }
    (job.out / "result.json").write_text(json.dumps(result), encoding="utf-8")


def summary(raised: BaseException) -> str:
    """Put what was raised on one line: Ray's wrappers off, its last line, and not all of it."""
    cause = getattr(raised, "cause", None) or raised
    said = [line for line in str(cause).splitlines() if line.strip()] or [""]
    return f"{type(cause).__name__}: {said[0].strip()}"[:210].replace("||", "or")
