"""What a run folder holds, and whether it is what the ledger says."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.folder import Folder
from pipeline.ledger import Ledger
from pipeline.tables import read


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One pass of a run."""

    stage: str
    shards: int
    rows: int
    reasons: dict[str, int]
    seconds: float
    output_bytes: int


def status(run: Folder) -> list[StageStatus]:
    """Sum up the ledger by stage.

    Raises:
        ValueError: This is no run folder.
    """
    require_run(run)
    records = Ledger(run).all()
    found = []
    for stage in sorted({record.stage for record in records}):
        mine = [record for record in records if record.stage == stage]
        reasons = Counter[str]()
        for record in mine:
            reasons.update(record.reasons)
        found.append(
            StageStatus(
                stage=stage,
                shards=len(mine),
                rows=sum(r.rows for r in mine),
                reasons=dict(sorted(reasons.items())),
                seconds=round(sum(sum(r.seconds.values()) for r in mine), 1),
                output_bytes=sum(r.output_bytes for r in mine),
            )
        )
    return found


def verify(run: Folder) -> Iterator[str]:
    """Yield one line per defect: tables whose bytes or rows differ from the ledger, a wrong subset.

    Raises:
        ValueError: This is no run folder.
    """
    require_run(run)
    for record in Ledger(run, deleted=True).all():
        folder = run / "scores" / record.stage
        url = folder.path(record.name)
        if not folder.exists(record.name):
            yield f"{url}: got no file, expected {record.rows} rows; run again"
            continue
        data = folder.read(record.name)
        if (digest := hashlib.sha256(data).hexdigest()) != record.sha256:
            yield f"{url}: got sha256 {digest}, expected {record.sha256}; delete it and run again"
        elif (rows := len(read(url, ["uid"]))) != record.rows:
            yield f"{url}: got {rows} rows, expected {record.rows}; delete it and run again"
        elif (total := sum(record.reasons.values())) != record.rows:
            yield f"{url}: got {total} rows by reason, expected {record.rows}; report this as a bug"
    if run.exists("summary.json"):
        summary = json.loads(run.read("summary.json"))
        subset = run / "subset"
        data = subset.read("subset.npy") if subset.exists("subset.npy") else b""
        digest = hashlib.sha256(data).hexdigest()
        if digest != summary["subset_sha256"]:
            expected = summary["subset_sha256"]
            yield f"subset.npy: got sha256 {digest}, expected {expected}; run `thresher curate`"
        if summary["pairs_in"] != sum(summary["reasons"].values()):
            yield f"summary.json: got {summary['pairs_in']} pairs, expected the sum of reasons"


def require_run(run: Folder) -> None:
    """Refuse a folder that is not a run's.

    Raises:
        ValueError: It has no config.toml.
    """
    if not run.exists("config.toml") and not (run / "ledger").names():
        raise ValueError(
            f"run: got {run.url}, expected the folder of a run (it has a config.toml or a ledger); "
            "give the folder that --out named"
        )
