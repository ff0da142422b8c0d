"""Settings of how a step is spread over devices and passes; they never change what is computed."""

from dataclasses import dataclass
from typing import Literal

from training.config.rule import require


@dataclass(frozen=True, kw_only=True, slots=True)
class Parallel:
    """How a step is computed. Results differ by rounding only.

    Attributes:
        kind: `ddp` keeps the model whole on every rank, `fsdp` shards it (FSDP2).
        micro_batch: Pairs that a rank takes through the towers at a time, with one more forward
            pass (GradCache, arXiv:2101.06983); 0 takes its share of the batch at once.
        exchange: `gather` collects the embeddings of all ranks, `ring` passes them on.
        chunk: Side of the tiles of logits held at a time; 0 takes 2,048.
        compile: `off`, `blocks` (each kind of block once) or `model`.
        channels_last: Memory format of convolutions; `auto` goes by what was measured for the
            tower's family.
    """

    kind: Literal["ddp", "fsdp"] = "ddp"
    micro_batch: int = 0
    exchange: Literal["gather", "ring"] = "gather"
    chunk: int = 0
    compile: Literal["off", "blocks", "model"] = "off"
    channels_last: Literal["auto", "on", "off"] = "auto"

    def __post_init__(self) -> None:
        """Refuse sizes below zero, and a graph of what is never whole."""
        require("parallel.micro_batch", self.micro_batch, "at least 0", self.micro_batch >= 0)
        require("parallel.chunk", self.chunk, "at least 0", self.chunk >= 0)
        # Shards are gathered block by block, so there is no graph of the whole.
        sharded_whole = self.kind == "fsdp" and self.compile == "model"
        require("parallel.compile", self.compile, "'blocks' beside 'fsdp'", not sharded_whole)


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """The ranks that Ray Train starts; without any, training runs here, or as torchrun's ranks.

    Attributes:
        count: Ranks; 0 leaves Ray Train out.
        least: Ranks that the run goes on with when machines are lost; 0 means `count`.
        cpus: That Ray sets aside for a rank.
        gpus: That Ray sets aside for a rank.
        failures: Deaths of ranks after which the run fails; -1 goes on for ever. Machines that a
            scheduler takes back do not count.
    """

    count: int = 0
    least: int = 0
    cpus: float = 1.0
    gpus: float = 0.0
    failures: int = 3

    def __post_init__(self) -> None:
        """Refuse ranges that are none."""
        require("workers.count", self.count, "at least 0", self.count >= 0)
        rule = f"in [0, {self.count}]"
        require("workers.least", self.least, rule, 0 <= self.least <= self.count)
        require("workers.failures", self.failures, "at least -1", self.failures >= -1)
