import pytest
import torch
import torch.nn.functional as F

from training.losses.distillation import feature_l2


def test_feature_l2_is_two_minus_twice_the_cosine():
    generator = torch.Generator().manual_seed(11)
    a_BD, b_BD = F.normalize(torch.randn(2, 5, 4, generator=generator).double(), dim=-1)
    expected = (2 - 2 * (a_BD * b_BD).sum(1)).mean()
    torch.testing.assert_close(feature_l2(a_BD, b_BD), expected)
    assert feature_l2(a_BD, -a_BD).item() == pytest.approx(4.0)
