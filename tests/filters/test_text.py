"""Text: words by hand, and the networks on what we wrote, beside rapidocr itself."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from rapidocr import RapidOCR

from filters.extract import Batch
from filters.extract.ocr import TextInImage, rest
from filters.extract.text.detector import TextDetector, fit, groups_of
from filters.extract.text.finder import TextSearch
from filters.extract.text.reader import TextReader, crop_of, ctc
from filters.extract.text.words import one_off, overlap, watermark_share, words_of
from pipeline.weights import model_file
from tests.toy import draw


def written(*lines, size=(400, 120), pixels=40, ink="black", ground="white"):
    canvas = Image.new("RGB", size, ground)
    for i, line in enumerate(lines):
        where = (12, 12 + i * 1.6 * pixels)
        ImageDraw.Draw(canvas).text(where, line, ink, ImageFont.load_default(pixels))
    return np.asarray(canvas)


def drawn(shape):
    return np.asarray(draw(shape, "red", size=(160, 120)))


def batch(pictures, captions=None):
    sizes = [(p.shape[1], p.shape[0]) for p in pictures]
    return Batch(pictures, sizes, captions or ["words"] * len(pictures))


@pytest.fixture(scope="module")
def paths():
    return {name: model_file(name) for name in TextSearch().networks}


@pytest.fixture(scope="module")
def score(paths):
    return TextInImage().load(paths, threads=1)


def test_groups_hold_equal_shapes_and_not_too_many():
    shapes = [(2, 3), (4, 4), (2, 3), (2, 3), (9, 9)]
    assert groups_of(shapes, pixels=12) == [[0, 2], [3], [1], [4]]


def test_ctc_leaves_out_blanks_and_repeats():
    path = [0, 1, 1, 0, 1, 2, 2, 0]
    probability = np.full((8, 3), 0.1, np.float32)
    probability[range(8), path] = [0.9, 0.8, 0.9, 0.9, 0.6, 0.7, 0.9, 0.9]
    line = ctc(probability, np.array(["", "a", "b"]))
    assert line.text == "aab"
    assert line.score == pytest.approx((0.8 + 0.6 + 0.7) / 3)
    assert ctc(probability[:1], np.array(["", "a", "b"])).text == ""


def test_words_of_a_caption_that_are_read():
    assert words_of("Maġick, THE_app 4U") == ["magick", "the", "app", "4u"]
    lines = ["Big SUMMER", "sale: 50"]
    assert overlap("A big summer dog sale, big!", lines) == pytest.approx(3 / 4)
    assert overlap("dogs", lines) == 0.0
    assert overlap("dogs", []) == 0.0
    assert overlap("50 of it", lines) is None


@pytest.mark.parametrize(
    ("line", "share"),
    [
        ("shutterstock", 1.0),
        ("shutterst0ck", 1.0),
        ("shuttrstock", 1.0),
        ("www.getty images.com", 0.5),
        ("1Stock", 1.0),
        ("PREVlEW", 1.0),
        ("a simple car", 0.0),
        ("tree (c) 2010 Ann", 0.75),
        ("© Ann", 1.0),
        ("in stock", 0.0),
    ],
)
def test_words_of_watermarks(line, share):
    assert watermark_share([line]) == pytest.approx(share)


def test_watermarks_are_counted_over_all_lines():
    assert watermark_share(["adobe stock", "red car"]) == 0.5
    assert watermark_share([]) == watermark_share(["..."]) == 0.0


def test_one_off_equals_brute_force():
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("ab"), rng.integers(0, 5))) for _ in range(60)]
    for a in words[:30]:
        cut = {a[:i] + a[i + 1 :] for i in range(len(a))}
        changed = {a[:i] + c + a[i + 1 :] for i in range(len(a)) for c in "ab"}
        more = {a[:i] + c + a[i:] for i in range(len(a) + 1) for c in "ab"}
        for b in words:
            assert one_off(a, b) == (b in cut | changed | more | {a})


def test_text_is_found_and_read(score):
    pictures = [written("GRAND OPENING", "free coffee"), drawn("circle"), drawn("square")]
    columns = score(batch(pictures, ["grand coffee house", "red", "no"]))
    assert list(columns) == [c.name for c in TextInImage().columns]
    assert columns["text_count"][0] == 2
    assert columns["text_lines"] == [["GRAND OPENING", "free coffee"], [], []]
    assert columns["text_letters"].tolist() == [22, 0, 0]
    assert columns["text_area"][0] == columns["text_read_area"][0] > 0.15
    assert columns["text_read_area"][1:].tolist() == [0, 0]
    assert columns["text_overlap"] == [pytest.approx(2 / 3), 0.0, None]
    assert columns["text_rest"][0] == 0.0
    assert (columns["text_rest"][1:] > 0.1).all()
    corners = np.array(columns["text_quads"][0]).reshape(-1, 4, 2)
    assert 0 <= corners.min() <= corners.max() <= 1


def test_lines_beyond_the_limit_still_count_as_text(paths):
    picture = written("one line", "another line", size=(400, 160))
    columns = TextInImage(lines=1).load(paths, threads=1)(batch([picture]))
    assert len(columns["text_lines"][0]) == 1
    assert columns["text_rest"][0] == 0.0


def test_without_reading_the_recogniser_is_not_needed(paths):
    extractor = TextInImage(recognise=False)
    assert extractor.weights == ("rapidocr_detector",)
    only = {name: paths[name] for name in extractor.weights}
    columns = extractor.load(only, threads=1)(batch([written("SALE")]))
    assert list(columns) == [c.name for c in extractor.columns] == [
        "text_count", "text_area", "text_quads"
    ]  # fmt: skip
    with pytest.raises(ValueError, match="lines: got 0, expected at least 1"):
        TextInImage(lines=0)


def test_what_is_left_without_text():
    picture = np.full((100, 200, 3), 40, np.uint8)
    picture[:50, :100] = 250
    picture[80:, 150:] += 20  # too little to be seen
    quarter = np.array([[[0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]]], np.float32)
    assert rest(picture, quarter[:0]) == 0.25
    assert rest(picture, quarter) == 0.0
    assert rest(picture, np.stack([quarter[0] * 2])) == 0.0


def test_a_batch_finds_what_each_picture_alone_has(paths):
    pictures = [written("SALE"), drawn("circle"), written("CLOSED", size=(120, 400), pixels=20)]
    detector = TextDetector(paths["rapidocr_detector"], side=256, threshold=0.5, threads=1)
    together = detector([*pictures, *pictures])
    for i, picture in enumerate(pictures):
        alone = detector([picture])[0]
        assert together[i] == pytest.approx(alone, abs=0.02)
        assert together[i + 3] == pytest.approx(alone, abs=0.02)


def test_rapidocr_itself_finds_and_reads_the_same(paths):
    """The package's own pipeline, told to see the picture at the same size."""
    picture = written("Grand Opening 2026", "free coffee & tea", size=(480, 160), pixels=40)
    theirs = RapidOCR(
        params={"Det.limit_type": "max", "Det.limit_side_len": 256, "Global.log_level": "error"}
    )(np.ascontiguousarray(picture[:, :, ::-1]), use_cls=False)
    (ours,) = TextSearch().finder(paths, threads=1).of(batch([picture]))
    assert ours.lines == theirs.txts == ("Grand Opening 2026", "free coffee & tea")
    assert fit(picture, 256).shape == (96, 256, 3)
    pixels = ours.quad_n42 * np.array([480, 160])
    assert pixels == pytest.approx(
        np.array(theirs.boxes), abs=6
    )  # three pixels as the detector sees it


def test_the_recogniser_reads_what_rapidocr_reads(paths):
    picture = written("Jumped over 13 lazy dogs", size=(640, 70), pixels=42)
    whole = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    upright = crop_of(picture, whole)
    turned = crop_of(np.rot90(picture, -1), whole)
    lines = TextReader(paths["rapidocr_recogniser"], threads=1)([upright, turned, upright[:, :80]])
    theirs = RapidOCR(params={"Global.log_level": "error"})(
        np.ascontiguousarray(picture[:, :, ::-1]), use_det=False, use_cls=False
    )
    assert lines[0].text == lines[1].text == theirs.txts[0] == "Jumped over 13 lazy dogs"
    assert lines[0].score == pytest.approx(theirs.scores[0], abs=0.02)
    assert lines[2].text.startswith("Ju")
