"""Batches to the device, one ahead of the model."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import torch

from training.input.batch import Batch


def ahead(
    batches: Iterator[Batch],
    device: torch.device,
    *,
    prepare: Callable[[Batch], Batch] = lambda batch: batch,
) -> Iterator[Batch]:
    """Yield batches on the device, in order; the next one is on its way meanwhile.

    A thread waits for the loader and copies on a stream of its own, so neither holds up the model,
    even one that waits for its device in each step. One batch more than the loader's lies on the
    device. Pixels travel as bytes; the encoder makes numbers of them there.

    Args:
        batches: Closed at the end, or when the caller has had enough.
        device: Where the model computes.
        prepare: Done to each of them before it leaves the CPU.
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None
    pool = ThreadPoolExecutor(1, thread_name_prefix="device")

    def fetch() -> tuple[Batch, Any] | None:
        batch = next(batches, None)
        if batch is None:
            return None
        with torch.cuda.stream(stream) if stream else nullcontext():
            there = prepare(batch).to(device)
            return there, stream.record_event() if stream else None

    try:
        coming = pool.submit(fetch)
        while (found := coming.result()) is not None:
            batch, copied = found
            coming = pool.submit(fetch)
            if copied is not None:
                now = torch.cuda.current_stream(device)
                now.wait_event(copied)
                for tensor in (batch.pixels_BHWC, batch.text_BL, batch.weight_B):
                    tensor.record_stream(now)  # or its memory might be given out before it is used
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)
        close = getattr(batches, "close", None)
        if close is not None:
            close()
