"""Which steps are taken, when a run gives up, and that its judgement survives a restart."""

import math

import pytest

from training.config import Guard
from training.optim.guard import ENOUGH, Watch


@pytest.mark.parametrize(
    ("loss", "norm"),
    [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf), (-math.inf, 1.0)],
)
def test_what_is_not_finite_is_left_out_and_counted(loss, norm):
    watch = Watch(Guard())
    assert watch.allows(1.0, 1e30)  # large alone is no fault
    assert not watch.allows(loss, norm)
    assert watch.skipped == 1


def test_a_spike_is_measured_by_the_median_of_steps_that_were_taken():
    watch = Watch(Guard(spike=4.0))
    norms = [1.0 + (i % 3) for i in range(ENOUGH)]  # 1, 2, 3: their median is 2
    assert all(watch.allows(1.0, norm) for norm in norms)
    assert not watch.allows(1.0, 8.5)
    assert watch.allows(1.0, 7.5)
    for _ in range(9):
        assert not watch.allows(1.0, 100.0)  # never enters the median
    assert watch.allows(1.0, 7.5)
    assert watch.skipped == 10


def test_few_steps_make_no_median():
    watch = Watch(Guard(spike=2.0))
    assert watch.allows(1.0, 1.0)
    assert watch.allows(1.0, 1000.0)


def test_patience_ends_and_the_message_says_what_to_do():
    watch = Watch(Guard(patience=3))
    for _ in range(2):  # a good step in between starts the count again
        assert not watch.allows(math.nan, 1.0)
        assert not watch.allows(math.nan, 1.0)
        assert watch.allows(1.0, 1.0)
    assert not watch.allows(math.nan, 1.0)
    assert not watch.allows(math.nan, 1.0)
    with pytest.raises(
        RuntimeError,
        match=r"got loss nan and gradient norm 2, expected a finite number; 3 steps in a row .*"
        r"lower optim.lr",
    ):
        watch.allows(math.nan, 2.0)


def test_a_run_that_left_most_of_its_steps_out_is_not_done():
    """As it was with a learning rate of 1e30 for ten steps: finite weights, exported."""
    watch = Watch(Guard())
    for loss in (1.0, 1.0, math.nan, math.nan):
        watch.allows(loss, 1.0)
    watch.conclude(4)
    watch.allows(math.nan, 1.0)
    with pytest.raises(RuntimeError, match=r"got 3 of 5 steps left out, .*lower optim.lr"):
        watch.conclude(5)


def test_patience_with_spikes_names_the_bound():
    watch = Watch(Guard(spike=3.0, patience=1))
    assert all(watch.allows(1.0, 2.0) for _ in range(ENOUGH))
    with pytest.raises(
        RuntimeError, match=r"at most 6 \(3 times the running median\).*guard.spike"
    ):
        watch.allows(1.0, 7.0)


def test_a_restored_watch_judges_alike():
    watch, restored = Watch(Guard(spike=2.0)), Watch(Guard(spike=2.0))
    for i in range(150):
        watch.allows(1.0, 1.0 + i / 150)
    watch.allows(math.nan, 1.0)
    restored.load_state_dict(watch.state_dict())
    assert restored.state_dict() == watch.state_dict()
    # The median of the last hundred is about 1.66, that of all would be 1.5.
    assert [restored.allows(1.0, n) for n in (3.2, 3.4)] == [True, False]
    assert (restored.skipped, restored.in_a_row) == (2, 1)
