"""Pictures to the model's square: reduced once for the cache, then a random or a central crop.

Everything here is a pure function of its arguments and works on uint8 arrays [height, width, 3].
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.config import Augment

Picture = NDArray[np.uint8]

LONGEST_ASPECT = 32  # beyond it a picture is cut before it is resized
MARGIN = 1.25  # reduced short side over model side: a crop of 64 % of the area is not enlarged


def reduced_side(size: int) -> int:
    """Return the short side in pixels that pictures are reduced to for a model side of `size`."""
    return math.ceil(MARGIN * size)


def reduce(picture: Picture, side: int) -> Picture:
    """Shrink until the short side is `side`; a picture already smaller stays as it is."""
    height, width = picture.shape[:2]
    share = side / min(height, width)
    if share >= 1:
        return picture
    target = (max(side, round(width * share)), max(side, round(height * share)))
    return np.asarray(Image.fromarray(picture).resize(target, Image.Resampling.BICUBIC))


def random_crop(
    picture: Picture, size: int, *, augment: Augment, rng: np.random.Generator
) -> Picture:
    """Crop at random, resize to [size, size, 3] and maybe mirror.

    Area and log aspect ratio are uniform, as in Inception's training; a crop that is too wide or
    too high is scaled down until it fits, instead of being drawn again, so that every picture
    costs the same five draws.
    """
    height, width = picture.shape[:2]
    area = height * width * rng.uniform(augment.min_area, 1.0)
    log_aspect = rng.uniform(-1.0, 1.0) * math.log(augment.max_aspect)
    crop_w = math.sqrt(area * math.exp(log_aspect))
    crop_h = math.sqrt(area * math.exp(-log_aspect))
    fit = min(1.0, width / crop_w, height / crop_h)
    crop_w, crop_h = min(width, crop_w * fit), min(height, crop_h * fit)
    left, top = rng.uniform(0, width - crop_w), rng.uniform(0, height - crop_h)
    mirror = rng.random() < augment.flip
    # Rounding may push the far edge past the picture by 1e-14, which Pillow refuses.
    box = (left, top, min(width, left + crop_w), min(height, top + crop_h))
    crop = Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else crop)


def central_crop(picture: Picture, size: int) -> Picture:
    """Resize the short side to `size` and cut the middle, as open_clip does for evaluation.

    Pixel for pixel torchvision's `Resize(size, BICUBIC)` and `CenterCrop(size)` on Pillow images,
    so that scores do not depend on whose transform is used, up to an aspect of `LONGEST_ASPECT`.
    """
    height, width = picture.shape[:2]
    short = min(height, width)
    if max(height, width) > LONGEST_ASPECT * short:  # or a line of pixels would be made a wall
        top, left = (height - short) // 2, (width - short) // 2
        picture = picture[top : top + short, left : left + short]
        height = width = short
    scaled_w, scaled_h = int(size * width / short), int(size * height / short)
    image = Image.fromarray(picture).resize((scaled_w, scaled_h), Image.Resampling.BICUBIC)
    left, top = round((scaled_w - size) / 2), round((scaled_h - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))
