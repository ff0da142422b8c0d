"""What a run says of itself: a line every few steps, to all who listen.

A line is of its step alone, never a mean over steps, so that a resumed run writes the same lines;
only what is measured in seconds or bytes (`TIMINGS`) differs. Ranks meet once a line, and a GPU is
waited for once a line: between lines nothing is fetched from it.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from pipeline.folder import Folder
from training.config import Distill, Train
from training.input.batch import Batch
from training.log.boards import TensorBoard, WeightsAndBiases
from training.log.lines import JsonLines
from training.log.meter import Interval, Meter
from training.log.sink import Line, Sink
from training.parallel.ranks import ALONE, Ranks

Item = TypeVar("Item")
Value = float | Tensor  # a tensor has one element, on any device


def open_sinks(
    cfg: Train | Distill, out: Folder, *, identity: str, done: int, ranks: Ranks
) -> list[Sink]:
    """Return where the settings want lines to go, after `done` steps; only the first rank writes.

    Raises:
        ValueError: What a board needs is not installed.
    """
    if not ranks.is_first:
        return []
    sinks: list[Sink] = [JsonLines(out, done=done)]
    if cfg.log.tensorboard:
        sinks.append(TensorBoard(out, done=done))
    if cfg.log.wandb:
        settings = dataclasses.asdict(cfg)
        sinks.append(
            WeightsAndBiases(out, project=cfg.log.wandb, identity=identity, settings=settings)
        )
    return sinks


class Journal:
    """Measures a run, and tells sinks and a listener.

    Args:
        cfg: The run; `log.every` steps lie between two lines, the last step always has one.
        sinks: Of the first rank; others give none.
        ranks: Those that train together; all of them keep a journal.
        steps: Of the whole run.
        done: Of these, done already.
        replaced: Pictures replaced so far, over all ranks.
        ideal_s: Seconds that a step on a batch would take at the device's peak; None leaves
            utilisation out.
        on_step: Gets the record of every step at once, written or not. What lies on a GPU is of the
            last line there, since to fetch it would make the GPU wait; what all ranks make together
            is this rank's.
    """

    def __init__(
        self,
        cfg: Train | Distill,
        sinks: Iterable[Sink],
        *,
        steps: int,
        done: int,
        replaced: int = 0,
        ranks: Ranks = ALONE,
        ideal_s: Callable[[Batch], float] | None = None,
        on_step: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.sinks = tuple(sinks)
        self.ranks = ranks
        self.batch_size = cfg.batch_size
        self.every = cfg.log.every
        self.steps = steps
        self.on_step = on_step
        self.ideal_s = ideal_s
        self._meter = Meter(ranks.device)
        self._known: dict[str, float] = {}
        self._base, self._replaced = replaced, 0
        self._ideal_s, self._since_step = 0.0, done

    def __enter__(self) -> Self:
        """Return the journal."""
        return self

    def __exit__(self, error: type[BaseException] | None, *_more: object) -> None:
        """Publish what a run that failed has said, too."""
        for sink in self.sinks:
            sink.close(failed=error is not None)

    def publish(self) -> None:
        """Make sure that every line so far outlives this process."""
        for sink in self.sinks:
            sink.publish()

    def waiting(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass items on, counting the time spent waiting for them."""
        return self._meter.waiting(items)

    def pause(self) -> AbstractContextManager[None]:
        """Leave what happens in a `with` block out of rates and utilisation."""
        return self._meter.pause()

    def replaced(self) -> int:
        """Return how many pictures stood in for others so far; all ranks have to call it."""
        here = torch.tensor(float(self._replaced), dtype=torch.float64, device=self.ranks.device)
        return self._base + int(self.ranks.sum(here))

    def record(self, batch: Batch, *, step: int, **values: Value) -> dict[str, Any] | None:
        """Take down a step; all ranks call it.

        Args:
            batch: This rank's share of what was shown.
            step: Counts from 1.
            values: Of this rank. `loss` is what its own pairs say (its mean over ranks is the
                batch's); all else is the same on all ranks.

        Returns:
            The line, on all ranks, if it is time for one.
        """
        self._meter.step()
        self._replaced += batch.replaced
        self._ideal_s += self.ideal_s(batch) if self.ideal_s else 0.0
        due = step % self.every == 0 or step == self.steps
        self._known |= _fetched(values if due else {k: v for k, v in values.items() if _near(v)})
        interval = self._meter.take() if due else self._meter.seen()
        record = {
            "step": step,
            "steps": self.steps,
            "samples_seen": step * self.batch_size,
            **self._known,
            **(self._of_all(interval) if due else self._of_this(interval)),
            **self._rates(step - self._since_step, interval),
        }
        if due:
            self._ideal_s, self._since_step = 0.0, step
            self._write(record)
        if self.on_step is not None:
            self.on_step(record)
        return record if due else None

    def tell(self, step: int, values: Mapping[str, float]) -> dict[str, Any]:
        """Write a line of its own, such as an evaluation after `step` steps; return it."""
        line = {"step": step, **values}
        self._write(line)
        return line

    def _write(self, line: Line) -> None:
        for sink in self.sinks:
            sink.write(line)

    def _of_this(self, interval: Interval) -> dict[str, float]:
        wait = interval.waited_s / interval.seconds
        return {"replaced": self._base + self._replaced, "data_wait": round(wait, 4)}

    def _of_all(self, interval: Interval) -> dict[str, float]:
        """Bring together what ranks measure each for itself, in one exchange: [W, 4]."""
        ours = (self._known["loss"], self._replaced, interval.waited_s, self._ideal_s)
        table = torch.zeros(self.ranks.count, len(ours), dtype=torch.float64)
        table[self.ranks.rank] = torch.tensor(ours, dtype=torch.float64)
        told = self.ranks.sum(table.to(self.ranks.device)).cpu()
        loss, replaced, waited_s, ideal_s = told.unbind(dim=1)
        wait = waited_s / interval.seconds
        record = {
            "loss": loss.mean().item(),
            "replaced": self._base + int(replaced.sum()),
            "data_wait": round(wait.mean().item(), 4),
        }
        if self.ranks.count > 1:
            record["data_wait_max"] = round(wait.max().item(), 4)
        if self.ideal_s is not None:
            record["mfu"] = round(ideal_s.mean().item() / interval.seconds, 4)
        return record

    def _rates(self, steps: int, interval: Interval) -> dict[str, float]:
        per_s = steps * self.batch_size / interval.seconds
        rates = {"samples_per_s": per_s, "samples_per_s_device": per_s / self.ranks.count}
        rates = {name: round(value, 1) for name, value in rates.items()}
        if interval.step_s:
            rates["step_s_p50"] = round(interval.quantile(0.5), 6)
            rates["step_s_p90"] = round(interval.quantile(0.9), 6)
        if interval.step_s and self.ranks.device.type == "cuda":
            most = torch.cuda.max_memory_allocated(self.ranks.device)  # since the process began
            rates["memory_gb"] = round(most / 1e9, 2)
        return rates


def _near(value: Value) -> bool:
    """Tell whether a value can be read without waiting for a GPU."""
    return not isinstance(value, Tensor) or value.device.type == "cpu"


def _fetched(values: Mapping[str, Value]) -> dict[str, float]:
    """Return numbers; those on a GPU come in one copy."""
    far = {name: v for name, v in values.items() if isinstance(v, Tensor) and not _near(v)}
    if far:
        stacked = torch.stack([v.detach().double().reshape(()) for v in far.values()])
        values = {**values, **dict(zip(far, stacked.tolist(), strict=True))}
    return {name: v.item() if isinstance(v, Tensor) else v for name, v in values.items()}
