"""How much a picture has in common with pictures of a target, whatever its caption says.

Wang et al., "CLIPLoss and Norm-Based Data Selection Methods" (arXiv:2405.19547), section 3.2: the
p-norm of the cosines between a picture and all of a target's, p = 2 or infinity.

Letters: N pictures, T target pictures, D dimensions.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from filters.concepts.direction import has_direction
from filters.concepts.products import ROWS, tiles

GRAM_ROWS = 8192  # that are widened at a time
Norm = Literal["2", "inf"]


def gram(target_TD: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the sum of h h^T over the target's embeddings, float64 [D, D].

    Args:
        target_TD: Read some rows at a time, so it may be a memory map; zeros add nothing, and rows
            that are not finite are left out.
    """
    gram_DD = np.zeros((target_TD.shape[1],) * 2)
    for start in range(0, len(target_TD), GRAM_ROWS):
        some_TD = np.asarray(target_TD[start : start + GRAM_ROWS], np.float64)
        some_TD = some_TD[np.isfinite(some_TD).all(axis=1)]
        gram_DD += some_TD.T @ some_TD
    return gram_DD


def normsim_2(image_ND: NDArray[np.floating], gram_DD: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sqrt(f^T G f) = ||[f.h_t]_t||_2, float64 [N]: D^2 a picture, however large the target.

    NaN where there is no embedding.
    """
    score_N = np.full(len(image_ND), np.nan)
    for start in range(0, len(image_ND), ROWS):
        image = np.zeros((ROWS, image_ND.shape[1]))  # of one size, as in `tiles`
        some = image_ND[start : start + ROWS]
        image[: len(some)] = some
        with np.errstate(invalid="ignore"):
            square = np.einsum("nd,nd->n", image @ gram_DD, image)[: len(some)]
        score_N[start : start + ROWS] = np.sqrt(np.maximum(square, 0))
    return np.where(has_direction(image_ND), score_N, np.nan)


def normsim_inf(
    image_ND: NDArray[np.floating], target_TD: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return max_t |f.h_t|, float32 [N]: the nearest target picture (or the most opposite one).

    NaN where there is no embedding. Targets that are not finite do not count.
    """
    score_N = np.zeros(len(image_ND), np.float32)
    for rows, _, product in tiles(image_ND, target_TD):
        np.abs(product, out=product)
        score_N[rows] = np.fmax(score_N[rows], np.fmax.reduce(product, axis=1))
    return np.where(has_direction(image_ND), score_N, np.float32(np.nan))


def normsim(
    image_ND: NDArray[np.floating], target_TD: NDArray[np.floating], *, p: Norm
) -> NDArray[np.floating]:
    """Return the p-norm of each picture's cosines with the target, [N]."""
    return normsim_2(image_ND, gram(target_TD)) if p == "2" else normsim_inf(image_ND, target_TD)


def normsim_dynamic(
    image_ND: NDArray[np.floating], *, size: int, steps: int = 500
) -> NDArray[np.int64]:
    """Choose pictures that are like most of the chosen (NormSim-D, section 3.3 of the paper).

    Without a target, the candidates are their own: in each step those with the lowest NormSim_2 go,
    equally many each time, and the sum of outer products is that of the rest.

    Args:
        image_ND: Sorted by something of the pictures, such as their uids: of equal scores the
            earlier stays. Pictures without an embedding go first.
        size: How many stay.
        steps: In how many steps; the authors take 500.

    Returns:
        Positions of those that stay, ascending, int64 [size].

    Raises:
        ValueError: There are not so many, or no step.
    """
    if not (0 <= size <= len(image_ND) and steps >= 1):
        raise ValueError(
            f"normsim: got size {size} and {steps} steps for {len(image_ND)} pictures, expected a "
            "size of at most that, and at least one step; lower the size"
        )
    kept_n = np.arange(len(image_ND))
    gram_DD = gram(image_ND)
    for left in np.linspace(len(image_ND), size, steps + 1).round().astype(int)[1:]:
        if left == len(kept_n):
            continue
        score_n = normsim_2(image_ND[kept_n], gram_DD)
        order_n = np.argsort(-np.nan_to_num(score_n, nan=-1.0), kind="stable")
        gram_DD -= gram(image_ND[kept_n[order_n[left:]]])
        kept_n = np.sort(kept_n[order_n[:left]])
    return kept_n
