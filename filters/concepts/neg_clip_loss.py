"""A pair against what else it could be taken for: its part of CLIP's loss, negated.

Wang et al., "CLIPLoss and Norm-Based Data Selection Methods" (arXiv:2405.19547). A cosine says how
alike picture and caption are; this takes off how alike each is to the captions and pictures of
others, so that a caption that fits everything is worth little.

Letters: N pairs, R references, D dimensions, B pairs of a batch.
"""

import numpy as np
from numpy.typing import NDArray

from filters.concepts.direction import has_direction
from filters.concepts.products import tiles

TEMPERATURE = 0.01  # of OpenAI's CLIP models, and of most that were trained like them


def neg_clip_loss(
    image_ND: NDArray[np.floating],
    text_ND: NDArray[np.floating],
    *,
    reference_image_RD: NDArray[np.floating],
    reference_text_RD: NDArray[np.floating],
    excluded_N: NDArray[np.int64],
    temperature: float = TEMPERATURE,
) -> NDArray[np.float64]:
    """Return the negated loss of each pair in its batch, float64 [N]; high is good.

    A pair's batch is the pair and all references but one, so that batches are of one size, R, for
    pairs that are references themselves (which are excluded) and for those that are not:

        f.g - T / 2 (log sum_j exp(f.g_j / T) + log sum_j exp(f_j.g / T))

    With the pairs of a batch as references, each excluded from its own, this is the paper's score
    for one batch. Sums of exponentials are kept beside their largest term, as exp(1 / T) is beyond
    float32. Cosines are float32, so the score is right to about 3e-7.

    Args:
        image_ND: Unit-norm embeddings of pictures.
        text_ND: Of captions, by the same model.
        reference_image_RD: Of the references; none is zeros or NaN.
        reference_text_RD: Their captions.
        excluded_N: The reference that each pair's batch is without, in [0, R).
        temperature: T, that of the model.

    Returns:
        NaN where an embedding is missing (zeros) or not finite.
    """
    usable_N = has_direction(image_ND) & has_direction(text_ND)
    image, text = image_ND[usable_N], text_ND[usable_N]
    own_n = np.einsum("nd,nd->n", image.astype(np.float64), text.astype(np.float64))
    per_text = _log_sum(image, reference_text_RD, own_n, excluded_N[usable_N], temperature)
    per_image = _log_sum(text, reference_image_RD, own_n, excluded_N[usable_N], temperature)
    score_N = np.full(len(image_ND), np.nan)
    score_N[usable_N] = own_n - temperature / 2 * (per_text + per_image)
    return score_N


def _log_sum(
    vectors_ND: NDArray[np.floating],
    others_RD: NDArray[np.floating],
    own_N: NDArray[np.float64],
    excluded_N: NDArray[np.int64],
    temperature: float,
) -> NDArray[np.float64]:
    """Return log(exp(own / T) + sum_j exp(v.o_j / T)) over all j but the excluded one; [N]."""
    most_N = own_N / temperature
    sum_N = np.ones(len(own_N))
    for rows, others, product in tiles(vectors_ND, others_RD):
        np.divide(product, np.float32(temperature), out=product)
        column_n = excluded_N[rows] - others.start
        here = np.flatnonzero((column_n >= 0) & (column_n < product.shape[1]))
        product[here, column_n[here]] = -np.inf
        before_n = most_N[rows]
        most_n = np.maximum(before_n, product.max(axis=1))
        rounded_n = most_n.astype(np.float32)
        np.exp(np.subtract(product, rounded_n[:, None], out=product), out=product)
        sum_n = product.sum(axis=1, dtype=np.float64) * np.exp(rounded_n - most_n)
        sum_N[rows] = sum_N[rows] * np.exp(before_n - most_n) + sum_n
        most_N[rows] = most_n
    return most_N + np.log(sum_N)
