"""Real photographs as JPEGs of a chosen size, cut from two Debian packages of wallpapers."""

import io

import numpy as np
from PIL import Image

from pipeline.pools.debian import package

SOURCES = (
    ("plasma-workspace-wallpapers", "usr/share/wallpapers/*/contents/images/2560x1600.jpg"),
    ("mate-backgrounds", "usr/share/backgrounds/mate/nature/*.jpg"),
)
SHARES = (1.0, 0.85, 0.7)  # of a photograph, one cut each


def photographs(size: tuple[int, int], *, quality: int = 90) -> list[bytes]:
    """Cut windows out of some two dozen photographs at fixed random places.

    Args:
        size: Width and height in pixels. A window smaller than this is left out.
        quality: Of the JPEGs, 4:2:0.
    """
    rng = np.random.default_rng(0)
    encoded = []
    for name, pattern in SOURCES:
        for path in sorted(package(name).root.glob(pattern)):
            with Image.open(path) as image:
                picture = image.convert("RGB")
            for share in SHARES:
                scale = share * min(picture.width / size[0], picture.height / size[1])
                width, height = size[0] * scale, size[1] * scale
                left = rng.uniform(0, picture.width - width)
                top = rng.uniform(0, picture.height - height)
                if scale < 1:
                    continue
                box = (left, top, left + width, top + height)
                cut = picture.resize(size, Image.Resampling.LANCZOS, box=box)
                sink = io.BytesIO()
                cut.save(sink, "JPEG", quality=quality, subsampling="4:2:0")
                encoded.append(sink.getvalue())
    return encoded
