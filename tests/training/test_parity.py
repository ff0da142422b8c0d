"""Our step against open_clip's own training loop: same weights, batches, optimiser and schedule."""

import copy
import importlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

from filters.open_clip_models import ensure_torchvision, eval_transform
from training.config import Loss, Optim, Train
from training.input.batch import Batch
from training.models.build import build_model, fit_to_loss
from training.objectives import Contrastive
from training.parallel.ranks import ALONE
from training.step import Stepper

STEPS, BATCH, PAIRS, SIDE, SEED = 20, 16, 48, 32, 7
START, END = 49406, 49407  # CLIP's tokens around a caption
OPTIM = Optim(lr=1e-3, warmup=0.25, weight_decay=0.2, beta1=0.9, beta2=0.98, grad_clip=1.0)
TEXT = {"context_length": 16, "width": 32, "heads": 2, "layers": 1, "vocab_size": 49408}
VISION = {
    "vit": {"image_size": SIDE, "layers": 2, "width": 64, "patch_size": 8},
    "convnext": {"image_size": SIDE, "timm_model_name": "test_convnext", "timm_proj": "linear"},
}


@pytest.mark.parametrize(
    ("kind", "tower"), [("clip", "vit"), ("siglip", "vit"), ("clip", "convnext")]
)
def test_losses_are_those_of_open_clip_train(kind, tower, tmp_path, toy_pairs):
    path = tmp_path / "model.json"
    document = {"embed_dim": 64, "vision_cfg": VISION[tower], "text_cfg": TEXT, "custom_text": True}
    path.write_text(json.dumps(document))
    cfg = Train(
        model=str(path),
        samples_seen=STEPS * BATCH,
        batch_size=BATCH,
        optim=OPTIM,
        loss=Loss(kind=kind),
    )
    model, model_cfg = build_model(cfg.model, seed=SEED)
    model_cfg = fit_to_loss(model, model_cfg, loss=kind, batch_size=BATCH)
    peer = copy.deepcopy(model)
    objective = Contrastive(cfg, model, model_cfg, toy_pairs(4, seed=1), ranks=ALONE)
    batches = _batches()

    stepper = Stepper(cfg, objective, ranks=ALONE, seed=SEED, steps=STEPS)
    objective.train()
    ours = [stepper(batch, step=step) for step, batch in enumerate(batches)]
    theirs = _train_with_open_clip(peer, batches, kind=kind, warmup=5)

    assert [o["lr"] for o in ours] == pytest.approx(theirs["train/lr"], rel=1e-12)
    assert [o["loss"] for o in ours] == pytest.approx(theirs["train/loss"], rel=1e-5)
    scales = [o["logit_scale"] for o in ours[:-1]]  # ours after a step, theirs before
    assert scales == pytest.approx(theirs["train/scale"][1:], rel=1e-6)
    assert ours[-1]["loss"] < ours[0]["loss"] - 0.1  # they agree on something that happened


class _Record:
    """Stands where their loop expects TensorBoard: keeps what it logs, by name."""

    def __init__(self):
        self.values = {}

    def add_scalar(self, name, value, _step):
        self.values.setdefault(name, []).append(value)


class _Loader(list):
    """Fixed batches, with what their loop asks of a loader."""

    @property
    def num_batches(self):
        return len(self)

    @property
    def num_samples(self):
        return len(self) * BATCH


def _batches():
    """Return pictures of one colour and noise, each with the caption that goes with its colour."""
    rng = np.random.default_rng(SEED)
    colour_N3 = rng.integers(0, 256, (PAIRS, 3))
    token_NL = np.zeros((PAIRS, 16), np.int64)
    token_NL[:, 0], token_NL[:, 4] = START, END
    token_NL[:, 1:4] = rng.integers(1, START, (PAIRS, 3))
    found = []
    for step in range(STEPS):
        row_B = rng.permutation(PAIRS)[:BATCH]
        noise = rng.integers(-20, 21, (BATCH, SIDE, SIDE, 3))
        pixels_BHWC = np.clip(colour_N3[row_B, None, None] + noise, 0, 255).astype(np.uint8)
        found.append(
            Batch(
                start=step * BATCH,
                pixels_BHWC=torch.from_numpy(pixels_BHWC),
                text_BL=torch.from_numpy(token_NL[row_B]),
                weight_B=torch.ones(BATCH),
                row_B=row_B,
                replaced=0,
            )
        )
    return found


def _train_with_open_clip(model, batches, *, kind, warmup):
    """Train one epoch with open_clip_train's own loop; return everything that it logged."""
    ensure_torchvision()
    open_clip = importlib.import_module("open_clip")
    params = importlib.import_module("open_clip_train.params")
    schedule = importlib.import_module("open_clip_train.scheduler").cosine_lr
    train_one_epoch = importlib.import_module("open_clip_train.train").train_one_epoch

    args = params.parse_args([
        "--model", "ViT-tiny", "--precision", "fp32", "--batch-size", str(BATCH),
        "--lr", str(OPTIM.lr), "--wd", str(OPTIM.weight_decay), "--grad-clip-norm", "1.0",
        "--log-every-n-steps", "1", "--beta1", "0.9", "--beta2", "0.98", "--eps", "1e-8",
        *(["--siglip"] if kind == "siglip" else []),
    ])  # fmt: skip
    args.device, args.rank, args.world_size = "cpu", 0, 1
    args.distill = args.wandb = False
    transform = eval_transform(model)
    loader = _Loader(
        (torch.stack([transform(Image.fromarray(p.numpy())) for p in b.pixels_BHWC]), b.text_BL)
        for b in batches
    )
    data = {"train": _Data(loader)}
    model.output_dict = True
    optimizer = _their_optimizer(model, args)
    record = _Record()
    train_one_epoch(
        model, data, open_clip.create_loss(args), 0, optimizer, None,
        schedule(optimizer, args.lr, warmup, STEPS), None, args, tb_writer=record,
    )  # fmt: skip
    return record.values


class _Data:
    """A loader without epochs to tell apart."""

    def __init__(self, dataloader):
        self.dataloader = dataloader

    def set_epoch(self, epoch):
        assert epoch == 0


def _their_optimizer(model, args):
    """AdamW with the groups that open_clip_train.main makes."""

    def excluded(name, p):
        return p.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))

    named = list(model.named_parameters())
    groups = [
        {"params": [p for n, p in named if excluded(n, p)], "weight_decay": 0.0},
        {"params": [p for n, p in named if not excluded(n, p)], "weight_decay": args.wd},
    ]
    return torch.optim.AdamW(groups, lr=args.lr, betas=(args.beta1, args.beta2), eps=args.eps)
