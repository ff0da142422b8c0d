import json

import datasets
import pytest

from pipeline.pools.build import build_pool
from pipeline.pools.hub import HubDataset
from pipeline.pools.sources import open_source
from pipeline.samples import read_shard
from pipeline.shards import list_shards, write_shard


@pytest.fixture
def parquet(draw, tmp_path):
    """A dataset in a folder: pictures, several captions each, a class, and two unusable rows."""
    rows = {
        "pic": [{"bytes": draw(i), "path": None} for i in range(19)] + [None],
        "captions": [[f"first {i}", f"second {i}"] for i in range(18)] + [[], ["no picture"]],
        "kind": [i % 2 for i in range(20)],
    }
    features = datasets.Features(
        pic=datasets.Image(),
        captions=datasets.List(datasets.Value("string")),
        kind=datasets.ClassLabel(names=["even", "odd"]),
    )
    folder = tmp_path / "dataset"
    folder.mkdir()
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(rows, features).to_parquet(str(folder / "train.parquet"))
    return folder


@pytest.fixture
def image_folder(draw, tmp_path):
    folder = tmp_path / "folder"
    (folder / "train").mkdir(parents=True)
    lines = []
    for number in range(6):
        (folder / f"train/{number}.png").write_bytes(draw(number))
        lines.append(json.dumps({"file_name": f"{number}.png", "text": f"blots {number}"}))
    (folder / "train/metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_columns_of_a_dataset_are_found(parquet, draw, tmp_path):
    collection = HubDataset.parse(f"hf:{parquet}?category=kind").collect(
        wanted=None, spool=tmp_path
    )
    assert len(collection.items) == 18
    assert collection.skipped == {"no_caption": 1, "no_picture": 1}
    third = collection.items[3]
    assert (third.caption, third.category) == ("first 3", "odd")
    assert third.picture.read() == draw(3)


def test_a_stream_is_read_only_as_far_as_wanted(parquet, tmp_path):
    assert len(HubDataset.parse(f"hf:{parquet}").collect(wanted=4, spool=tmp_path).items) == 4


def test_a_folder_of_pictures_is_a_dataset_too(image_folder, out):
    built = build_pool(f"hf:{image_folder}", out=out, heldout_share=0)
    captions = {s.caption for url in list_shards([built.pool]) for s in read_shard(url)}
    assert captions == {f"blots {i}" for i in range(6)}


@pytest.mark.parametrize("query", ["text=nope", "image=nope", "category=nope"])
def test_a_column_that_is_not_there_is_named_with_those_that_are(parquet, tmp_path, query):
    with pytest.raises(
        ValueError, match=r"with the columns pic \(Image\), captions \(List\), kind"
    ):
        HubDataset.parse(f"hf:{parquet}?{query}").collect(wanted=None, spool=tmp_path)


def test_a_dataset_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"--from: got hf:.*/none \(.*expected a dataset"):
        HubDataset.parse(f"hf:{tmp_path}/none").collect(wanted=None, spool=tmp_path)


@pytest.mark.parametrize("source", ["hf:", "hf:name?pictures=x"])
def test_a_dataset_must_be_named_in_the_grammar(source):
    with pytest.raises(ValueError, match="expected hf:NAME"):
        open_source(source)


@pytest.mark.parametrize("source", ["openclipat", ""])
def test_an_unknown_source_is_refused_with_the_known_ones(source):
    with pytest.raises(ValueError, match=rf"pool: got '{source}', expected openclipart, tuxpaint"):
        open_source(source)


def test_locales_belong_to_tuxpaint():
    with pytest.raises(ValueError, match="locales: got de for openclipart"):
        open_source("openclipart", locales=("de",))


@pytest.fixture
def shards(draw, tmp_path):
    """Two shards of one's own, with a repeated uid and a pair without a caption."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for shard in range(2):
        members = []
        for number in range(10):
            meta = {"uid": f"{min(shard * 10 + number, 18):032x}", "url": "somewhere", "width": 1}
            members += [
                (f"{number}.jpg", draw(shard * 10 + number, form="JPEG")),
                (f"{number}.txt", f"mine {shard} {number}".encode()),
                (f"{number}.json", json.dumps(meta).encode()),
            ]
        members.append(("bare.jpg", draw(99, form="JPEG")))
        write_shard(folder / f"{shard}.tar", members)
    return folder


def test_ones_own_shards_pass_through(shards, draw, out):
    built = build_pool(f"{shards}/*.tar", out=out, heldout_share=0.3)
    assert sum(built.pairs.values()) == 19
    assert built.left_out["missing_caption"] == 2
    assert built.left_out["repeated_uid"] == 1
    assert built.pairs["heldout"] > 1
    for url in list_shards([built.pool, built.heldout]):
        for sample in read_shard(url):
            number = int(sample.uid.hex(), 16)
            assert sample.image == draw(number, form="JPEG")
            assert sample.caption == f"mine {number // 10} {number % 10}"
            assert sample.meta["url"] == "somewhere"
            assert sample.meta["width"] == 120  # measured, whatever the json said


def test_a_changed_shard_is_noticed(shards, draw, out):
    first = build_pool(str(shards), out=out)
    write_shard(shards / "2.tar", [("a.jpg", draw(50, form="JPEG")), ("a.txt", b"new")])
    assert sum(build_pool(str(shards), out=out).pairs.values()) == (sum(first.pairs.values()) + 1)


def test_planting_works_without_categories(shards, out):
    built = build_pool(str(shards), out=out, heldout_share=0, plant=0)
    assert built.planted["swapped"] == 2
