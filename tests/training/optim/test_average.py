"""The moving average against its definition in float64, and changing places with the weights."""

import pytest
import torch
from torch import nn

from training.optim.average import Average


def _net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    net[2].weight.requires_grad_(False)
    return net.bfloat16()


def _walk(net, average, steps):
    """Move the weights; return the first one's path in float64."""
    path = []
    for step in range(steps):
        with torch.no_grad():
            net[0].weight += 0.25 * (step + 1)
        average.update()
        path.append(net[0].weight.detach().double().clone())
    return path


def test_it_is_the_running_mean_in_float32_of_what_trains():
    net = _net()
    start = net[0].weight.detach().double().clone()
    average = Average(net, decay=0.5)
    expected = start
    for n, weight in enumerate(_walk(net, average, 12), start=1):
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weight
    state = average.state_dict()
    assert state["updates"] == 12
    assert set(state["averages"]) == {"0.weight", "0.bias", "1.weight", "1.bias", "2.bias"}
    assert all(a.dtype == torch.float32 for a in state["averages"].values())
    torch.testing.assert_close(state["averages"]["0.weight"].double(), expected, rtol=1e-6, atol=0)


def test_shown_averages_give_way_again_even_after_an_error():
    net = _net().float()
    average = Average(net, decay=0.9)
    _walk(net, average, 3)
    weights = {k: v.clone() for k, v in net.state_dict().items()}
    averages = {k: v.clone() for k, v in average.state_dict()["averages"].items()}
    with average.shown():
        assert torch.equal(net[0].weight, averages["0.weight"])
    with pytest.raises(RuntimeError, match="shapes"), average.shown():
        net(torch.ones(1, 99))
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())
    assert all(torch.equal(v, averages[k]) for k, v in average.state_dict()["averages"].items())


def test_a_restored_average_goes_on_bit_for_bit():
    net, other = _net().float(), _net().float()
    average, restored = Average(net, decay=0.9), Average(other, decay=0.9)
    _walk(net, average, 3)
    other.load_state_dict(net.state_dict())
    restored.load_state_dict(average.state_dict())
    for pair in ((net, average), (other, restored)):
        _walk(*pair, 4)
    mine, theirs = average.state_dict(), restored.state_dict()
    assert mine["updates"] == theirs["updates"] == 7
    assert all(torch.equal(a, theirs["averages"][n]) for n, a in mine["averages"].items())
    assert not torch.equal(mine["averages"]["0.weight"], net[0].weight)
