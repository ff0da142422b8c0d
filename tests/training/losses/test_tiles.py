import torch

from training.losses.tiles import tiles


def test_tiles_cover_every_cell_once():
    for side in (1, 4, 0):
        seen = torch.zeros(7, 9)
        for i, j in tiles(7, 9, side):
            seen[i, j] += 1
            assert max(seen[i, j].shape) <= (side or 9)
        assert torch.equal(seen, torch.ones(7, 9))
