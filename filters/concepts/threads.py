"""Work of many small matrix products, spread over as many threads as one large one would take."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(task: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the task's results in order, with as many threads as the matrix product may take.

    Each thread multiplies alone: many small products side by side are faster than one after the
    other in many threads, and the rest of the work is spread too.
    """
    control = _threadpools()
    threads = max([p["num_threads"] for p in control.info() if p["user_api"] == "blas"], default=1)
    if threads == 1:
        yield from map(task, items)
        return
    with control.limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        yield from pool.map(task, items)


@cache
def _threadpools() -> ThreadpoolController:
    return ThreadpoolController()
