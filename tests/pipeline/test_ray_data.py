"""What the cells write is the truth: the same pairs through Ray Data must give the same columns."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from filters.extract import Batch
from filters.extract.caption import CaptionStatistics
from filters.extract.detect import Objects
from filters.extract.embed import Embeddings
from filters.extract.image import ImageStatistics
from filters.extract.language import Language
from filters.extract.ocr import TextInImage
from pipeline.cells import Cell, CellPlan
from pipeline.config import Cells
from pipeline.fetch import open_shard
from pipeline.leases import Lease
from pipeline.ledger import table_name
from pipeline.ray_data import ScoreBatch
from pipeline.samples import Limits
from pipeline.shards import find_shards, write_shard
from pipeline.tables import embedding, read
from pipeline.weights import model_file
from tests.toy import COLOURS, SHAPES, draw, encoded, huge_png, pair

EXTRACTORS = (
    ImageStatistics(),
    CaptionStatistics(),
    Language(),
    Embeddings(),
    Objects(threshold=0.05),  # low, so that drawings have boxes to compare
    TextInImage(),
)
BATCH, PAIRS = 6, 18

# Ray Data deprecates its own settings while it reads them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")


def toy_members():
    """Eighteen pairs; one picture is cut in half, the last of its batch."""
    found = []
    for number in range(PAIRS):
        shape, colour = SHAPES[number % 3], COLOURS[number % 6]
        image = encoded(draw(shape, colour, size=(200 + 20 * number, 180)), "JPEG", quality=95)
        image = image[: len(image) // 2] if number == 2 * BATCH - 1 else image
        caption = f"a {colour} {shape} number {number} on white ground"
        found.append(pair(f"{number:06d}", image=image, caption=caption, extension="jpg"))
    return found


def rows_of(members):
    """Lay pairs out as `read_webdataset(decoder=None)` does."""
    return [{name.rpartition(".")[2]: data for name, data in parts} for parts in members]


def cells_table(members, folder, extractors, *, batch):
    """Write a shard and let a cell score it."""
    write_shard(folder / "00000.tar", (m for parts in members for m in parts))
    names = {name for extractor in extractors for name in extractor.weights}
    plan = CellPlan(
        extractors=tuple(extractors),
        weights={name: str(model_file(name)) for name in names},
        store=str(folder),
        stage="score",
        newest=0.0,
        settings=Cells(batch=batch),
    )
    cell = Cell(plan, "cell")
    cell.load()
    (shard,) = find_shards([str(folder)])
    cell.do(Lease(shard), lambda: open_shard(shard.url))
    cell.close()
    return read(str(folder / "scores" / "score" / table_name(shard.id)))


def assert_equal_columns(cell, found, extractors):
    """Compare every column that the extractors declare, and the status; bit for bit."""
    assert list(found["status"]) == cell.column("status").to_pylist()
    for column in (c for e in extractors for c in e.columns):
        expected = cell.column(column.name)
        if column.dtype == "embedding":
            good = np.array(expected.is_valid())
            theirs = np.stack([np.asarray(v, np.float16) for v in found[column.name]])
            np.testing.assert_array_equal(theirs[good], embedding(cell, column.name)[good])
            assert np.isnan(theirs[~good]).all()
        elif column.dtype == "floats":
            lists = [None if v is None else np.float32(v).tolist() for v in found[column.name]]
            assert lists == expected.to_pylist(), column.name
        else:
            values = [none_of(v) for v in found[column.name]]
            assert values == expected.to_pylist(), column.name


def none_of(value):
    """Undo NaN for null, numpy scalars and arrays."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return None if isinstance(value, float) and np.isnan(value) else value


def batch_of(members, *, image="jpg", caption="txt"):
    rows = rows_of(members)
    columns = {image: [r.get("jpg") for r in rows], caption: [r.get("txt") for r in rows]}
    out = {}
    for name, values in columns.items():
        out[name] = np.empty(len(values), object)
        out[name][:] = values
    return out


def through_ray(ray_data, members, extractors, *, blocks=1, batch_format="numpy"):
    """Score pairs in an actor of Ray Data."""
    rows = [{"number": i, **row} for i, row in enumerate(rows_of(members))]
    return ray_data.from_items(rows, override_num_blocks=blocks).map_batches(
        ScoreBatch,
        fn_constructor_kwargs={"extractors": extractors},
        batch_size=BATCH,
        batch_format=batch_format,
        compute=ray_data.ActorPoolStrategy(size=1),
        num_cpus=0.4,
    )


def test_map_batches_gives_what_a_cell_writes(ray_data, tmp_path):
    scored = through_ray(ray_data, toy_members(), EXTRACTORS)
    found = sorted(scored.take_all(), key=lambda row: row["number"])
    assert len(found) == PAIRS
    cell = cells_table(toy_members(), tmp_path, EXTRACTORS, batch=BATCH)
    assert cell.column("status").to_pylist().count("decode_error") == 1
    assert any(cell.column("object_count").to_pylist()), "the threshold finds boxes to compare"
    columns = {name: [row[name] for row in found] for name in found[0]}
    assert_equal_columns(cell, columns, EXTRACTORS)


