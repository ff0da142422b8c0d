import pytest

from pipeline.pools.openclipart import OpenClipart, Work, compose_caption, parse_work


def test_the_works_own_title_is_read_and_not_its_publishers(write_svg):
    work = parse_work(write_svg("Red  apple\n", "A fruit", ("food", "", "fruit")).encode())
    assert work == Work(
        title="Red apple",
        description="A fruit",
        keywords=("food", "fruit"),
        creator="Ada",
        licence="http://web.resource.org/cc/PublicDomain",
        language="en",
    )


def test_a_malformed_block_falls_back_to_its_plain_values(write_svg):
    broken = write_svg("Tom &amp; Jerry", "cat", ("animal",)).replace("</rdf:Bag>", "")
    work = parse_work(broken.encode())
    assert work is not None
    assert (work.title, work.keywords, work.creator) == ("Tom & Jerry", ("animal",), "Ada")


def test_prefixes_of_an_outer_element_are_understood(write_svg):
    text = write_svg("Sun")
    start, end = text.index("<rdf:RDF"), text.index("<cc:Work")
    bare = text[:start] + "<rdf:RDF>" + text[end:]
    assert parse_work(bare.encode()).title == "Sun"


def test_entities_are_never_expanded(write_svg):
    bomb = '<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    work = parse_work(write_svg("&b;").replace("<svg", bomb + "<svg", 1).encode())
    assert work is not None
    assert "aaaa" not in work.title


@pytest.mark.parametrize("data", [b"", b"<svg/>", b"<rdf:RDF>" + b" " * 70_000 + b"</rdf:RDF>"])
def test_without_a_usable_block_there_is_no_work(data):
    assert parse_work(data) is None


@pytest.mark.parametrize(
    ("work", "caption"),
    [
        (Work(title="Title", description="Text", keywords=("a",)), "Title, a"),
        (Work(title="Red Bird", keywords=("bird", "sea", "sea")), "Red Bird, sea"),
        (Work(description="Text", keywords=("a",)), "Text, a"),
        (Work(keywords=("bird", "sea")), "puffin md, bird, sea"),
        (Work(), "puffin md"),
    ],
)
def test_the_caption_is_the_first_text_there_is_and_the_keywords_it_lacks(work, caption):
    assert compose_caption(work, "puffin_md_01") == caption


def test_every_picture_is_an_item_and_a_link_is_not(clipart, tmp_path):
    collection = OpenClipart().collect(wanted=None, spool=tmp_path)
    assert len(collection.items) == 120
    assert collection.skipped == {"link": 2}
    assert collection.versions == {"openclipart-png": "1:0.18", "openclipart-svg": "1:0.18"}
    first = collection.items[0]
    assert (first.caption, first.category) == ("animals no. 0", "animals")
    assert first.meta["name"] == "animals/thing_000.png"
    assert first.picture.read().startswith(b"\x89PNG")


def test_a_picture_without_a_drawing_is_captioned_by_its_name(clipart, tmp_path):
    next(clipart.rglob("food/thing_001.svg")).unlink()
    collection = OpenClipart().collect(wanted=None, spool=tmp_path)
    assert collection.skipped["no_metadata"] == 1
    assert "thing" in [item.caption for item in collection.items]


def test_a_drawing_outside_the_package_is_not_read(clipart, tmp_path, write_svg):
    outside = tmp_path / "secret.svg"
    outside.write_text(write_svg("secret"), encoding="utf-8")
    drawing = next(clipart.rglob("food/thing_001.svg"))
    drawing.unlink()
    drawing.symlink_to(outside)
    collection = OpenClipart().collect(wanted=None, spool=tmp_path)
    assert "secret" not in [item.caption for item in collection.items]
