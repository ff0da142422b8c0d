"""What curation can be told, and the strict door that TOML comes in through.

The dataclasses are plain and frozen; pydantic checks them once, where a file is read.
"""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tomli_w
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from filters.concepts import Consensus
from filters.ensemble import AnyMethod, LatentClass
from filters.ensemble.end_model import EndModelSettings
from filters.plugins import AnyDerive, AnyExtractor, AnyRule
from pipeline.schema import BASE_SCHEMA
from pipeline.settings import Balance, Concepts, Dedup

STRICT = ConfigDict(extra="forbid", strict=True)  # nested dataclasses inherit it
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """Where the pairs are.

    Attributes:
        shards: WebDataset tars, folders or globs; local or any fsspec URL.
        heldout: Shards for evaluation, never curated or trained on.
        truth: Parquet with planted trouble (uid, kind, twin); only the final measuring reads it.
        scores: Folder of score tables and their ledger, for runs that share them; `""` is the run
            folder.
    """

    shards: tuple[str, ...]
    heldout: tuple[str, ...] = ()
    truth: str = ""
    scores: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cells:
    """How the pixel plane runs; only `threads`, `batch` and the limits can touch the output.

    Attributes:
        count: Cells at work; 0 is one per accelerator if an extractor wants one, else per core.
        cpus: CPUs that Ray sets aside for a cell; 0 shares out what there is.
        gpus: GPUs of a cell, may be a fraction; 0 is one if an extractor wants one and there is.
        threads: Threads of a model inside a cell.
        decoders: Threads that decode pictures inside a cell.
        decode_cells: Actors on other CPUs that read and decode for each cell, for nodes with few
            CPUs per GPU; 0 has the cell do it. Each of them fetches the shard.
        batch: Pictures that a model sees at once.
        member_bytes: Largest member of a tar that is read.
        pixels: Largest picture that is decoded.
        attempts: How often a shard may take its cell down before its samples are searched.
        timeout: Seconds without a finished batch after which a cell is ended.
        part_bytes: The last shards are split among cells, into parts of at least so many bytes.
        spool: Folder for copies of remote shards while they are read; `""` is the system's.
    """

    count: Annotated[int, Field(ge=0)] = 0
    cpus: Annotated[float, Field(ge=0)] = 0.0
    gpus: Annotated[float, Field(ge=0)] = 0.0
    threads: Annotated[int, Field(ge=1)] = 1
    decoders: Annotated[int, Field(ge=1)] = 1
    decode_cells: Annotated[int, Field(ge=0)] = 0
    batch: Annotated[int, Field(ge=1)] = 32
    member_bytes: Annotated[int, Field(ge=1)] = 64 * 2**20
    pixels: Annotated[int, Field(ge=1)] = 100_000_000
    attempts: Annotated[int, Field(ge=1)] = 3
    timeout: Annotated[float, Field(gt=0)] = 600.0
    part_bytes: Annotated[int, Field(ge=1)] = 64 * 2**20
    spool: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ensemble:
    """How votes become p(keep).

    Attributes:
        model: How rules are weighed.
        prior: Expected share of good pairs, which an all-abstain row gets; or "estimated" from the
            votes alone, or from the "labels".
        keep_above: Least p(keep) of a pair in the subset; a budget takes its place.
        budget: 0 is none. The ensemble keeps exactly so many pairs, those of the highest p(keep),
            of equals those of the lowest uid: below 1 a share of the good pairs (each uid counts
            once; copies do not where `dedup.first` has put them out), from 1 on a number.
        rank_by: Column of numbers by which the budget ranks pairs instead of p(keep), highest
            first; "" is none.
        labels: Parquet with `uid` and `label` (1 keep, 0 drop) of a few pairs; `""` is none. Where
            a column `chosen` is there, a prior from them counts those that are "random" alone.
        share_copies: Rules that read the same columns, or nearly always vote alike, share the
            weight of one.
        end_model: Learns p(keep) from columns; without the table there is none.
    """

    model: Annotated[AnyMethod, Field(discriminator="kind")] = field(default_factory=LatentClass)
    prior: Annotated[float, Field(gt=0, lt=1)] | Literal["estimated", "labels"] = "estimated"
    keep_above: Annotated[float, Field(ge=0, le=1)] = 0.5
    budget: Annotated[float, Field(ge=0)] = 0.0
    rank_by: str = ""
    labels: str = ""
    share_copies: bool = True
    end_model: EndModelSettings | None = None

    def __post_init__(self) -> None:
        """Refuse half a pair, and what needs labels without any."""
        if self.budget > 1 and self.budget % 1:
            raise ValueError(
                f"budget: got {self.budget}, expected a share below 1 or a whole number of pairs"
            )
        if self.rank_by and not self.budget:
            raise ValueError(
                f"rank_by: got {self.rank_by!r} without a budget, expected one to rank pairs for; "
                "set ensemble.budget"
            )
        who = "a prior" if self.prior == "labels" else f"model {self.model.kind!r}"
        if not self.labels and (self.prior == "labels" or self.model.needs_labels):
            raise ValueError(
                f"labels: got none, expected a file for {who}; make one with `thresher label RUN`, "
                "and set ensemble.labels"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Curation:
    """Everything that `curate` needs, in the order of the flow.

    Without extractors and rules there is nothing to curate: a run then trains on pairs as they are.
    """

    seed: Annotated[int, Field(ge=0, lt=2**31 - 100)] = 0  # FAISS takes 32 bits
    data: Data
    cells: Cells = field(default_factory=Cells)
    extract: tuple[Annotated[AnyExtractor, Field(discriminator="kind")], ...] = ()
    consensus: Consensus = field(default_factory=Consensus)
    derive: tuple[Annotated[AnyDerive, Field(discriminator="kind")], ...] = ()
    rules: tuple[Annotated[AnyRule, Field(discriminator="kind")], ...] = ()
    ensemble: Ensemble = field(default_factory=Ensemble)
    dedup: Dedup = field(default_factory=Dedup)
    concepts: Concepts = field(default_factory=Concepts)
    balance: Balance = field(default_factory=Balance)

    def __post_init__(self) -> None:
        """Refuse rules of one name, and extractors that would overwrite a column."""
        if not self.curates:
            return
        _require_distinct("rules", [rule.name for rule in self.rules], "name")
        written = [column.name for extractor in self.extract for column in extractor.columns]
        _require_distinct("extract", written, "column", taken=BASE_SCHEMA.names)

    @property
    def curates(self) -> bool:
        """Whether pairs are scored and chosen from."""
        return bool(self.extract or self.rules)


def _require_distinct(
    section: str, names: Sequence[str], what: str, *, taken: Sequence[str] = ()
) -> None:
    held = [*taken, *names]
    repeated = sorted({name for name in held if held.count(name) > 1})
    if not names or repeated:
        raise ValueError(
            f"{section}: got {repeated or 'none'}, expected at least one and each {what} once"
        )


@cache  # building one for a whole run takes longer than reading a config
def _adapter(tree: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(tree)


def load_config(path: Path, tree: type[T], *, overrides: Sequence[str] = ()) -> T:
    """Read a TOML file into a tree of frozen dataclasses, after applying `a.b=c` overrides.

    Raises:
        ValueError: No such file, not TOML, or a key, type or value that the tree does not admit;
            the message names path, value and rule.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"config: got {path}, expected a TOML file that can be read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"config: got {path}, expected TOML; {error}") from error
    for override in overrides:
        _apply(document, override)
    try:  # JSON mode, so that a TOML array may become a tuple although types are strict
        return _adapter(tree).validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise ValueError(f"config: {path}: {_explain(error)}") from error


def _apply(document: dict[str, Any], override: str) -> None:
    """Set one value by its dotted path; a number in the path is a position in a list."""
    path, equals, text = override.partition("=")
    if not equals:
        raise ValueError(f"--set: got {override!r}, expected KEY.KEY=VALUE, such as train.lr=0.001")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    *parents, last = path.strip().split(".")
    node: Any = document
    for parent in parents:
        node = _child(node, parent, override)
    if isinstance(node, list):
        node[_position(node, last, override)] = value
    else:
        node[last] = value


def _child(node: Any, name: str, override: str) -> Any:
    if isinstance(node, list):
        return node[_position(node, name, override)]
    child = node.setdefault(name, {})
    if not isinstance(child, (dict, list)):
        raise ValueError(  # noqa: TRY004 -- a wrong request, not a wrong type in our code
            f"--set: got {override!r}, but {name!r} is a value, expected a section"
        )
    return child


def _position(node: list[Any], name: str, override: str) -> int:
    """Find a list item by number, or by its `name` or `kind`."""
    if name.isdigit() and int(name) < len(node):
        return int(name)
    for position, item in enumerate(node):
        if isinstance(item, dict) and name in (item.get("name"), item.get("kind")):
            return position
    raise ValueError(
        f"--set: got {override!r}, expected a position below {len(node)} or the name of an item"
    )


def _explain(error: ValidationError) -> str:
    """Turn pydantic's findings into `path: got value, rule` on one line."""
    lines = []
    for finding in error.errors():
        where = ".".join(str(part) for part in finding["loc"])
        rule = finding["msg"][0].lower() + finding["msg"][1:]
        # An API key does not belong there, but that is where one would be put.
        hidden = "endpoint" in finding["loc"] and isinstance(finding["input"], str | dict)
        shown = "a value that is not shown" if hidden else _shown(finding["input"])
        if finding["type"] == "value_error":  # ours: it says what, got, expected itself
            lines.append(
                f"{where}: {finding['ctx']['error']}" if where else rule.partition(", ")[2]
            )
        else:
            unknown = finding["type"] == "unexpected_keyword_argument"
            remedy = "correct its name, or remove it" if unknown else "correct it"
            lines.append(f"{where}: got {shown}, {rule}; {remedy}")
    return "; ".join(lines)


def _shown(value: Any) -> str:
    """Return a value for a message; of a section its keys, as one of the values may be secret."""
    if isinstance(value, dict):
        return f"a section with {', '.join(map(str, value)) or 'nothing'}"[:80]
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return f"a list of {len(value)}"
    return repr(value)[:80]


def dump_config(config: Any) -> str:
    """Write a resolved tree as TOML; values that are None are left out, as TOML has none."""
    return tomli_w.dumps(_without_none(_adapter(type(config)).dump_python(config, mode="json")))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list) else value
