from pathlib import Path

from pipeline.pools.item import Item, Picture, uid_of
from pipeline.pools.looks import Look
from pipeline.pools.split import Seen, rank_of, split


def seen(number: int, *, caption: str | None = None, phash: int | None = -1) -> Seen:
    """Return an item whose hash is far from every other number's."""
    uid = uid_of("test", str(number))
    item = Item(
        uid=uid,
        picture=Picture(str(Path("nowhere"))),
        picture_uid=uid,
        caption=f"caption {number}" if caption is None else caption,
    )
    far = int.from_bytes(uid_of("hash", str(number))[:8], "big")
    return Seen(item, Look("png", 10, 10, far if phash == -1 else phash))


def uids(side: tuple[Seen, ...]) -> set[bytes]:
    return {one.item.uid for one in side}


def test_nothing_is_lost_and_the_share_is_kept():
    items = [seen(i) for i in range(2000)]
    sides = split(items, heldout_share=0.2, seed=0)
    assert len(sides.pool) + len(sides.heldout) + sum(sides.left_out.values()) == 2000
    assert abs(len(sides.heldout) / 2000 - 0.2) < 0.03
    assert not uids(sides.pool) & uids(sides.heldout)


def test_the_order_of_the_source_does_not_matter():
    items = [seen(i) for i in range(200)]
    assert split(items, heldout_share=0.2, seed=0) == split(items[::-1], heldout_share=0.2, seed=0)


def test_a_smaller_pool_is_the_beginning_of_a_larger_one():
    items = [seen(i) for i in range(300)]
    whole = split(items, heldout_share=0.1, seed=0)
    small = split(items, heldout_share=0.1, seed=0, limit=50)
    assert small.pool == whole.pool[:50]
    assert small.heldout == whole.heldout
    assert small.left_out["beyond_limit"] == len(whole.pool) - 50


def test_another_seed_splits_otherwise():
    items = [seen(i) for i in range(300)]
    first, second = (split(items, heldout_share=0.3, seed=s) for s in (0, 1))
    assert uids(first.heldout) != uids(second.heldout)


def test_near_copies_of_heldout_pictures_leave_the_pool():
    twins = [seen(i, phash=seen(i // 2).look.phash ^ i % 2) for i in range(400)]
    sides = split(twins, heldout_share=0.5, seed=0)
    hashes = {
        side: [one.look.phash for one in getattr(sides, side)] for side in ("pool", "heldout")
    }
    assert min((a ^ b).bit_count() for a in hashes["pool"] for b in hashes["heldout"]) > 6
    assert sides.left_out["near_copy_of_heldout"] > 70  # a half of the twins have one on each side
    assert sides.left_out["near_copy_in_heldout"] > 30  # a quarter have both there


def test_a_large_family_stays_in_the_pool():
    family = [seen(i, phash=0b111 << (i % 5)) for i in range(60)]
    sides = split(family + [seen(i) for i in range(60, 90)], heldout_share=0.5, seed=0)
    assert not any(one.look.phash < 2**10 for one in sides.heldout)
    assert sum(one.look.phash < 2**10 for one in sides.pool) > 20
    assert sides.left_out["heldout_of_a_large_family"] == 1


def test_heldout_captions_are_distinct_and_the_pools_are_not():
    sides = split([seen(i, caption="Same") for i in range(50)], heldout_share=0.5, seed=0)
    assert len(sides.heldout) == 1
    assert len(sides.pool) > 15


def test_what_cannot_be_seen_stays_in_the_pool_and_out_of_the_heldout():
    sides = split([seen(i, phash=None) for i in range(50)], heldout_share=0.5, seed=0)
    assert sides.heldout == ()
    assert len(sides.pool) == 50 - sides.left_out["heldout_without_hash"] > 10


def test_ranks_are_uniform():
    ranks = [rank_of(uid_of("rank", str(i)), 0) / 2**64 for i in range(4000)]
    for cut in (0.1, 0.5, 0.9):
        assert abs(sum(rank < cut for rank in ranks) / 4000 - cut) < 0.03
