"""Cut points from the columns that a run has stored; reads no pixel and changes nothing.

Letters: n rows of a shard, M rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import tomli_w
from numpy.typing import NDArray

from filters.ensemble import LabelModel
from filters.ensemble.cuts import Cuts, Histogram, add_up, bin_edges, choose_cuts
from filters.rules import ABSTAIN, Band, Primitive
from pipeline.folder import Folder
from pipeline.labels import Labels, read_keep_labels
from pipeline.scores import Scores
from pipeline.tables import holds_numbers, numbers, uids
from pipeline.voted import read_model
from pipeline.votes import RULES, unpack, vote_columns


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A band to be cut.

    Attributes:
        name: Of the rule.
        column: Its column.
        direction: Which end of the column is good.
        veto: Whether a drop vote is final.
    """

    name: str
    column: str
    direction: Literal["high", "low", "either"]
    veto: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """A curated run, as far as cut points depend on it.

    Attributes:
        scores: Its columns.
        rules: Its rules, resolved.
        model: Its label model.
        labels: 1 keep and 0 drop of a few pairs, or None. Those that were shown at random count:
            shares of bins among others hold for nothing.
    """

    scores: Scores
    rules: tuple[Primitive, ...]
    model: LabelModel
    labels: Labels | None

    @classmethod
    def of(cls, run: Folder, *, labels: str = "") -> "Stored":
        """Read a run that was curated.

        Raises:
            ValueError: It was not, a file is damaged, or the labels are none.
        """
        subset, model = run / "subset", read_model(run)
        if model is None or not (subset.exists("scores.parquet") and subset.exists("rules.json")):
            raise ValueError(
                f"cuts: got {run.url}, expected the folder of a run that has a subset; start it "
                "with `thresher curate`"
            )
        try:
            scores = Scores.load(subset.read("scores.parquet"))
            rules = RULES.validate_json(subset.read("rules.json"))
        except (ValueError, KeyError, pa.ArrowException) as error:
            raise ValueError(
                f"cuts: got {run.url} with a damaged file, expected what a run wrote "
                f"({' '.join(str(error).split())[:200]}); run `thresher curate` on it again, which "
                "reads no pixel"
            ) from error
        known = read_keep_labels(labels).at_random() if labels else None
        return cls(scores, rules, model, known)

    def votes(self, table: pa.Table) -> NDArray[np.int8]:
        """Return the votes in a table of `vote_columns`, int8 [n, M]."""
        return unpack(table.select(self.vote_names), len(self.rules))

    def labels_of(self, table: pa.Table) -> NDArray[np.int64]:
        """Return the labels of a table's rows, int64 [n]; -1 is none."""
        if self.labels is None:
            return np.full(len(table), ABSTAIN)
        place_n = self.labels.places(uids(table))
        return np.append(self.labels.target_N, ABSTAIN)[place_n].astype(np.int64)  # -1 is the last

    @property
    def vote_names(self) -> list[str]:
        """Columns that the votes are packed in."""
        return [column.name for column in vote_columns(self.rules)]


def wanted(stored: Stored, *, rules: Sequence[str], columns: Sequence[str]) -> list[Wanted]:
    """Return the run's bands without a veto, or those that are named, and a band for each column.

    Raises:
        ValueError: A name is of no band, or there is nothing to cut.
    """
    bands = {rule.name: rule for rule in stored.rules if isinstance(rule, Band)}
    unknown = [name for name in rules if name not in bands]
    if unknown:
        raise ValueError(
            f"cuts: got rule {unknown[0]!r}, expected one of {', '.join(bands) or 'none'}: a rule "
            "that cuts one number; name a column with --column to have a new one"
        )
    taken = [column for column in columns if column in {rule.name for rule in stored.rules}]
    if taken:
        raise ValueError(
            f"cuts: got column {taken[0]!r}, which a rule is named after, expected another; name "
            "the rule with --rule"
        )
    named = rules or ([] if columns else [n for n, band in bands.items() if not band.veto])
    found = [
        Wanted(name=n, column=bands[n].column, direction=bands[n].direction, veto=bands[n].veto)
        for n in named
    ]
    found += [Wanted(name=c, column=c, direction="either") for c in columns]
    if not found:
        raise ValueError(
            "cuts: got a run without a band that has no veto, expected at least one; name a column "
            "with --column"
        )
    return found


