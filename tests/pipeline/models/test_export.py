import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from pipeline.models.export import export


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, pixels):
        features = self.layer(pixels)
        return features.mean((2, 3)), features.reshape(features.shape[0], -1)


class Frozen(nn.Module):
    """Its second half depends on a batch of two that tracing takes for granted."""

    def forward(self, pixels):
        return pixels.reshape(pixels.shape[0], -1) * float(pixels.shape[0])


def test_any_batch_size_computes_what_torch_does(tmp_path):
    torch.manual_seed(0)
    module = TwoHeads()
    export(module, tmp_path / "net.onnx", shape=(3, 8, 8), outputs=["mean", "flat"])
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    assert [output.name for output in session.get_outputs()] == ["mean", "flat"]
    for size in (1, 3, 7):
        pixels = torch.randn(size, 3, 8, 8)
        for want, have in zip(
            module(pixels), session.run(None, {"pixels": pixels.numpy()}), strict=True
        ):
            np.testing.assert_allclose(have, want.detach().numpy(), atol=1e-5)


def test_a_graph_that_took_the_batch_for_a_constant_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="output flat of 1 pictures differs from torch"):
        export(Frozen(), tmp_path / "net.onnx", shape=(1, 2, 2), outputs=["flat"])
