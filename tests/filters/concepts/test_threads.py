"""Blocks in several threads: results in order, each thread multiplying alone, and the same bits."""

import threading

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from filters.concepts.nearest import BLOCK, nearest, products_with
from filters.concepts.threads import in_threads


def multiplying() -> set[int]:
    """Return how many threads BLAS may take now."""
    return {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}


def test_as_many_at_once_as_a_product_may_take_and_in_order():
    together = threading.Barrier(2, timeout=60)  # breaks unless two are at work at the same time

    def task(item):
        together.wait()
        return item, multiplying(), threading.current_thread()

    with threadpool_limits(2, user_api="blas"):
        found = list(in_threads(task, range(6)))
        assert multiplying() == {2}
    assert [item for item, _, _ in found] == list(range(6))
    assert all(threads == {1} for _, threads, _ in found)
    assert len({thread for _, _, thread in found}) == 2


def test_with_one_thread_all_is_done_here():
    with threadpool_limits(1, user_api="blas"):
        found = list(in_threads(lambda item: (item, threading.current_thread()), range(3)))
    assert found == [(item, threading.current_thread()) for item in range(3)]


def test_threads_change_no_bit_of_the_nearest():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3 * BLOCK + 5, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    centroids = vectors[:40] + 0
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            cluster, similarity = nearest(vectors, centroids, wanted=2)
            again = products_with(vectors, centroids, cluster[:, 0])
        found.append((cluster, similarity, again))
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)
