"""How captions travel: who sees how many at a time."""

import pytest
import torch

from tests.ranks import run_ranks
from training.losses.exchange import Exchange

COUNTS = (2, 3, 1)


def _travel(ranks, kind):
    exchange = Exchange(ranks, kind, COUNTS)
    own_N2 = torch.full((COUNTS[ranks.rank], 2), float(ranks.rank))
    seen = []

    def visit(block_M2):
        seen.append(block_M2[:, 0].tolist())
        return block_M2 + 10.0**ranks.rank

    told = [exchange.round([own_N2], visit, join) for join in ("sum", "log_sum_exp")]
    return seen, told


@pytest.mark.parametrize("kind", ["gather", "ring"])
def test_every_caption_meets_every_rank_and_comes_home(kind, tmp_path):
    everyone = [0.0, 0.0, 1.0, 1.0, 1.0, 2.0]
    for rank, (seen, told) in enumerate(run_ranks(_travel, 3, tmp_path, kind)):
        block = [[float(r)] * COUNTS[r] for r in ((rank - s) % 3 for s in range(3))]
        assert seen == 2 * ([everyone] if kind == "gather" else block)
        shape = (COUNTS[rank], 2)
        torch.testing.assert_close(told[0], torch.full(shape, 3.0 * rank + 111))
        stays = torch.tensor([rank + 1.0, rank + 10.0, rank + 100.0])
        torch.testing.assert_close(told[1], stays.logsumexp(0).expand(shape))
