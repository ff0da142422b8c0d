"""One turn of open_clip's own input pipeline; `loader.py` starts it with the peer's interpreter.

    PEER_PYTHON benchmarks/loader_peer.py --shards FOLDER --pairs N

Needs open_clip_torch 3.3.0, webdataset 0.2.86, torch, torchvision. Prints one line of JSON.
"""

import argparse
import importlib
import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from loader_turn import SIDE, Turn, timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--pairs", type=int, required=True)
    turn = Turn.parse(parser)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    ensure_torchvision()
    from open_clip import SimpleTokenizer, image_transform
    from open_clip_train.data import get_wds_dataset

    shards = sorted(map(str, arguments.shards.glob("*.tar")))
    stems = [Path(shard).stem for shard in shards]
    settings = SimpleNamespace(
        train_data=f"{arguments.shards}/{{{stems[0]}..{stems[-1]}}}.tar",
        train_num_samples=arguments.pairs,
        train_data_upsampling_factors=None,
        dataset_resampled=True,  # as its README advises; endless, so that any number is measured
        seed=0,
        batch_size=turn.batch_size,
        workers=turn.workers,
        world_size=1,
    )
    transform = image_transform(SIDE, is_train=True)
    data = get_wds_dataset(settings, transform, True, tokenizer=SimpleTokenizer())
    print(json.dumps(timed(iter(data.dataloader), turn, shape=(turn.batch_size, 3, SIDE, SIDE))))


def ensure_torchvision() -> None:
    """Import torchvision; declare the operators that a CUDA build lacks on a CPU build of torch."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{operator}", signature)
        importlib.import_module("torchvision")


if __name__ == "__main__":
    main()
