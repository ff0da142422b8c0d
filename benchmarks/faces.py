"""What does the face detector find, and where does it end?

    python benchmarks/faces.py > benchmarks/results/DATE-faces.md

Photographs with faces come from two packages, fetched and not installed: groups of women before
cameras (npm, 22 faces in six pictures, counted by eye), an astronaut, and 100 faces and 100
non-faces of 25 x 25 pixels (Labeled Faces in the Wild), both in scikit-image. Photographs without
faces are landscapes from Debian's wallpapers; drawings are openclipart's.
"""

import argparse
import io
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from exactness import openclipart
from heading import heading
from numpy.typing import NDArray
from photographs import photographs
from PIL import Image

from filters.extract import Batch, Faces, Score
from pipeline.cells.decoding import PICTURE_SIDE
from pipeline.decode import decode_rgb
from pipeline.models.npm import fetch_members
from pipeline.models.wheels import fetch_member
from pipeline.weights import model_file

GROUPS = "@vladmandic/face-api@1.7.15"
SCIKIT_IMAGE = "scikit-image==0.26.0"
ASTRONAUT = "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"
LFW = "9560ec2f5edfac01973f63a8a99d00053fecd11e21877e18038fbe500f8e872c"
THRESHOLDS = (0.3, 0.5, 0.7)
SIDE = 640  # of the grey squares that photographs are shrunk into
SHARES = (1.0, 0.7, 0.5, 0.35, 0.25)
Pixels = NDArray[np.uint8]


def main() -> None:
    """Print two tables: faces by set and threshold, and faces found by their size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drawings", type=int, default=500, help="openclipart pictures taken")
    arguments = parser.parse_args()
    score = Faces().load({"centerface": model_file("centerface")}, threads=1)
    groups, crops = [decode_rgb(data) for data in group_photographs()], lfw_crops()
    sets = {
        "groups, 22 faces in all": groups,
        "astronaut, 1 face": decoded([from_scikit_image("astronaut.png", ASTRONAUT)]),
        "LFW, 1 face in each": crops[:100],
        "LFW, none": crops[100:],
        "landscapes, none": decoded(photographs((500, 375))),
        "openclipart, drawn faces among them": decoded(openclipart(arguments.drawings)),
    }
    print(heading("CenterFace at a longest side of 320 pixels") + "\n")
    print(
        "| pictures | number | threshold | with a face | faces |\n| --- | --- | --- | --- | --- |"
    )
    for name, pictures in sets.items():
        scores = [found["face_scores"][0] for found in look(score, pictures)]
        for threshold in THRESHOLDS:
            count = np.array([sum(s >= threshold for s in found) for found in scores])
            print(f"| {name} | {len(count)} | {threshold} | {(count > 0).sum()} | {count.sum()} |")
    print("\n| groups shrunk to | median height of a box, as the network sees it | boxes, of 22 |")
    print("| --- | --- | --- |")
    for share in SHARES:
        found = list(look(score, [shrunk(pixels, share) for pixels in groups]))
        boxes = np.concatenate([f["face_boxes"][0] for f in found]).reshape(-1, 4)
        height = np.median(boxes[:, 3] - boxes[:, 1]) * Faces().side
        print(f"| {share} | {height:.0f} px | {len(boxes)} |")


def look(score: Score, pictures: Iterable[Pixels]) -> Iterable[dict]:
    """Score pictures one by one."""
    for pixels in pictures:
        yield score(Batch([pixels], [(pixels.shape[1], pixels.shape[0])], ["words"]))


def decoded(encoded: Iterable[bytes]) -> list[Pixels]:
    """Decode pictures as a cell does."""
    return [decode_rgb(data, min_side=PICTURE_SIDE) for data in encoded]


def shrunk(pixels: Pixels, share: float) -> Pixels:
    """Shrink a picture into the corner of a grey square."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((round(SIDE * share),) * 2, Image.Resampling.LANCZOS)
    return in_grey(picture, SIDE, at=(0, 0))


def in_grey(picture: Image.Image, side: int, *, at: tuple[int, int]) -> Pixels:
    """Lay a picture on a grey square."""
    canvas = Image.new("RGB", (side, side), "grey")
    canvas.paste(picture, at)
    return np.array(canvas)


def group_photographs() -> list[bytes]:
    """Fetch six photographs with three to five faces."""
    names = [f"demo/sample{i}.jpg" for i in range(1, 7)]
    with tempfile.TemporaryDirectory() as temporary:
        fetch_members(GROUPS, names, into=Path(temporary))
        return [(Path(temporary) / Path(name).name).read_bytes() for name in names]


def lfw_crops() -> list[Pixels]:
    """Fetch 100 faces, then 100 crops without one, each enlarged four times on grey."""
    crops = np.load(io.BytesIO(from_scikit_image("lfw_subset.npy", LFW)), allow_pickle=False)
    enlarged = [Image.fromarray((crop * 255).astype(np.uint8)).resize((100, 100)) for crop in crops]
    return [in_grey(picture.convert("RGB"), 320, at=(110, 110)) for picture in enlarged]


def from_scikit_image(name: str, sha256: str) -> bytes:
    """Fetch one of scikit-image's pictures."""
    return fetch_member(SCIKIT_IMAGE, f"skimage/data/{name}", sha256=sha256)


if __name__ == "__main__":
    main()
