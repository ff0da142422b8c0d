import pytest

from pipeline.pools.tuxpaint import TuxPaint

CAPTIONS = (
    "A red kangaroo.\nde.utf8=Ein rotes K\u00e4nguru.\nfr.utf8=Un kangourou.\nzz.utf8=\nnoise\n"
)


@pytest.fixture
def stamps(cache, draw):
    root = cache / "debian/tuxpaint-stamps-default_2022/usr/share/tuxpaint/stamps/animals"
    (root / "marsupials").mkdir(parents=True)
    (root / "marsupials/kangaroo.png").write_bytes(draw(1))
    (root / "marsupials/kangaroo.txt").write_text(CAPTIONS, encoding="utf-8")
    (root / "frog.png").write_bytes(draw(2))
    (root / "frog.txt").write_text("A frog.\n", encoding="utf-8")
    (root / "frog_mirror.png").write_bytes(draw(3))
    (root / "cow.svg").write_text("<svg/>", encoding="utf-8")


def test_english_gives_one_pair_a_picture(stamps, tmp_path):
    collection = TuxPaint().collect(wanted=None, spool=tmp_path)
    assert [item.caption for item in collection.items] == ["A frog.", "A red kangaroo."]
    assert collection.skipped == {"svg": 1, "no_caption": 1}
    assert collection.items[1].meta["keywords"] == ["marsupials"]


def test_locales_share_the_picture_and_have_uids_of_their_own(stamps, tmp_path):
    collection = TuxPaint(locales=("de", "fr")).collect(wanted=None, spool=tmp_path)
    german, french = collection.items
    assert german.caption == "Ein rotes K\u00e4nguru."
    assert german.uid != french.uid
    assert german.picture_uid == french.picture_uid
    assert french.meta["language"] == "fr"


def test_all_takes_every_locale(stamps, tmp_path):
    assert len(TuxPaint(locales=("all",)).collect(wanted=None, spool=tmp_path).items) == 4


def test_an_unknown_locale_is_refused(stamps, tmp_path):
    with pytest.raises(ValueError, match="locales: got xx, expected all or some of de, en, fr"):
        TuxPaint(locales=("en", "xx")).collect(wanted=None, spool=tmp_path)
