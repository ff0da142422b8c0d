"""How the captions of every rank meet the pictures of this one.

A rank keeps its pictures; what travels is one block of captions a rank, and what is told of each
caption on the way. Nothing here knows what the loss is. Letters: W ranks, N captions of this rank,
M captions of a block, F anything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from training.parallel.ranks import Ranks

Visit = Callable[..., Tensor]  # tensors [M, ...] of some captions -> what their stay adds, [M, ...]
Join = Literal["sum", "log_sum_exp"]
_JOIN = {"sum": torch.add, "log_sum_exp": torch.logaddexp}


@dataclass(frozen=True, slots=True)
class Exchange:
    """The captions' way around the ranks. All ranks call the same methods in the same order.

    Attributes:
        ranks: Who takes part; one rank alone needs no process group.
        kind: `gather` brings all captions to every rank at once: memory for the embeddings of the
            whole batch, few and large messages. `ring` passes blocks from neighbour to neighbour,
            each finished before the next comes: memory for two blocks, however many ranks.
        counts_W: Captions of each rank; they may differ.
    """

    ranks: Ranks
    kind: Literal["gather", "ring"]
    counts_W: tuple[int, ...]

    def round(self, own: Sequence[Tensor], visit: Visit, join: Join) -> Tensor:
        """Let each rank's captions visit all ranks; return what was told of this rank's.

        Args:
            own: Of this rank's captions, each [N, ...].
            visit: Called with the same tensors of some rank's, or of all ranks', captions.
            join: How what two ranks tell of a caption becomes one.

        Returns:
            [N, ...]; no gradient flows.
        """
        if self.ranks.count == 1:
            return visit(*own)
        if self.kind == "gather":
            return self._gather(own, visit, join)
        return self._ring(own, visit, join)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over ranks, with a gradient: the sum of what the ranks ask for."""
        if self.ranks.count == 1:
            return values
        total: Tensor = _Total.apply(values)  # pyrefly: ignore
        return total

    @torch.no_grad()
    def largest(self, value: Tensor) -> Tensor:
        """Return the largest of the ranks' values; no gradient flows."""
        largest = value.detach().clone()
        if self.ranks.count > 1:
            dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        return largest

    def _gather(self, own: Sequence[Tensor], visit: Visit, join: Join) -> Tensor:
        told = visit(*(self._collect(values) for values in own))
        if join == "sum":
            dist.all_reduce(told)
        else:
            most = self.largest(told)
            told = (told - most).exp_()
            dist.all_reduce(told)
            told = told.log_() + most
        return told.split(self.counts_W)[self.ranks.rank].clone()  # lets go of the others'

    def _collect(self, values: Tensor) -> Tensor:
        """Return the [N, F] of all ranks, one after the other: padded for the way if N differs."""
        most = max(self.counts_W)
        sent = values.new_zeros((most, *values.shape[1:]))
        sent[: len(values)] = values
        everyone = sent.new_empty((self.ranks.count, *sent.shape))
        dist.all_gather(list(everyone), sent)
        if min(self.counts_W) == most:
            return everyone.flatten(0, 1)
        return torch.cat([b[:n] for b, n in zip(everyone, self.counts_W, strict=True)])

    def _ring(self, own: Sequence[Tensor], visit: Visit, join: Join) -> Tensor:
        rank, count = self.ranks.rank, self.ranks.count
        block, told = list(own), visit(*own)
        for step in range(1, count):
            size = self.counts_W[(rank - step) % count]
            *block, told = self._pass_on([*block, told], size)
            told = _JOIN[join](told, visit(*block))
        return self._pass_on([told], self.counts_W[rank])[0]  # the next rank's: it goes home

    def _pass_on(self, sent: Sequence[Tensor], size: int) -> list[Tensor]:
        """Send a block to the next rank and return that of the one before, of `size` captions."""
        rank, count = self.ranks.rank, self.ranks.count
        got = [values.new_empty((size, *values.shape[1:])) for values in sent]
        work: list[Any] = []
        for tag, (out, into) in enumerate(zip(sent, got, strict=True)):
            work.append(dist.P2POp(dist.isend, out.contiguous(), (rank + 1) % count, tag=tag))
            work.append(dist.P2POp(dist.irecv, into, (rank - 1) % count, tag=tag))
        for request in dist.batch_isend_irecv(work):
            request.wait()
        return got


class _Total(torch.autograd.Function):
    """Sum over ranks; every rank's use of the sum adds to every rank's gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        del ctx
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Tensor:
        del ctx
        total = grad_outputs[0].clone()
        dist.all_reduce(total)
        return total
