"""What ranks tell each other besides numbers: small Python objects, on the CPU, over gloo.

Beside the group that carries gradients, so that it may run in a thread of its own, may wait for
hours, and never waits for a GPU.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from training.parallel.ranks import Ranks

T = TypeVar("T")


class Talk:
    """A group of its own for a few words now and then; of no more than one thread at a time.

    All ranks make it, and call each method, in the same order.

    Args:
        ranks: This process among those that train together.
        patience: How long a rank that lives is waited for; one that died is noticed at once.
    """

    def __init__(self, ranks: Ranks, *, patience: timedelta) -> None:
        self.rank, self.count = ranks.rank, ranks.count
        self.group: Any = None
        if dist.is_initialized() and dist.get_world_size() == ranks.count:
            self.group = dist.new_group(backend="gloo", timeout=patience)

    def all(self, value: T) -> list[T]:
        """Return what every rank says, by rank."""
        if self.group is None:
            return [value]
        said: list[Any] = [None] * self.count
        dist.all_gather_object(said, value, group=self.group)
        return said

    def largest(self, value: int) -> int:
        """Return the largest of small numbers, one from every rank; as cheap as talking gets."""
        if self.group is None:
            return value
        number = torch.tensor(value)
        dist.all_reduce(number, dist.ReduceOp.MAX, group=self.group)
        return int(number)

    def once(self, job: Callable[[], T]) -> T:
        """Have the first rank do a job while the others wait; all get what it returns, or raises.

        What it returns goes to the other ranks as a pickle: a name or a count, not a table.
        """
        if self.group is None:
            return job()
        said: list[Any] = [None, None]
        if self.rank == 0:
            try:
                said[0] = job()
            except Exception as error:
                said[1] = error
                self._tell([None, _sendable(error)])
                raise
        self._tell(said)
        if said[1] is not None:
            raise said[1]
        return said[0]

    def close(self) -> None:
        """Give the group back; the ranks need not do so together."""
        if self.group is not None and dist.is_initialized():
            dist.destroy_process_group(self.group)
        self.group = None

    def _tell(self, said: list[Any]) -> None:
        dist.broadcast_object_list(said, src=0, group=self.group)


def _sendable(error: Exception) -> Exception:
    """Of an error, what any process can build: some have classes that take other arguments."""
    kind = next(k for k in (ValueError, OSError, RuntimeError, Exception) if isinstance(error, k))
    return kind(str(error))
