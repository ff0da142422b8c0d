"""A model as an evaluation uses it: pictures and texts in, embeddings out, in batches over ranks.

Batches are cut from the whole list, the same for any number of ranks, and go round: batch i to rank
i modulo W. What is computed of a row depends on its batch alone, so every row has the same bits on
any number of ranks (of one kind, with as many threads). Every rank encodes equally often, something
blank where it has nothing: the forward pass of a sharded model is a meeting of all ranks.
Shape letters: N rows, U distinct texts, L tokens, D embedding.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from filters.prompts.calibration import BLANK
from training.config import Precision
from training.input.kept_texts import CHUNK, Tokenizer, distinct_texts
from training.models.build import ClipModel, ImageSide, half_precision, text_tower
from training.models.encoder import PairEncoder
from training.models.text import encode_text, trunk_outputs
from training.objectives import Objective
from training.parallel.ranks import Ranks


@dataclass(frozen=True, slots=True)
class Encoders:
    """Both sides of one model.

    Attributes:
        image: uint8 RGB pictures [n, size, size, 3] to unit-norm float32 [n, D].
        text: Tokens of n texts, int64 [n, L], to unit-norm float32 [n, D].
        tokenize: Texts to tokens.
        size: Pixels of a side.
        ranks: Those that share the work.
    """

    image: Callable[[Tensor], Tensor]
    text: Callable[[Tensor], Tensor]
    tokenize: Tokenizer
    size: int
    ranks: Ranks

    def blank(self) -> Tensor:
        """Return a white picture, uint8 [1, size, size, 3]."""
        return torch.full((1, self.size, self.size, 3), BLANK, dtype=torch.uint8)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Return unit-norm embeddings [N, D] of N texts, on all ranks that call together."""
        distinct, text_N = distinct_texts(texts)
        whole_UD: Tensor | None = None
        for chunk in turns(len(distinct), CHUNK, self.ranks):
            some = [distinct[i] for i in chunk] or [""]
            said = self.text(self.tokenize(some).to(self.ranks.device))
            if whole_UD is None:
                whole_UD = said.new_zeros(len(distinct), said.shape[1])
            if chunk:
                whole_UD[chunk.start : chunk.stop] = said
        assert whole_UD is not None, "no text to embed"
        return self.ranks.sum(whole_UD)[torch.from_numpy(text_N).to(whole_UD.device)]


def turns(count: int, size: int, ranks: Ranks) -> Iterator[range]:
    """Yield the batches of a rank: equally many on every rank, empty ones where there are fewer."""
    batches = -(-count // size)
    for i in range(ranks.rank, -(-batches // ranks.count) * ranks.count, ranks.count):
        yield range(min(i * size, count), min((i + 1) * size, count))


def encoders_of(
    model: ClipModel, tokenize: Tokenizer, *, ranks: Ranks, precision: Precision
) -> Encoders:
    """Return the encoders of a model that every rank has to itself, on the rank's device."""
    image = ImageSide(model.to(ranks.device), precision=precision)
    return Encoders(image, _text_side(model, precision), tokenize, image.size, ranks)


def _text_side(model: ClipModel, precision: Precision) -> Callable[[Tensor], Tensor]:
    tower = text_tower(model)

    def text(tokens_NL: Tensor) -> Tensor:
        with half_precision(tokens_NL.device, wanted=precision == "bfloat16"):
            said_ND = encode_text(tower, tokens_NL)
        return F.normalize(said_ND.float(), dim=-1)

    return text


def live_encoders(
    objective: Objective, tokenize: Tokenizer, *, size: int, ranks: Ranks
) -> Encoders:
    """Return the encoders of a model in training; to be made before it is wrapped.

    Every pass goes through what the steps' passes go through, so that whatever the model has been
    wrapped in since does its part; the side that is not asked gets one blank row.
    """
    encoder, tower = objective.encoder, text_tower(objective.model)
    if not isinstance(encoder, PairEncoder):  # captions play no part: the text tower is as it was
        alone = _text_side(objective.model, "float32")

        def picture(pixels_NHWC: Tensor) -> Tensor:  # which may be another encoder by then
            return objective.encoder(pixels_NHWC)

        return Encoders(picture, alone, tokenize, size, ranks)
    is_said = encoder.frozen_text

    def taken(tokens_NL: Tensor) -> Tensor:
        tokens_NL = tokens_NL.to(ranks.device)
        return trunk_outputs(tower, tokens_NL) if is_said else tokens_NL

    def image(pixels_NHWC: Tensor) -> Tensor:
        return objective.encoder(pixels_NHWC, taken(tokenize([""]))).image_BD

    def text(tokens_NL: Tensor) -> Tensor:
        return objective.encoder(encoders.blank().to(ranks.device), taken(tokens_NL)).text_BD

    encoders = Encoders(image, text, tokenize, size, ranks)
    return encoders
