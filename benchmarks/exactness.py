"""How far is the fast picture path from open_clip's own, seen by an image tower?

    python benchmarks/exactness.py > benchmarks/results/DATE-exactness.md

Cosine between the EfficientNet-Lite0 embeddings of one picture prepared twice, on the same
geometry: by Thresher (reduced decode, antialiased resize with torch) and as open_clip does
(Pillow's full decode, `convert("RGB")`, bicubic). A CLIP tower with random weights would say
nothing, and one with real weights does not lie in any package.
"""

import argparse
import io
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from heading import heading
from numpy.typing import NDArray
from photographs import photographs
from PIL import Image

from filters.extract.base import center_crop, letterbox, normalised, onnx_session
from filters.open_clip_models import ensure_torchvision
from pipeline.decode import decode_exact, decode_picture, picture_bounds
from pipeline.pools.debian import package
from pipeline.weights import model_file

SIDE = 224
SIZES = ((320, 240), (500, 375), (1000, 750), (1600, 1200))
MOST_PIXELS = 4_000_000  # a few drawings have 100 million
Prepare = Callable[[bytes], NDArray[np.uint8]]


def main() -> None:
    """Embed every set of pictures both ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drawings", type=int, default=500, help="openclipart pictures taken")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    embed = tower()
    drawings = openclipart(arguments.drawings)
    sets = {
        "openclipart, laid on white before": [on_white(data) for data in drawings],
        "openclipart, as it is (most have an alpha channel)": drawings,
        **{f"photographs, {w} x {h}": photographs((w, h)) for w, h in SIZES},
    }
    print(heading("EfficientNet-Lite0"))
    print("\n| pictures | geometry | number | mean | 1st percentile | least |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, pictures in sets.items():
        for geometry, (fast, exact) in pairs().items():
            cosine = np.array([embed(fast(data)) @ embed(exact(data)) for data in pictures])
            print(
                f"| {name} | {geometry} | {len(pictures)} | {cosine.mean():.4f} "
                f"| {np.percentile(cosine, 1):.4f} | {cosine.min():.4f} |",
                flush=True,
            )


def pairs() -> dict[str, tuple[Prepare, Prepare]]:
    """Return the fast and the exact way to a square, by geometry."""
    ensure_torchvision()
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    crop = Compose([Resize(SIDE, interpolation=InterpolationMode.BICUBIC), CenterCrop(SIDE)])
    return {
        "shortest side, middle square (ClipScore)": (
            lambda data: center_crop(decode_picture(data, min_side=SIDE).rgb, SIDE, mode="bicubic"),
            lambda data: np.array(crop(Image.fromarray(decode_exact(data)))),
        ),
        "letterbox (embed)": (
            lambda data: letterbox(decode_picture(data, min_side=SIDE).rgb, SIDE),
            lambda data: letterbox_by_pillow(decode_exact(data)),
        ),
    }


def letterbox_by_pillow(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Do what `letterbox` does, with Pillow's bicubic filter."""
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = Image.new("RGB", (SIDE, SIDE), "white")
    resized = Image.fromarray(picture).resize(fitted, Image.Resampling.BICUBIC)
    canvas.paste(resized, ((SIDE - fitted[0]) // 2, (SIDE - fitted[1]) // 2))
    return np.array(canvas)


def tower() -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return the function from a square to its unit-norm embedding, float32 [1280]."""
    session = onnx_session(model_file("efficientnet_lite0"), threads=1)

    def embed(square: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = normalised(square, [127.0] * 3, [128.0] * 3)[None]
        (vector_1D,) = session.run(["features"], {"pixels": pixels})
        return vector_1D[0] / np.linalg.norm(vector_1D)

    return embed


def openclipart(count: int) -> Sequence[bytes]:
    """Return about that many openclipart pictures, drawn with a fixed seed, up to `MOST_PIXELS`."""
    found = sorted(package("openclipart-png").root.rglob("*.png"))
    files = [path for path in found if path.is_file() and not path.is_symlink()]
    chosen = np.random.default_rng(0).choice(len(files), min(count, len(files)), replace=False)
    drawn = (files[i].read_bytes() for i in sorted(chosen))
    return [
        data for data in drawn if math.prod(picture_bounds(data) or (MOST_PIXELS, 2)) <= MOST_PIXELS
    ]


def on_white(data: bytes) -> bytes:
    """Encode a picture again, without its alpha channel."""
    sink = io.BytesIO()
    Image.fromarray(decode_picture(data).rgb).save(sink, "PNG")
    return sink.getvalue()


if __name__ == "__main__":
    main()
