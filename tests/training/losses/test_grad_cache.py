"""Passes through the towers against one pass with the same dropout."""

from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.ranks import run_ranks
from training.config import Loss, Parallel
from training.losses.grad_cache import accumulate, passes, require_no_batch_norm
from training.losses.pair import pair_loss
from training.models.encoder import Features
from training.parallel.ranks import ALONE, Ranks

PAIRS = 11


class Towers(nn.Module):
    """Two towers with dropout, one of them frozen if asked for."""

    def __init__(self, *, frozen: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.image = nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Dropout(0.5), nn.Linear(8, 4))
        self.text = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Dropout(0.5), nn.Linear(8, 4))
        self.log_scale, self.bias = (
            nn.Parameter(torch.tensor(2.0)),
            nn.Parameter(torch.tensor(-2.0)),
        )
        self.text.requires_grad_(not frozen)
        self.double()

    def forward(self, image_BX, text_NX) -> Features:
        image_BD, text_ND = self.image(image_BX), self.text(text_NX)
        return Features(
            F.normalize(image_BD, dim=1),
            F.normalize(text_ND, dim=1),
            self.log_scale.exp(),
            self.bias + 0,
        )


def _inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    image_GX = torch.randn(PAIRS, 5, generator=generator).double()
    return image_GX, torch.randn(2 * PAIRS, 3, generator=generator).double()


def _accumulate(towers, ranks: Ranks, kind: str, ranges: list[range]) -> torch.Tensor:
    """Take one batch of two captions a pair; dropout is seeded by a pass's first pair."""
    image_GX, text_NX = _inputs()
    start = ranks.share(PAIRS).start
    loss = pair_loss(Loss(kind=kind), Parallel(chunk=4), ranks=ranks, batch_size=PAIRS)
    parts = [range(start + rows.start, start + rows.stop) for rows in ranges]
    return accumulate(
        lambda rows: towers(image_GX[rows], text_NX[2 * rows.start : 2 * rows.stop]),
        lambda features: loss(Features(*features), torch.ones(len(ranks.share(PAIRS)))),
        parts,
        seed=lambda rows: torch.manual_seed(rows.start),
    )


def _single_pass(towers: Towers, kind: str, starts: list[range]) -> torch.Tensor:
    """The same with a graph of everything at once."""
    image_GX, text_NX = _inputs()
    encoded = []
    for rows in starts:
        torch.manual_seed(rows.start)
        encoded.append(towers(image_GX[rows], text_NX[2 * rows.start : 2 * rows.stop]))
    image, text, scale, bias = zip(*encoded, strict=True)
    loss = pair_loss(Loss(kind=kind), Parallel(), ranks=ALONE, batch_size=PAIRS)
    value = loss(Features(torch.cat(image), torch.cat(text), scale[0], bias[0]), torch.ones(PAIRS))
    value.backward()
    return value.detach()


def _grads(towers: Towers) -> dict[str, torch.Tensor]:
    return {n: p.grad for n, p in towers.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", ["siglip", "clip"])
def test_passes_equal_a_single_one(kind, frozen):
    ranges = [range(4), range(4, 8), range(8, 11)]
    expected, got = Towers(frozen=frozen), Towers(frozen=frozen)
    value = _single_pass(expected, kind, ranges)
    torch.testing.assert_close(_accumulate(got, ALONE, kind, ranges), value)
    torch.testing.assert_close(_grads(got), _grads(expected), rtol=1e-10, atol=1e-13)
    assert ("text.0.weight" in _grads(got)) == (not frozen)


def _on_ranks(ranks, kind):
    towers = Towers()
    rows = passes(ranks, PAIRS, micro_batch=2)
    start = ranks.share(PAIRS).start
    value = _accumulate(towers, ranks, kind, rows)
    mean = {name: ranks.sum(grad) / ranks.count for name, grad in _grads(towers).items()}  # as DDP
    return value, mean, [range(start + r.start, start + r.stop) for r in rows]


def test_passes_on_ranks_equal_a_single_one(tmp_path):
    told = run_ranks(_on_ranks, 2, tmp_path, "siglip")
    expected = Towers()
    value = _single_pass(expected, "siglip", [rows for *_, mine in told for rows in mine])
    torch.testing.assert_close(torch.stack([v for v, *_ in told]).mean(), value)
    for _, grads, rows in told:
        assert len(rows) == 3
        torch.testing.assert_close(grads, _grads(expected), rtol=1e-10, atol=1e-13)


def test_gradients_travel_once_and_a_single_part_is_encoded_once():
    encoded, quiet = [], []

    @contextmanager
    def no_sync():
        quiet.append(len(encoded))
        yield
        quiet.append(len(encoded))

    weight = torch.ones((), requires_grad=True)

    def encode(part):
        encoded.append(part)
        return (weight * part,)

    def run(parts):
        encoded.clear(), quiet.clear()
        weight.grad = None
        seed = encoded.append
        return accumulate(encode, lambda f: f[0].square().sum(), parts, seed=seed, no_sync=no_sync)

    parts = [torch.tensor([1.0, 2.0]), torch.tensor([3.0]), torch.tensor([4.0])]
    assert run(parts).item() == 30
    assert weight.grad == 60
    assert quiet == [6, 8, 8, 10]  # two of three second passes, each seeded inside
    assert run(parts[:1]).item() == 5
    assert weight.grad == 10
    assert (len(encoded), quiet) == (2, [])


@pytest.mark.parametrize(
    ("world", "micro_batch", "count"), [(1, 0, 1), (1, 4, 3), (4, 2, 2), (4, 1, 2), (4, 99, 1)]
)
def test_ranks_make_equally_many_passes_of_all_their_pairs(world, micro_batch, count):
    for rank in range(world):
        ranks = Ranks(rank, world)
        cut = passes(ranks, PAIRS, micro_batch=micro_batch)
        assert [i for rows in cut for i in rows] == list(range(len(ranks.share(PAIRS))))
        assert len(cut) == count
        assert all(rows for rows in cut)


def test_batch_norm_is_refused_where_it_trains():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    with pytest.raises(ValueError, match=r"micro_batch: got 8 for a model with 1 BatchNorm .* 1\)"):
        require_no_batch_norm(model, micro_batch=8)
    require_no_batch_norm(model, micro_batch=0)
    require_no_batch_norm(model.eval(), micro_batch=8)
