"""Which device a rank takes."""

import pytest
import torch

from training.parallel.ranks import device_of


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_asking_for_a_gpu_that_is_not_there_says_so():
    assert device_of("auto").type == "cpu"
    with pytest.raises(ValueError, match=r"device: got 'cuda' and rank 0 .* expected a GPU"):
        device_of("cuda")
