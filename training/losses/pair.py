"""The loss of a step as the config describes it, over however many ranks there are.

A pair's own terms are those in which its picture looks for a caption, or its caption for a picture.
The loss is the weighted mean over pairs of their own terms; in the terms of others, a pair is a
negative whatever it weighs. Captions of one pair are all positives, and their terms are averaged.
Shape letters: B pairs of this rank, K captions a pair, D embedding, W ranks.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from training.config import Loss, Parallel
from training.losses.exchange import Exchange
from training.losses.normalisers import log_sum_exps
from training.losses.robust import rince
from training.losses.softplus import softplus_sum
from training.models.encoder import Features
from training.parallel.ranks import Ranks

PairLoss = Callable[[Features, Tensor], Tensor]  # features and weight_B of this rank -> scalar


def pair_loss(cfg: Loss, parallel: Parallel, *, ranks: Ranks, batch_size: int) -> PairLoss:
    """Return the loss of a rank's share of a batch.

    The mean over ranks of what it returns is the loss of the whole batch, and the mean over ranks
    of the gradients of the parameters, which DDP and FSDP take, is the gradient of that loss.
    No matrix of logits is held, only tiles of it (`parallel.chunk`).

    Args:
        cfg: What is computed.
        parallel: How.
        ranks: With whom; `ranks.share(batch_size)` are this one's pairs.
        batch_size: Pairs of the whole batch.

    Raises:
        ValueError: A rank would have no pair.
    """
    if batch_size < ranks.count:
        raise ValueError(
            f"batch_size: got {batch_size} for {ranks.count} ranks, expected at least one pair a "
            "rank; raise batch_size or start fewer ranks"
        )
    shares_W = [len(ranks.share(batch_size, rank)) for rank in range(ranks.count)]

    def loss(features: Features, weight_B: Tensor) -> Tensor:
        image_BD, text_ND = features.image_BD, features.text_BD
        assert len(image_BD) == shares_W[ranks.rank], "the batch is not this rank's share"
        captions = len(text_ND) // len(image_BD)
        counts_W = tuple(captions * share for share in shares_W)
        exchange = Exchange(ranks, parallel.exchange, counts_W)
        if cfg.weight:
            mean_B = _weighted_mean(weight_B.to(image_BD.dtype), ranks)
        else:
            mean_B = torch.full_like(image_BD[:, 0], ranks.count / batch_size)
        if cfg.kind == "siglip":
            weighted = bool(cfg.weight)
            return _sigmoid(features, mean_B, exchange, weighted=weighted, side=parallel.chunk)
        return (mean_B * _softmax_terms(features, cfg, exchange, side=parallel.chunk)).sum()

    return loss


def _weighted_mean(weight_B: Tensor, ranks: Ranks) -> Tensor:
    """Return what each pair's term is multiplied with; all zero where no pair weighs anything."""
    total = ranks.sum(weight_B.sum()) / ranks.count
    return weight_B / total.clamp_min(torch.finfo(weight_B.dtype).tiny)


def _positives(features: Features) -> Tensor:
    """Return each pair's cosines times the scale, [B, K]."""
    text_BKD = features.text_BD.unflatten(0, (len(features.image_BD), -1))
    return features.scale * torch.einsum("bd,bkd->bk", features.image_BD, text_BKD)


def _sigmoid(
    features: Features, mean_B: Tensor, exchange: Exchange, *, weighted: bool, side: int
) -> Tensor:
    """Half of each cell of the matrix is its picture's own term, half its caption's."""
    positive_BK = _positives(features) + features.bias
    captions = positive_BK.shape[1]
    half_B = mean_B / 2
    negatives = softplus_sum(
        features.image_BD,
        features.text_BD,
        scale=features.scale,
        bias=features.bias,
        weights=(half_B, half_B.repeat_interleave(captions)) if weighted else None,
        exchange=exchange,
        side=side,
    )
    negatives = negatives if weighted else negatives * mean_B[0]
    return (negatives - (mean_B * positive_BK.sum(1)).sum()) / captions


def _softmax_terms(features: Features, cfg: Loss, exchange: Exchange, *, side: int) -> Tensor:
    """Return the terms of each pair, both directions, averaged over its captions."""
    image_BD, text_ND, scale, _ = features
    positive_BK = _positives(features)
    row_B, column_N = log_sum_exps(image_BD, text_ND, scale=scale, exchange=exchange, side=side)
    row_B1, column_BK = row_B[:, None], column_N.view_as(positive_BK)
    if cfg.robust:
        zero = exchange.largest(torch.maximum(row_B.max(), column_N.max()))
        settings = {"q": cfg.robust_q, "density": cfg.robust_density, "zero": zero}
        picture_BK = rince(row_B1, positive_BK, **settings)
        caption_BK = rince(column_BK, positive_BK, **settings)
    else:
        target_BK = (1 - cfg.smoothing) * positive_BK
        picture_BK, caption_BK = row_B1 - target_BK, column_BK - target_BK
        if cfg.smoothing:
            row_mean_B, column_mean_N = _mean_logits(features, exchange)
            picture_BK = picture_BK - cfg.smoothing * row_mean_B[:, None]
            caption_BK = caption_BK - cfg.smoothing * column_mean_N.view_as(positive_BK)
    share = cfg.picture_share
    return (share * picture_BK + (1 - share) * caption_BK).mean(1)


def _mean_logits(features: Features, exchange: Exchange) -> tuple[Tensor, Tensor]:
    """Return mean logits of pictures [B] over all captions, of captions [B * K] over pictures."""
    image_BD, text_ND, scale, _ = features
    captions = sum(exchange.counts_W)
    pictures = captions * len(image_BD) // len(text_ND)
    text_D = exchange.total(text_ND.sum(0)) / captions
    image_D = exchange.total(image_BD.sum(0)) / pictures
    return scale * (image_BD @ text_D), scale * (text_ND @ image_D)