def test_parquet_from_tables_has_the_columns_of_a_score_table(ray_data, tmp_path):
    """The first block is all broken: its nulls must have types, or the files do not fit."""
    members = [[(parts[0][0], b"junk"), *parts[1:]] for parts in toy_members()[:BATCH]]
    members += toy_members()[BATCH:]
    extractors = (ImageStatistics(), Embeddings(), Objects())
    scored = through_ray(
        ray_data, members, extractors, blocks=PAIRS // BATCH, batch_format="pyarrow"
    )
    scored.drop_columns(["jpg"]).write_parquet(str(tmp_path / "scores"))
    assert len(list((tmp_path / "scores").iterdir())) > 1
    table = pq.read_table(tmp_path / "scores").sort_by("number")
    cell = cells_table(members, tmp_path, extractors, batch=BATCH)
    for name in ("status", *(c.name for e in extractors for c in e.columns)):
        assert table.column(name).to_pylist() == cell.column(name).to_pylist()
        assert table.schema.field(name).type == cell.schema.field(name).type


def test_the_content_is_that_of_the_file_and_equal_for_exact_copies_alone(tmp_path):
    red, again = (draw("circle", "red", size=(50, 40)) for _ in range(2))
    images = [encoded(red), encoded(again), encoded(red, "JPEG"), b"no picture"]
    members = [pair(str(i), image=image, extension="jpg") for i, image in enumerate(images)]
    extractors = (ImageStatistics(),)
    cell = cells_table(members, tmp_path, extractors, batch=3)
    first, copy, other, none = cell.column("content").to_pylist()
    assert first == copy == int(hashlib.blake2b(images[0], digest_size=8).hexdigest(), 16)
    assert other not in {first, None}
    assert none is None
    assert_equal_columns(cell, ScoreBatch(extractors)(batch_of(members)), extractors)


def test_a_broken_picture_anywhere_costs_its_row(tmp_path):
    members = toy_members()[:8]
    members[2][0] = ("000002.jpg", b"no picture")
    members[3] = pair("000003", image=huge_png(30_000, 30_000), extension="jpg")
    members[4][1] = ("000004.txt", b" \n")
    members[5][1] = ("000005.txt", b"\xff\xfe")
    del members[6][1]
    del members[7][0]
    extractors = (ImageStatistics(), CaptionStatistics(), Embeddings())
    cell = cells_table(members, tmp_path, extractors, batch=8)
    assert len(set(cell.column("status").to_pylist())) == 7
    found = ScoreBatch(extractors)(batch_of(members))
    assert_equal_columns(cell, found, extractors)


def test_captions_as_text_and_other_names():
    members = toy_members()[:3]
    batch = batch_of(members, image="picture", caption="alt")
    batch["alt"][0], batch["alt"][1] = "three words here", float("nan")
    score = ScoreBatch(CaptionStatistics(), image="picture", caption="alt", status="verdict")
    found = score(batch)
    assert list(found["verdict"]) == ["ok", "missing_caption", "ok"]
    assert list(found["caption_words"])[:2] == [3, None]
    assert found["picture"] is batch["picture"]


def test_each_row_has_its_own_format():
    png, jpeg = (
        encoded(draw("circle", "red", size=(50, 40))),
        encoded(draw("circle", "red"), "JPEG"),
    )
    batch = batch_of(toy_members()[:2])
    batch["jpg"][:] = [None, jpeg]
    batch["png"] = np.array([png, None], object)
    assert ScoreBatch(ImageStatistics())(batch)["width"].tolist() == [50, 96]


def test_no_row_at_all():
    found = ScoreBatch([ImageStatistics(), CaptionStatistics()])(batch_of([]))
    assert {len(values) for values in found.values()} == {0}


class Fussy(ImageStatistics):
    """Raises on one sample, as a model may on hostile input."""

    def load(self, weights, *, threads):
        score = ImageStatistics.load(self, weights, threads=threads)

        def fuss(batch: Batch):
            if "a purple square number 4 on white ground" in batch.captions:
                raise RuntimeError("that one")
            return score(batch)

        return fuss


def test_an_extractor_that_raises_costs_the_culprit():
    found = ScoreBatch([CaptionStatistics(), Fussy()])(batch_of(toy_members()[:6]))
    bad = [i for i, status in enumerate(found["status"]) if status == "extract_error"]
    captions = [dict(parts)[f"{i:06d}.txt"] for i, parts in enumerate(toy_members()[:6])]
    assert bad == [captions.index(b"a purple square number 4 on white ground")]
    assert found["caption_words"][4] is None


def test_bounds_are_those_of_the_reader():
    found = ScoreBatch(ImageStatistics(), limits=Limits(member_bytes=100))(
        batch_of(toy_members()[:2])
    )
    assert list(found["status"]) == ["too_large"] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extractors": []}, "extractors: got none"),
        ({"extractors": [Language(), Language()]}, "got 'language' twice"),
        ({"extractors": Language(), "status": "language"}, "got 'language' twice"),
    ],
)
def test_requests_that_cannot_be_met(options, message):
    with pytest.raises(ValueError, match=message):
        ScoreBatch(**options)


def test_columns_that_are_not_there_or_in_the_way():
    batch = batch_of(toy_members()[:1])
    with pytest.raises(ValueError, match="got columns jpg, txt, expected 'alt' and one of jpg"):
        ScoreBatch(Language(), caption="alt")(batch)
    with pytest.raises(ValueError, match="got a column 'status'"):
        ScoreBatch(Language())({**batch, "status": batch["txt"]})


def test_weights_by_name_come_before_the_cache():
    missing = Path("/nowhere/model.onnx")
    with pytest.raises(Exception, match=str(missing)):
        ScoreBatch(Objects(), weights={"nanodet": missing})
