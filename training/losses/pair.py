"""The loss of a step as the config describes it, over however many ranks there are."""

from collections.abc import Callable

from torch import Tensor

from training.config import Loss, Parallel
from training.losses.contrastive import clip_loss, siglip_loss
from training.models.encoder import Features
from training.parallel.ranks import Ranks

PairLoss = Callable[[Features, Tensor], Tensor]  # features and weight_B of this rank -> scalar


def pair_loss(cfg: Loss, parallel: Parallel, *, ranks: Ranks, batch_size: int) -> PairLoss:
    """Return the loss of a rank's share of a batch.

    The mean over ranks of what it returns is the loss of the whole batch, and the mean over ranks
    of the gradients of the parameters, which DDP and FSDP take, is the gradient of that loss.

    Args:
        cfg: What is computed.
        parallel: How.
        ranks: With whom; `ranks.share(batch_size)` are this one's pairs.
        batch_size: Pairs of the whole batch.
    """
    del parallel, ranks, batch_size

    def loss(features: Features, weight_B: Tensor) -> Tensor:
        del weight_B
        image_BD, text_BD, scale, bias = features
        if cfg.kind == "clip":
            return clip_loss(image_BD, text_BD, scale=scale)
        return siglip_loss(image_BD, text_BD, scale=scale, bias=bias)

    return loss