def tune(
    stored: Stored, wants: Sequence[Wanted], *, bins: int
) -> tuple[dict[str, Band], dict[str, Cuts]]:
    """Choose cut points of all that are wanted, each against the run's votes as they are.

    What a band is compared with are the votes of all rules that read none of its columns, weighed
    by the run's own label model. They are not chosen again with the votes that follow: rules that
    see much the same would confirm each other, and were measured to get worse with every round. A
    band of which nothing is found stays as it was, or out.

    Returns:
        Bands by name, and why they are cut so; the latter lacks those of which nothing was found.
    """
    histograms = _histograms(stored, wants, bins=bins)
    bands = {rule.name: rule for rule in stored.rules if isinstance(rule, Band)}
    chosen: dict[str, Cuts] = {}
    for want in wants:
        cuts = choose_cuts(histograms[want.name], direction=want.direction)
        if cuts:
            chosen[want.name] = cuts
            bands[want.name] = _band(want, cuts, veto=want.veto)
    return {want.name: bands[want.name] for want in wants if want.name in bands}, chosen


def fragment(wants: Sequence[Wanted], bands: Mapping[str, Band], chosen: Mapping[str, Cuts]) -> str:
    """Write bands as `[[rules]]` of a config, each under a comment that says why."""
    parts = []
    for want in wants:
        cuts, band = chosen.get(want.name), bands.get(want.name)
        parts.append(f"# {want.name}: {_why(cuts, known=band is not None)}")
        if band is not None:
            table = {
                "kind": band.kind, "name": band.name, "column": band.column,
                "direction": band.direction, "keep": band.keep, "drop": band.drop,
                "veto": band.veto or None,
            }  # fmt: skip
            parts.append("[[rules]]\n" + tomli_w.dumps(_set(table)))
    return "\n".join(parts).rstrip() + "\n"


def _why(cuts: Cuts | None, *, known: bool) -> str:
    if cuts is None:
        stays = "; left as it is" if known else "; no rule"
        return "no cut would tell anything" + stays
    by = f"{cuts.labels} labels" if cuts.labels else "the other rules"
    sides = {"keep": cuts.keep_right, "drop": cuts.drop_right}
    right = [f"{side} right in >= {share:.0%}" for side, share in sides.items() if share > 0]
    return (
        f"votes on {cuts.coverage:.1%}, {', '.join(right)} by {by}; overlap {cuts.overlap:.1%}, "
        f"conflict {cuts.conflict:.1%}, {cuts.gain:.4f} nats a row"
    )


def _set(table: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in table.items() if value is not None}


def _band(want: Wanted, cuts: Cuts, *, veto: bool) -> Band:
    return Band(
        name=want.name, column=want.column, direction=cuts.direction, keep=cuts.keep,
        drop=cuts.drop, veto=veto,
    )  # fmt: skip


def _histograms(stored: Stored, wants: Sequence[Wanted], *, bins: int) -> dict[str, Histogram]:
    """Count each column jointly with what the rules say that do not read it."""
    scores, prior = stored.scores, stored.model.prior[-1]
    columns = list(dict.fromkeys(want.column for want in wants))
    _require_numbers(scores, columns)
    edges = {c: bin_edges(lambda c=c: scores.numbers(c), bins=bins) for c in columns}
    parts: dict[str, list[Histogram]] = {want.name: [] for want in wants}
    for shard in range(len(scores)):
        table = scores.good(shard, [*columns, *stored.vote_names, "uid"])
        votes_nM, label_n = stored.votes(table), stored.labels_of(table)
        for want in wants:
            others_nM = votes_nM.copy()
            others_nM[:, [want.column in rule.columns for rule in stored.rules]] = ABSTAIN
            p_n = stored.model.predict(others_nM)
            said_n = np.where((others_nM == ABSTAIN).all(axis=1), ABSTAIN, p_n > prior)
            value_n = numbers(table, want.column, np.float32)
            part = Histogram.of(value_n, p_n, said_n, label_n, edges=edges[want.column])
            parts[want.name].append(part)
    return {name: add_up(found) for name, found in parts.items()}


def _require_numbers(scores: Scores, columns: Sequence[str]) -> None:
    for field in scores.read(0, columns).schema:
        if not holds_numbers(field):
            raise ValueError(
                f"cuts: got column {field.name!r}, which is no number, expected a number; name "
                "another column"
            )
