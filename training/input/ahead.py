"""Work that is done ahead of whoever asks for it, in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

X = TypeVar("X")
Y = TypeVar("Y")


def in_threads(
    work: Callable[[X], Y], items: Iterable[X], *, threads: int, depth: int
) -> Iterator[Y]:
    """Yield `work(item)` of every item, in order.

    Args:
        work: Safe to be called by several threads.
        items: Drawn by the caller's thread, as many as are needed.
        threads: That work.
        depth: Results that are ready or in work, at most.
    """
    waiting = iter(items)
    ahead: deque[Future[Y]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="loader") as pool:
        try:
            ahead.extend(pool.submit(work, item) for item in islice(waiting, depth))
            while ahead:
                done = ahead.popleft().result()
                ahead.extend(pool.submit(work, item) for item in islice(waiting, 1))
                yield done
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
