"""What a run folder holds, and whether it is what the ledger says."""

import hashlib
import io
import json
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.columns.stages import DECISIONS
from pipeline.folder import Folder
from pipeline.ledger import Ledger, Record
from pipeline.missing import nulls_of
from pipeline.schema import parse_reasons
from pipeline.scores import Scores


@dataclass(slots=True)
class StageStatus:
    """One stage of a run."""

    stage: str
    shards: int = 0
    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    output_bytes: int = 0

    def __str__(self) -> str:
        """Say it on two lines."""
        reasons = ", ".join(f"{reason} {rows}" for reason, rows in sorted(self.reasons.items()))
        busy = f"{self.seconds:.1f} cell seconds"
        return f"{self.stage}: {self.shards} shards, {self.rows} rows, {busy}\n  {reasons}"

    def add(self, record: Record) -> None:
        """Count a record."""
        self.shards += 1
        self.rows += record.rows
        self.reasons.update(record.reasons)
        self.seconds += sum(record.seconds.values())
        self.output_bytes += record.output_bytes


def status(run: Folder) -> list[StageStatus]:
    """Sum up the ledger by stage.

    Raises:
        ValueError: This is no run folder.
    """
    found: dict[str, StageStatus] = {}
    for store in stores_of(run):
        for record in Ledger(store).records():
            found.setdefault(record.stage, StageStatus(record.stage)).add(record)
    return list(found.values())


def verify(run: Folder) -> Iterator[tuple[str, Record | None]]:
    """Yield a line per defect, and the record that is wrong if it is one of the ledger's.

    Checked are bytes, rows and sums of every table, gaps between tables and shards, and the subset.

    Raises:
        ValueError: This is no run folder.
    """
    for store in stores_of(run):
        for record in Ledger(store).records():
            folder = store / "scores" / record.stage
            if defect := _defect(folder, record):
                url = folder.path(record.name)
                yield f"{url}: {defect}; `thresher verify --repair`, then run again", record
    if (run / "subset").exists("scores.parquet"):
        yield from (
            (gap, None) for gap in _gaps(Scores.load((run / "subset").read("scores.parquet")))
        )
    if run.exists("summary.json"):
        summary = json.loads(run.read("summary.json"))
        subset = run / "subset"
        data = subset.read("subset.npy") if subset.exists("subset.npy") else b""
        digest = hashlib.sha256(data).hexdigest()
        if digest != summary["subset_sha256"]:
            expected = summary["subset_sha256"]
            yield f"subset.npy: got sha256 {digest}, expected {expected}; thresher curate", None
        if summary["pairs_in"] != sum(summary["reasons"].values()):
            yield f"summary.json: got {summary['pairs_in']} pairs, expected the reasons' sum", None


def _gaps(scores: Scores) -> Iterator[str]:
    """Say which shards of what was decided upon lack columns."""
    wanted = set(scores.columns)
    for number, shard in enumerate(scores.shards):
        held = {column for _, columns in scores.tables(number) for column in columns}
        if lacking := sorted(wanted - held):
            yield f"{shard}: got no {', '.join(lacking)}, expected every column; run again"


def _defect(folder: Folder, record: Record) -> str:
    try:
        data = folder.read(record.name)
        rows = pq.read_metadata(io.BytesIO(data)).num_rows
    except FileNotFoundError:
        return f"got no file, expected {record.rows} rows"
    except (OSError, pa.ArrowInvalid) as error:
        return f"got a file that cannot be read, expected Parquet ({error})"
    if (digest := hashlib.sha256(data).hexdigest()) != record.sha256:
        return f"got sha256 {digest}, expected {record.sha256}"
    if not rows == record.rows == sum(record.reasons.values()):
        return f"got {rows} rows, expected {record.rows} and as many by reason"
    return ""


def to_retry(run: Folder, *, errors: str, nulls: str) -> list[Record]:
    """Return the records of shards with rows of these errors, or without these values.

    Args:
        run: The run folder.
        errors: Reason codes, separated by commas.
        nulls: Columns, separated by commas.

    Raises:
        ValueError: Neither is given, or something is named that is not there.
    """
    if not (errors or nulls):
        raise ValueError("retry: got neither --errors nor --nulls, expected at least one of them")
    wanted, records = set(parse_reasons(errors)), Ledger(store_of(run)).records()
    with_errors = [record for record in records if wanted & set(record.reasons)]
    return with_errors + (with_nulls(run, nulls.split(",")) if nulls else [])


def with_nulls(run: Folder, columns: Sequence[str]) -> list[Record]:
    """Return the records of shards that have scored rows without a value in one of these columns.

    Raises:
        ValueError: No table has such a column.
    """
    store, wanted = store_of(run), set(columns)
    ledger = Ledger(store)
    holds = {s: {c for cs in writes.values() for c in cs} for s, writes in ledger.stages.items()}
    if unknown := sorted(wanted - set().union(*holds.values())):
        raise ValueError(
            f"nulls: got column {unknown[0]!r}, expected one that was scored; `thresher filters "
            "list --extractors` names them"
        )
    found = []
    for record in ledger.records():
        if held := wanted & holds[record.stage]:
            nulls, ok, rows = nulls_of((store / "scores" / record.stage).path(record.name))
            if any(nulls[column] > rows - ok for column in held):
                found.append(record)
    return found


def strike(run: Folder, records: Sequence[Record]) -> None:
    """Send shards back, so that the next run does them again."""
    for store in stores_of(run):
        ledger = Ledger(store)
        if mine := [record for record in records if record.stage in ledger.stages]:
            ledger.strike(mine)


def stores_of(run: Folder) -> list[Folder]:
    """Return the folders with a ledger and tables: of scores, and of what was decided.

    Raises:
        ValueError: This is no run folder.
    """
    decisions = run / DECISIONS
    return [store_of(run), *([decisions] if (decisions / "ledger").names() else [])]


def store_of(run: Folder) -> Folder:
    """Return where a run's score tables and ledger are: in it, or where its config says.

    Raises:
        ValueError: This is no run folder; it has neither config.toml nor ledger.
    """
    if run.exists("config.toml"):
        config = tomllib.loads(run.read("config.toml").decode())
        return Folder(config.get("data", {}).get("scores") or run.url)
    if (run / "ledger").names():
        return run
    raise ValueError(
        f"run: got {run.url}, expected the folder of a run (it has a config.toml or a ledger); "
        "give the folder that --out named"
    )


def scores_of(run: Folder) -> Scores:
    """Return the columns of a run that has been curated.

    Raises:
        ValueError: It is no run, or has not come to its subset yet.
    """
    store_of(run)
    try:
        return Scores.load((run / "subset").read("scores.parquet"))
    except FileNotFoundError as error:
        raise ValueError(
            f"run: got {run.url} without subset/scores.parquet, expected a run that has been "
            "curated; `thresher curate` its config first"
        ) from error
