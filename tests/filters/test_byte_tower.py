"""The byte tower reads any script, and says the same of a text however it is padded."""

import pytest
import torch

from filters.byte_tower import PAD, START, ByteText, ByteTokenizer, ByteTower, halve

TEXTS = ["a red apple", "", "月", "Ein Mädchen mit Löwe, gezeichnet " * 3]


@pytest.fixture(scope="module")
def tower():
    torch.manual_seed(0)
    return ByteTower(ByteText(width=16, halvings=4), context_length=96, output_dim=8).eval()


def test_texts_become_their_utf8():
    bytes_BL = ByteTokenizer(16)(["A  Red\n", "é月"])
    assert bytes_BL.dtype == torch.uint8
    assert bytes_BL.shape == (2, 16)
    assert bytes(bytes_BL[0, :6].tolist()) == bytes([START]) + b"a red"
    assert bytes(bytes_BL[1, 1:6].tolist()).decode() == "é月"
    assert (bytes_BL[1, 6:] == PAD).all()


@pytest.mark.parametrize("length", range(2, 24))
def test_a_cut_text_ends_with_a_whole_character(length):
    (row_L,) = ByteTokenizer(length)("aé月🙂\ud800" * 3)
    kept = bytes(row_L.tolist()).rstrip(bytes([PAD]))[1:]
    kept.decode("utf-8")  # raises on half of one
    assert len(row_L) == length
    assert length - 5 < len(kept) < length


def test_padding_never_matters(tower):
    """Also not in a gradient, and not by how much a batch is cut."""
    bytes_BL = ByteTokenizer(96)(TEXTS)
    alone_BD = torch.stack([tower(row_L[row_L != PAD][None])[0] for row_L in bytes_BL])
    torch.testing.assert_close(tower(bytes_BL), alone_BD, rtol=0, atol=1e-6)
    tower.zero_grad()
    tower(bytes_BL[:1]).square().sum().backward()
    whole = {name: p.grad.clone() for name, p in tower.named_parameters()}
    tower.zero_grad()
    tower(bytes_BL[:1, :12]).square().sum().backward()
    for name, p in tower.named_parameters():
        torch.testing.assert_close(p.grad, whole[name], rtol=1e-4, atol=1e-6)
    assert all(g.isfinite().all() for g in whole.values())
    assert all(g.abs().sum() > 0 for name, g in whole.items() if name != "token_embedding.weight")


def test_halving_takes_the_larger_neighbour_that_is_no_padding():
    x_BLW = torch.tensor([[[-1.0], [-3.0], [-2.0], [9.0], [9.0]]])
    mask_BL1 = torch.tensor([[[True], [True], [True], [False], [False]]])
    half_BLW, half_mask_BL1 = halve(x_BLW, mask_BL1)
    assert half_BLW[0, :, 0].tolist() == [-1.0, -2.0, 0.0]
    assert half_mask_BL1[0, :, 0].tolist() == [True, True, False]


def test_locked_groups_count_from_the_end(tower):
    def trained(unlocked):
        tower.requires_grad_(True)
        tower.lock(unlocked)
        return {n.split(".")[0] for n, p in tower.named_parameters() if p.requires_grad}

    assert trained(0) == {"proj"}
    assert trained(1) == {"proj", "shared", "norm"}
    assert trained(3) == {"proj", "shared", "norm", "local"}
    assert trained(9) == {"proj", "shared", "norm", "local", "token_embedding"}
    tower.requires_grad_(True)


def test_recomputed_activations_give_the_same_gradient(tower):
    bytes_BL = ByteTokenizer(96)(TEXTS)

    def gradient(recompute):
        tower.zero_grad()
        tower.train().set_grad_checkpointing(recompute)
        tower(bytes_BL).square().sum().backward()
        tower.eval().set_grad_checkpointing(False)
        return [p.grad.clone() for p in tower.parameters()]

    for kept, recomputed in zip(gradient(False), gradient(True), strict=True):
        torch.testing.assert_close(kept, recomputed, rtol=0, atol=0)
