"""States come every so many steps, after so long, and when somebody asks."""

import pytest

from training.checkpoint.due import Due
from training.config import Save
from training.parallel.ranks import ALONE


@pytest.mark.parametrize(
    ("cfg", "steps"),
    [
        (Save(every=3), [3, 5, 6]),
        (Save(every=100), [5]),
        (Save(every=100, minutes=1e-9), [1, 2, 3, 4, 5, 6]),
        (Save(every=100, minutes=1e9), [5]),
    ],
)
def test_states_are_due(cfg, steps):
    due = Due(cfg, ALONE)
    assert [step for step in range(1, 7) if due(step, asked=step == 5)] == steps
