"""How far are our quality scores from cleanvision's, on whole and on reduced pictures?

    pip install --target DIR --no-deps cleanvision imagehash PyWavelets matplotlib contourpy cycler
    pip install --target DIR --no-deps fonttools kiwisolver tabulate
    PYTHONPATH=DIR python benchmarks/quality.py > benchmarks/results/DATE-quality.md

Both score the same decoded pixels. "Reduced" is what a cell decodes: a short side of 640 pixels and
more is halved at least.
"""

import argparse
from importlib.metadata import version

import numpy as np
import pandas as pd
from cleanvision.issue_managers.image_property_issue_manager import ImagePropertyIssueManager
from cleanvision.utils.utils import get_score_colname
from exactness import openclipart
from heading import heading
from numpy.typing import NDArray
from photographs import photographs
from PIL import Image

from filters.extract import Batch, Quality
from pipeline.cells.decoding import PICTURE_SIDE
from pipeline.decode import decode_picture, decode_rgb

SIZES = ((500, 375), (1000, 750), (1600, 1200))
ISSUES = {  # our column: cleanvision's issue type, and its own threshold
    "blur": ("blurry", 0.29),
    "dark": ("dark", 0.32),
    "light": ("light", 0.05),
    "low_information": ("low_information", 0.30),
    "odd_aspect": ("odd_aspect_ratio", 0.35),
}


def main() -> None:
    """Score every set three ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drawings", type=int, default=500, help="openclipart pictures taken")
    arguments = parser.parse_args()
    sets = {f"photographs, {w} x {h}": photographs((w, h)) for w, h in SIZES}
    sets["openclipart"] = openclipart(arguments.drawings)
    print(heading(f"cleanvision {version('cleanvision')}") + "\n")
    print(
        "| pictures | number | score | whole: largest | reduced: mean | largest | issue changes |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, pictures in sets.items():
        truth, whole, reduced = [
            np.concatenate(parts)
            for parts in zip(*(three_ways(data) for data in pictures), strict=True)
        ]
        for i, (column, (_, threshold)) in enumerate(ISSUES.items()):
            off = np.abs(reduced[:, i] - truth[:, i])
            changed = ((reduced[:, i] < threshold) != (truth[:, i] < threshold)).sum()
            exact = np.abs(whole[:, i] - truth[:, i]).max()
            print(
                f"| {name} | {len(pictures)} | {column} | {exact:.0e} | {off.mean():.4f} "
                f"| {off.max():.4f} | {changed} |",
                flush=True,
            )


def three_ways(data: bytes) -> tuple[NDArray[np.float64], ...]:
    """Return cleanvision's scores of a picture, ours, and ours of it reduced; each [1, 5]."""
    rgb = decode_rgb(data)
    reduced = decode_picture(data, min_side=PICTURE_SIDE)
    batch = Batch([reduced.rgb], [(reduced.width, reduced.height)], ["words"], [rgb])
    ways = (Quality(preprocess="exact"), Quality())
    ours = (way.load({}, threads=1)(batch) for way in ways)
    return cleanvision(rgb), *(np.array([list(found.values())], float)[..., 0] for found in ours)


def cleanvision(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return cleanvision's scores by its default parameters, [1, 5]."""
    manager = ImagePropertyIssueManager()
    scores = []
    for issue, _ in ISSUES.values():
        prop = manager.image_properties[issue]
        options = {k: v for k, v in manager.params[issue].items() if k != "threshold"}
        raw = pd.DataFrame([prop.calculate(Image.fromarray(rgb))])
        found = prop.get_scores(raw_scores=raw, issue_type=issue, **options)
        scores.append(float(found[get_score_colname(issue)].iloc[0]))
    return np.array([scores])


if __name__ == "__main__":
    main()
