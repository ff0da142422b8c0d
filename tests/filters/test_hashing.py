"""Hashes of uids: as published, uniform, and others for every purpose."""

import numpy as np

from filters.hashing import hashed


def test_one_word_is_mixed_as_published():
    words = np.zeros((1, 1), np.uint64)
    assert hashed(words).tolist() == [0xE220A8397B1DCDAF]  # SplitMix64's first of seed 0


def test_uids_in_order_are_spread_evenly_and_anew_for_each_salt():
    uids = np.stack([np.zeros(40_000, np.uint64), np.arange(40_000, dtype=np.uint64)], axis=1)
    cells = [hashed(uids, salt=salt) >> np.uint64(60) for salt in ("", "a:0", "a:1")]
    for one in cells:
        assert abs(np.bincount(one.astype(int), minlength=16) - 2500).max() < 5 * np.sqrt(2500)
    for one, other in ((0, 1), (1, 2)):
        both = np.bincount((16 * cells[one] + cells[other]).astype(int), minlength=256)
        assert abs(both - 156.25).max() < 5 * np.sqrt(156.25)
