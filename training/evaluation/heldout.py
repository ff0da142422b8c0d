"""The held-out pairs as one model sees them.

Shape letters: N pictures, D embedding.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise

import numpy as np
import torch
from torch import Tensor

from pipeline.decode import DecodeError, decode_rgb
from pipeline.pairs import Pairs
from training.evaluation.encoders import Encoders, turns
from training.input.augment import Picture, central_crop

logger = logging.getLogger(__name__)

THREADS = 2
Found = list[tuple[int, Picture]]  # positions and pictures that could be decoded


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out pairs as one model sees them; the same on all ranks.

    Attributes:
        pairs: Those whose picture could be decoded.
        image_ND: Their unit-norm image embeddings, float32.
        encoders: The model.
        skipped: How many pictures could not be decoded.
    """

    pairs: Pairs
    image_ND: Tensor
    encoders: Encoders
    skipped: int

    def blank(self) -> Tensor:
        """Return the unit-norm embedding of a blank picture; all ranks call together."""
        return self.encoders.image(self.encoders.blank().to(self.image_ND.device))[0]


def see(encoders: Encoders, heldout: Pairs, *, batch_size: int) -> HeldOut:
    """Run every picture that can be decoded through the image tower.

    Each rank decodes and encodes its batches; then all ranks have all rows. A row that another
    rank has is zeros here, so that adding up changes no bit.

    Raises:
        ValueError: There is no such picture.
    """
    ranks = encoders.ranks
    whole_ND: Tensor | None = None
    found_N = torch.zeros(len(heldout), dtype=torch.int64, device=ranks.device)
    for found in _decoded(heldout, encoders, batch_size):
        pixels_NHWC = np.stack([p for _, p in found]) if found else encoders.blank().numpy()
        features_ND = encoders.image(torch.from_numpy(pixels_NHWC).to(ranks.device))
        if whole_ND is None:
            whole_ND = features_ND.new_zeros(len(heldout), features_ND.shape[1])
        rows = [i for i, _ in found]
        whole_ND[rows] = features_ND[: len(rows)]
        found_N[rows] = 1
    kept = ranks.sum(found_N).cpu().numpy().nonzero()[0]
    if whole_ND is None or not len(kept):
        raise _no_picture(heldout)
    image_ND = ranks.sum(whole_ND)[torch.from_numpy(kept).to(ranks.device)]
    return HeldOut(heldout.take(kept), image_ND, encoders, len(heldout) - len(kept))


def require_picture(heldout: Pairs) -> None:
    """Refuse held-out pairs that no model can be judged by, before one is trained.

    Raises:
        ValueError: None of their pictures can be decoded.
    """
    if all(isinstance(_decode(heldout, 1, i), DecodeError) for i in range(len(heldout))):
        raise _no_picture(heldout)


def _no_picture(heldout: Pairs) -> ValueError:
    return ValueError(
        f"heldout: got {len(heldout)} pairs without a picture that can be decoded, expected "
        "some; check the held-out shards"
    )


def _decoded(heldout: Pairs, encoders: Encoders, batch_size: int) -> Iterator[Found]:
    """Yield this rank's batches; one is decoded while the one before it is encoded."""
    decode, broken = partial(_decode, heldout, encoders.size), dict[int, DecodeError]()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="evaluate") as pool:
        waiting = (
            [(i, pool.submit(decode, i)) for i in batch]
            for batch in turns(len(heldout), batch_size, encoders.ranks)
        )
        for batch, _ in pairwise(chain(waiting, [[]])):
            made = [(i, future.result()) for i, future in batch]
            broken |= {i: error for i, error in made if isinstance(error, DecodeError)}
            yield [(i, picture) for i, picture in made if not isinstance(picture, DecodeError)]
    for i, error in list(broken.items())[:1]:
        logger.warning(
            "%d held-out pictures cannot be decoded and are left out; the first is of pair %d: %s",
            len(broken), i, error,
        )  # fmt: skip


def _decode(pairs: Pairs, size: int, i: int) -> Picture | DecodeError:
    try:
        return central_crop(decode_rgb(pairs.image_bytes(i)), size)
    except DecodeError as error:
        return error
