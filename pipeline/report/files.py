"""What the report reads of a run folder; training and evaluation may not have happened yet."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from filters.ensemble import LabelModel
from pipeline.folder import Folder
from pipeline.health import store_of
from pipeline.labels import Labels
from pipeline.ledger import Ledger
from pipeline.tables import read
from pipeline.voted import Sample, labels_of, read_decisions, read_model, read_rules

COLUMNS = (
    "shard", "uid", "offset", "size", "caption", "reason", "p_keep", "concept", "distance", "twin",
)  # fmt: skip
# Where training runs lie unless the summary says; it does once their folders are named by content,
# and then tells the run's own from those of earlier settings.
RUNS = {"subset": "train/subset", "random": "train/random", "student": "student"}
Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFiles:
    """Files of a run, parsed; empty where the run has no such file.

    Attributes:
        sample: `COLUMNS` and a `vote:<rule>` per rule, one row per sample of the pool, in shard
            order; of some shards only where the pool is large.
        summary: `summary.json`.
        rules: The rules, quantiles resolved to values, in the order of the label model.
        model: The label model; None if none is stored.
        labels: Labels by hand, if there are any.
        concepts: `concept, size, quota, complexity`; None before pruning.
        done: The ledger's table, of other runs too where they share it.
        journals: Lines of `metrics.jsonl` of each training run, by name.
        config: `config.toml` as resolved.
    """

    sample: Sample
    summary: Record
    rules: list[Record]
    model: LabelModel | None
    labels: Labels | None
    concepts: pa.Table | None
    done: pa.Table
    journals: Mapping[str, list[Record]]
    config: str

    @property
    def decisions(self) -> pa.Table:
        """The rows of the sample."""
        return self.sample.table

    @property
    def reasons(self) -> Mapping[str, int]:
        """Rows of the whole pool by reason, as the summary counts them."""
        return self.summary.get("reasons", {})

    @property
    def share(self) -> float:
        """Share of the pool's rows that the sample has, in (0, 1]."""
        if self.sample.is_whole or not self.reasons:
            return 1.0
        return len(self.decisions) / sum(self.reasons.values())


def read_files(run: Folder) -> RunFiles:
    """Read a run folder.

    Raises:
        ValueError: Nothing was decided in it yet, or a file is damaged.
    """
    sample = read_decisions(run, COLUMNS)
    summary = _json(run, "summary.json", {})
    runs = summary.get("runs", RUNS)
    journals = {name: _lines(run / folder, "metrics.jsonl") for name, folder in runs.items()}
    return RunFiles(
        sample=sample,
        summary=summary,
        rules=read_rules(run),
        model=read_model(run),
        labels=labels_of(run),
        concepts=_table(run / "subset", "concepts.parquet"),
        done=_done(run),
        journals={name: lines for name, lines in journals.items() if lines},
        config=run.read("config.toml").decode() if run.exists("config.toml") else "",
    )


def _done(run: Folder) -> pa.Table:
    """Read the ledger, which may lie elsewhere; a run that has lost it has an empty one."""
    is_run = run.exists("config.toml") or (run / "ledger").names()
    return Ledger(store_of(run) if is_run else run).table


def _json(folder: Folder, name: str, default: Any) -> Any:
    return _parse(folder.read(name), folder.path(name)) if folder.exists(name) else default


def _table(folder: Folder, name: str) -> pa.Table | None:
    return read(folder.path(name)) if folder.exists(name) else None


def _lines(folder: Folder, name: str) -> list[Record]:
    """Parse JSON lines; a last one without line end was cut by a kill and does not count."""
    if not folder.exists(name):
        return []
    lines = folder.read(name).splitlines(keepends=True)
    return [_parse(line, folder.path(name)) for line in lines if line.endswith(b"\n")]


def _parse(data: bytes, url: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise ValueError(
            f"report: got {url}, which is not JSON ({error}); delete it and run again"
        ) from error
