"""float16 is widened exactly, whatever it is."""

import numpy as np
import pytest

from filters.concepts.widening import wide

EVERY = np.arange(2**16, dtype=np.uint16).view(np.float16)


@pytest.mark.parametrize("rows", [EVERY, EVERY[np.isfinite(EVERY)]], ids=["all", "finite"])
def test_every_half_is_widened_exactly(rows):
    for given in (rows.reshape(-1, 4), rows.reshape(-1, 4)[::3], rows.reshape(4, -1).T):
        found, expected = wide(given), given.astype(np.float32)
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        assert np.array_equal(found, expected, equal_nan=True)
        assert (np.signbit(found) == np.signbit(expected)).all()


def test_room_is_used_and_float32_is_left_alone():
    room = np.empty((5, 4), np.float32)
    found = wide(EVERY[:12].reshape(3, 4), room)
    assert np.shares_memory(found, room)
    assert np.array_equal(found, EVERY[:12].reshape(3, 4))
    assert wide(found) is found
    assert wide(np.zeros((0, 4), np.float16)).shape == (0, 4)
