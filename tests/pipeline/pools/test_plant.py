from collections import Counter

import pytest

from pipeline.pools.entry import Kind
from pipeline.pools.item import Item, Picture, uid_of
from pipeline.pools.looks import Look
from pipeline.pools.plant import SHARES, add_trouble, originals_for
from pipeline.pools.split import Seen

TOTAL = 1000


def make(number: int, *, side: int = 200, visible: bool = True) -> Seen:
    uid = uid_of("test", str(number))
    item = Item(
        uid=uid,
        picture=Picture("nowhere"),
        picture_uid=uid,
        caption=f"caption {number}",
        meta={"category": "abc"[number % 3]},
    )
    far = int.from_bytes(uid_of("hash", str(number))[:8], "big")  # from every other number's
    return Seen(item, Look("png", side, side, far if visible else None))


@pytest.fixture(scope="module")
def originals():
    return [make(i) for i in range(originals_for(TOTAL))]


@pytest.fixture(scope="module")
def entries(originals):
    return add_trouble(originals, seed=7)


def test_every_kind_has_its_share(entries):
    assert len(entries) == TOTAL
    counts = Counter(entry.kind for entry in entries)
    assert {kind: counts[kind] for kind in SHARES} == {k: s * TOTAL for k, s in SHARES.items()}


def test_no_pair_is_lost_and_uids_are_unique(entries, originals):
    uids = {entry.uid for entry in entries}
    assert len(uids) == TOTAL
    assert {one.item.uid for one in originals} <= uids


def test_copies_are_new_pairs_of_clean_originals(entries):
    by_uid = {entry.uid: entry for entry in entries}
    copies = [e for e in entries if e.kind in {Kind.EXACT_COPY, Kind.RESIZED_COPY}]
    assert len({copy.twin for copy in copies}) == len(copies)
    for copy in copies:
        twin = by_uid[copy.twin]
        assert twin.kind is Kind.CLEAN
        assert (twin.item, twin.caption) == (copy.item, copy.caption)
        assert (copy.damage is None) == (copy.kind is Kind.EXACT_COPY)
    assert all(e.twin is None for e in entries if e not in copies)


def test_what_the_source_has_twice_is_not_called_clean():
    pool = [make(i) for i in range(100)]
    pool += [Seen(make(100 + i).item, make(i).look) for i in range(100)]
    entries = add_trouble(pool, seed=7)
    by_uid = {entry.uid: entry for entry in entries}
    natural = [entry for entry in entries if entry.kind is Kind.NATURAL_COPY]
    assert len(natural) > 30
    for entry in natural:
        twin = by_uid[entry.twin]
        assert (twin.kind, twin.look.phash) == (Kind.CLEAN, entry.look.phash)
        assert entry.damage is None
        assert entry.caption == entry.item.caption


def test_each_kind_touches_what_it_should_and_nothing_else(entries):
    caption = {Kind.SWAPPED, Kind.FOREIGN, Kind.BOILERPLATE}
    picture = {Kind.RESIZED_COPY, Kind.TEXT_ONLY, Kind.TINY, Kind.CORRUPT}
    for entry in entries:
        assert (entry.caption != entry.item.caption) == (entry.kind in caption)
        assert (entry.damage is not None) == (entry.kind in picture)


def test_swapped_captions_belong_to_another_category(entries):
    category = {e.item.caption: e.item.category for e in entries}
    swapped = [e for e in entries if e.kind is Kind.SWAPPED]
    assert all(category[e.caption] != e.item.category for e in swapped)


def test_foreign_captions_come_in_many_languages(entries):
    foreign = {e.caption for e in entries if e.kind is Kind.FOREIGN}
    assert any(not c.isascii() for c in foreign)
    assert len(foreign) > 15


def test_the_seed_decides(originals, entries):
    assert add_trouble(originals, seed=7) == entries
    assert add_trouble(originals, seed=8) != entries


def test_small_and_undecodable_pictures_are_spared():
    pool = [make(i, side=40) for i in range(100)] + [
        make(i, visible=False) for i in range(100, 200)
    ]
    spoiled = [entry for entry in add_trouble(pool, seed=1) if entry.damage is not None]
    assert {entry.kind for entry in spoiled} == {Kind.TEXT_ONLY, Kind.CORRUPT}
    assert Kind.SWAPPED in {entry.kind for entry in add_trouble(pool, seed=1)}
    bad = [entry for entry in add_trouble(pool, seed=1) if entry.kind is not Kind.CLEAN]
    assert all(entry.look.phash is not None for entry in bad)


def test_a_tiny_pool_is_planted_with_what_fits():
    assert len(add_trouble([make(0)], seed=0)) == 1
