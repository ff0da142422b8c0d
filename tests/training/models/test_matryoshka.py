"""Leading dimensions become embeddings of their own."""

import pytest
import torch
import torch.nn.functional as F

from training.models.encoder import Features
from training.models.matryoshka import matryoshka


def features():
    rng = torch.Generator().manual_seed(0)
    image_BD, text_BD = (F.normalize(torch.randn(3, 8, generator=rng), dim=-1) for _ in range(2))
    return Features(image_BD, text_BD, torch.tensor(10.0), torch.tensor(0.0))


def test_prefixes_have_unit_norm_and_the_whole_comes_first():
    whole = features()
    first, half, two = matryoshka(whole, (4, 2))
    assert first is whole
    for part, width in ((half, 4), (two, 2)):
        kept_BD = whole.image_BD[:, :width]
        expected_BD = kept_BD / kept_BD.square().sum(1, keepdim=True).sqrt()
        torch.testing.assert_close(part.image_BD, expected_BD)
        torch.testing.assert_close(part.text_BD.square().sum(1), torch.ones(3))
        assert part.scale is whole.scale


def test_a_width_that_is_not_smaller_is_refused():
    with pytest.raises(ValueError, match=r"got widths \(4, 8\), expected widths below 8"):
        matryoshka(features(), (4, 8))
