"""A toy pool with a planted truth: one shape in one colour on a light ground, and its caption."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from pipeline.pairs import Pairs, pairs_from_shards
from pipeline.shards import write_shard

COLOURS = {"red": (220, 30, 30), "green": (30, 170, 60), "blue": (40, 60, 220), "black": (0, 0, 0)}
SHAPES = ("circle", "square", "bar")
MODELS = Path(__file__).parents[2] / "configs" / "models"


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model() -> str:
    return str(MODELS / "tiny.json")


@pytest.fixture(scope="session")
def toy_pairs(tmp_path_factory) -> Callable[..., Pairs]:
    """Return a function (count, seed, corrupt) -> pairs lying in a shard of their own."""

    def build(count: int, *, seed: int, corrupt: tuple[int, ...] = ()) -> Pairs:
        rng = np.random.default_rng(seed)
        members = []
        for i in range(count):
            shape, colour = rng.choice(SHAPES), rng.choice(list(COLOURS))
            key = f"{i:05d}"
            picture = _draw(rng, shape, COLOURS[colour])
            picture = b"no picture" if i in corrupt else picture
            meta = {"uid": f"{seed:016x}{i:016x}", "shape": str(shape), "colour": str(colour)}
            members += [
                (f"{key}.png", picture),
                (f"{key}.txt", f"a {colour} {shape}".encode()),
                (f"{key}.json", json.dumps(meta).encode()),
            ]
        shard = tmp_path_factory.mktemp("toy") / "00000.tar"
        write_shard(shard, members)
        return pairs_from_shards([str(shard)], fields=("shape", "colour"))

    return build


def _draw(rng: np.random.Generator, shape: str, colour: tuple[int, int, int]) -> bytes:
    width, height = (int(v) for v in rng.integers(44, 72, 2))
    picture = Image.new("RGB", (width, height), tuple(int(v) for v in rng.integers(200, 256, 3)))
    side = int(rng.integers(20, 32))
    left, top = (int(rng.integers(4, v - side - 4)) for v in (width, height))
    draw = ImageDraw.Draw(picture)
    if shape == "circle":
        draw.ellipse((left, top, left + side, top + side), fill=colour)
    elif shape == "square":
        draw.rectangle((left, top, left + side, top + side), fill=colour)
    else:
        draw.rectangle((left, top, left + side, top + side // 4), fill=colour)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
