"""Quality scores against cleanvision's, which are in a table: it would bring nine packages.

The table is cleanvision 0.3.7 (numpy 2.4.6, Pillow 13.0.0) on `pictures()`: for each issue type the
manager's `image_properties[issue].calculate(picture)`, then `get_scores` with the manager's default
parameters. `benchmarks/quality.py` asks the installed package for the same of real pictures.
"""

import io

import numpy as np
import pytest
from PIL import Image

from filters.extract import Batch, Quality
from pipeline.decode import decode_picture

CLEANVISION = {  # blurry, dark, light, low_information, odd_aspect_ratio
    "noise": (0.7247374, 0.9921569, 0.9529412, 0.9001361, 0.7500000),
    "waves": (0.2891096, 0.6549020, 0.7962745, 0.8539197, 0.7500000),
    "flat": (1.0000000, 0.3529412, 0.6470588, 0.1584963, 0.7500000),
    "night": (0.5600645, 0.1647059, 0.9921569, 0.6991037, 0.7500000),
    "fog": (1.0000000, 1.0000000, 0.0313725, 0.4736358, 0.7500000),
    "ramp": (0.4681512, 0.7725882, 0.9609804, 0.9228819, 0.7500000),
    "lettering": (1.0000000, 1.0000000, 1.0000000, 0.2584961, 0.7500000),
    "strip": (0.5032148, 0.9921569, 0.9529412, 0.8938135, 0.0684211),
    "dot": (0.0000000, 0.0000000, 1.0000000, 0.1584963, 1.0000000),
    "colours": (0.3210460, 0.7010620, 0.7120538, 0.8923126, 0.7500000),
}


def pictures():
    """Draw with integers only, so that every machine has the same pixels."""
    y, x = np.mgrid[:150, :200]
    noise = (x * x * 31 + y * y * 17 + x * y * 7) % 256
    waves = 27 + abs(3 * x % 120 - 60) + 2 * abs(2 * y % 90 - 45)
    grey = {
        "noise": noise,
        "waves": waves,
        "flat": x * 0 + 90,
        "night": noise // 6,
        "fog": 255 - noise // 30,
        "ramp": x,
        "lettering": 255 * ((x // 6 + y // 10) % 2),
        "strip": noise[:13, :190],
        "dot": noise[:1, :1],
    }
    found = {name: np.stack([g, g, g], 2).astype(np.uint8) for name, g in grey.items()}
    found["colours"] = np.stack([noise, waves, 255 - x], 2).astype(np.uint8)
    return found


def scored(extractor, batch):
    columns = extractor.load({}, threads=1)(batch)
    assert list(columns) == [c.name for c in extractor.columns]
    assert all(values.dtype == np.float32 for values in columns.values())
    return np.stack(list(columns.values()), 1)


def test_scores_are_cleanvisions():
    drawn = pictures()
    assert list(drawn) == list(CLEANVISION)
    images = list(drawn.values())
    batch = Batch(images, [(p.shape[1], p.shape[0]) for p in images], ["words"] * len(images))
    found = scored(Quality(), batch)
    assert found == pytest.approx(np.array(list(CLEANVISION.values())), abs=1e-6)
    whole = Batch([p[::2, ::2] for p in images], batch.sizes, batch.captions, images)
    assert np.array_equal(scored(Quality(preprocess="exact"), whole), found)
    assert np.array_equal(scored(Quality(), batch.row(3)), found[3:4])
    with pytest.raises(ValueError, match="quality: got 0 originals for 10 pairs"):
        scored(Quality(preprocess="exact"), batch)


def test_a_reduced_picture_moves_the_scores_little():
    y, x = np.mgrid[:800, :1000]
    hills = 60 + abs(x % 400 - 200) // 2 + abs(y % 300 - 150) // 2
    grain = (x * x * 31 + y * y * 17 + x * y * 7) % 16
    picture = np.stack([hills + grain, hills, 40 + hills // 2 + grain], 2).astype(np.uint8)
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "PNG")
    reduced = decode_picture(sink.getvalue(), min_side=320).rgb
    assert reduced.shape[:2] == (400, 500)
    batch = Batch([reduced], [(1000, 800)], ["words"], [picture])
    moved = np.abs(scored(Quality(), batch) - scored(Quality(preprocess="exact"), batch))[0]
    assert (moved < [0.002, 0.05, 0.05, 0.05, 1e-7]).all(), moved
    assert moved[1] > 0  # the grain is averaged away
