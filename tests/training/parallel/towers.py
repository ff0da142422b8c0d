"""Tiny models, and an objective that any number of ranks can minimise without talking."""

import json

import numpy as np
import torch

from training.config import Optim, Parallel, Train
from training.input.batch import Batch
from training.models.build import build_model
from training.models.encoder import PairEncoder
from training.step import Stepper

SIDE, LENGTH, VOCABULARY, STEPS = 32, 8, 50, 3
IMAGES = {
    "vit": {"image_size": SIDE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    **{
        name: {
            "image_size": SIDE,
            "timm_model_name": name,
            "timm_pool": "avg",
            "timm_proj": "linear",
        }
        for name in ("test_convnext", "test_resnet", "test_vit", "test_nfnet")
    },
}


def document(image, folder):
    """Write the open_clip document of a tiny model; return its path."""
    text = {
        "context_length": LENGTH,
        "vocab_size": VOCABULARY,
        "width": 32,
        "heads": 2,
        "layers": 2,
    }
    model = {"embed_dim": 16, "vision_cfg": IMAGES[image], "text_cfg": text, "custom_text": True}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{image}.json"
    path.write_text(json.dumps(model))
    return str(path)


def model_of(image, folder):
    """Return a tiny model whose weights are a function of its kind."""
    return build_model(document(image, folder), seed=0)[0]


def batches(batch_size, ranks):
    """Return this rank's part of each step's batch, drawn from a fixed seed."""
    generator = torch.Generator().manual_seed(3)
    parts = []
    for step in range(STEPS):
        whole = Batch(
            start=step * batch_size,
            pixels_BHWC=torch.randint(0, 256, (batch_size, SIDE, SIDE, 3), generator=generator).to(
                torch.uint8
            ),
            text_BL=torch.randint(1, VOCABULARY, (batch_size, LENGTH), generator=generator),
            weight_B=torch.rand(batch_size, generator=generator) + 0.5,
            row_B=np.arange(batch_size),
            replaced=0,
        )
        parts.append(whole.part(ranks.share(batch_size)))
    return parts


class Pairwise:
    """Each pair's scaled cosine goes to its target: a loss with no term between pairs.

    So that what ranks do to gradients is tested apart from the exchange of embeddings.
    """

    texts = None

    def __init__(self, cfg, model, ranks):
        self.model, self.ranks, self.batch_size = model, ranks, cfg.batch_size
        self.encoder = PairEncoder(model, precision=cfg.precision, frozen_text=False)

    def train(self):
        self.model.train()

    def trim(self, batch):
        return batch

    def encode(self, batch):
        return self.encoder(batch.pixels_BHWC, batch.text_BL)

    def loss(self, features, batch):
        image_BD, text_BD, scale, bias = features
        logit_B = (image_BD * text_BD).sum(dim=1) * scale + bias
        terms_B = (logit_B - batch.weight_B).square()
        return terms_B.sum() * self.ranks.count / self.batch_size

    def after_step(self):
        return {}


def build(ranks, image, folder, *, batch_size=7, optim=None, freeze=(), **how):
    """Return a stepper of a tiny model and its settings."""
    cfg = Train(
        model=image,
        samples_seen=batch_size * STEPS,
        batch_size=batch_size,
        optim=optim or Optim(lr=1e-2, warmup=0.0, grad_clip=0.5),
        parallel=Parallel(**how),
    )
    model = model_of(image, folder / str(ranks.rank))
    model.logit_bias = torch.nn.Parameter(torch.tensor(-1.0))
    model.unused = torch.nn.Parameter(torch.ones(3, 3))  # trains, but no loss reaches it
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(freeze)) if freeze else True)
    objective = Pairwise(cfg, model, ranks)
    objective.train()
    return Stepper(cfg, objective, ranks=ranks, seed=1, steps=STEPS)
