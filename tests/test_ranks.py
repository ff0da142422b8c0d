"""The launcher of ranks: results come back in order, and no trouble of a rank goes unseen."""

import os
import signal

import pytest
import torch

from tests.ranks import run_ranks


def _sum(ranks, values):
    return ranks.rank, ranks.sum(values[ranks.rank]), ranks.any(ranks.rank == 1)


def _backward(ranks):
    weight = torch.ones(64, 64, requires_grad=True)
    (weight @ weight).sum().backward()
    return weight.grad


def _one_raises(ranks):
    if ranks.rank == 1:
        raise ValueError("the second rank's own words")
    ranks.barrier()


def _one_dies(ranks):
    if ranks.rank == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    ranks.barrier()


def _hang(ranks):
    if ranks.rank == 0:
        torch.distributed.recv(torch.zeros(1), src=1)  # nobody sends


def test_results_come_back_in_order_and_arguments_reach_every_rank(tmp_path):
    values = [torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0]), torch.tensor([100.0, 200.0])]
    results = run_ranks(_sum, 3, tmp_path, values)
    assert [rank for rank, _, _ in results] == [0, 1, 2]
    assert all(total.tolist() == [111.0, 222.0] and flag for _, total, flag in results)


def test_ranks_can_compute_after_their_parent_has(tmp_path):
    here = _backward(None)
    assert all(torch.equal(here, there) for there in run_ranks(_backward, 2, tmp_path))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (_one_raises, "the second rank's own words"),
        (_one_dies, "exit code -9"),
    ],
)
def test_a_rank_that_fails_fails_the_test_and_ends_the_others(tmp_path, function, says):
    with pytest.raises(AssertionError, match=says):
        run_ranks(function, 2, tmp_path)


def test_ranks_that_hang_are_killed_and_say_where(tmp_path):
    with pytest.raises(AssertionError, match="_hang"):
        run_ranks(_hang, 2, tmp_path, limit_s=1.0)
