"""Torch to ONNX, with any batch size, and the proof that both compute the same."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

OPSET = 17
BATCHES = (1, 4)  # sizes the export is checked with; the example has neither
EXAMPLE_BATCH = 2
TOLERANCE = 1e-3  # largest difference, relative to the largest value of an output
SEED = 0


def export(
    module: nn.Module, path: Path, *, shape: tuple[int, int, int], outputs: Sequence[str]
) -> None:
    """Write a module as ONNX with the input `pixels` [N, *shape] and a free N, then compare.

    Args:
        module: Maps float32 [N, *shape] to one tensor or a tuple of them, each [N, ...].
        path: File to write.
        shape: Channels, height, width.
        outputs: Names of the outputs.

    Raises:
        RuntimeError: ONNX Runtime computes something else than torch does.
    """
    module.eval()
    with warnings.catch_warnings():
        # The exporter by tracing warns that it is no longer the default, of shapes it takes as
        # constants, of folding it leaves out. Whether that matters is what `_compare` finds out.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(EXAMPLE_BATCH, *shape),),
            str(path),
            input_names=["pixels"],
            output_names=list(outputs),
            dynamic_axes={name: {0: "N"} for name in ("pixels", *outputs)},
            opset_version=OPSET,
            dynamo=False,
        )
    noise = torch.Generator().manual_seed(SEED)
    for size in BATCHES:
        _compare(module, path, torch.randn(size, *shape, generator=noise))


def _compare(module: nn.Module, path: Path, pixels: Tensor) -> None:
    import onnxruntime

    with torch.inference_mode():
        expected = module(pixels)
    expected = expected if isinstance(expected, tuple) else (expected,)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run(None, {"pixels": pixels.numpy()})
    for output, want, have in zip(
        session.get_outputs(), expected, map(np.asarray, got), strict=True
    ):
        reference = want.numpy()
        if have.shape != reference.shape or not np.allclose(
            have, reference, rtol=0, atol=TOLERANCE * max(1.0, float(np.abs(reference).max()))
        ):
            raise RuntimeError(
                f"ONNX export: output {output.name} of {len(pixels)} pictures differs from torch; "
                "the installed torch and onnxruntime do not agree, use the pinned versions"
            )
