"""all-MiniLM-L6-v2 with mean pooling in ONNX: a cell needs neither torch nor transformers."""

import warnings
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.models.cache import cached_model

VERSION = "minilm-l6-mean-1"  # raised when the graph's meaning changes
TOLERANCE = 1e-4  # of embeddings whose values are below 1


def convert(folder: Path, cache: Path) -> Path:
    """Return the cached ONNX file, made from the packaged weights first where it is missing.

    Inputs `ids` and `mask`, int64 [B, L]; output `embedding` [B, 384], not normalised.
    """
    return cached_model(cache, VERSION, build=partial(_build, folder))


def _build(folder: Path, path: Path) -> None:
    import torch

    from filters.open_clip_models import ensure_torchvision

    ensure_torchvision()  # transformers looks for it
    from transformers import BertModel, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    bert = BertModel.from_pretrained(
        str(folder), add_pooling_layer=False, attn_implementation="eager"
    )

    class MeanPooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert.eval()

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            hidden_BLD = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
            weight_BL1 = mask.unsqueeze(-1).to(hidden_BLD.dtype)
            return (hidden_BLD * weight_BL1).sum(1) / weight_BL1.sum(1)

    module = MeanPooled().eval()
    ids = torch.arange(24).reshape(3, 8) + 1000
    mask = (torch.arange(8) < torch.tensor([[8], [5], [2]])).long()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracing exporter; `_compare` is what counts
        torch.onnx.export(
            module,
            (ids, mask),
            str(path),
            input_names=["ids", "mask"],
            output_names=["embedding"],
            dynamic_axes={"ids": {0: "B", 1: "L"}, "mask": {0: "B", 1: "L"}},
            opset_version=17,
            dynamo=False,
        )
    _compare(module, path)


def _compare(module: Any, path: Path) -> None:
    """Check other batch sizes and lengths than the traced one.

    Raises:
        RuntimeError: ONNX Runtime computes something else than torch does.
    """
    import numpy as np
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch, length in ((1, 3), (5, 20)):
        ids = torch.randint(1000, 2000, (batch, length), generator=torch.Generator().manual_seed(0))
        mask = (torch.arange(length) < torch.arange(1, batch + 1)[:, None] * length / batch).long()
        with torch.inference_mode():
            want = module(ids, mask).numpy()
        have = np.asarray(session.run(None, {"ids": ids.numpy(), "mask": mask.numpy()})[0])
        if not np.allclose(have, want, rtol=0, atol=TOLERANCE):
            raise RuntimeError(
                f"ONNX export of MiniLM: off by {np.abs(have - want).max():.1e}; the "
                "installed torch and onnxruntime do not agree, use the pinned versions"
            )
