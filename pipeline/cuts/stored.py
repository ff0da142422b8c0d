"""Cut points from the columns that a run has stored; reads no pixel and changes nothing.

Letters: n rows of a shard, M rules.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import polars as pl
import tomli_w
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from filters.ensemble import Labelled, LabelModel, count, count_labels, fit_label_model, merge
from filters.ensemble.cuts import Cuts, Histogram, add_up, bin_edges, choose_cuts
from filters.rules import ABSTAIN, Band, Primitive
from pipeline.config import Ensemble
from pipeline.folder import Folder
from pipeline.scores import Scores
from pipeline.tables import read

RULES = TypeAdapter(tuple[Annotated[Primitive, Field(discriminator="kind")], ...])


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
class Voted:
    """A scored run, as far as cut points depend on it.

    Attributes:
        scores: Its columns.
        rules: Its rules, resolved.
        ensemble: How they are weighed.
        prior: P(keep) of its label model.
        seed: Of whatever is random.
        labels: 0 and 1 by uid; may be empty.
    """

    scores: Scores
    rules: tuple[Primitive, ...]
    ensemble: Ensemble
    prior: tuple[float, ...]
    seed: int
    labels: Mapping[bytes, int]

    @classmethod
    def of(cls, run: Folder, *, labels: str = "") -> "Voted":
        """Read a run that was curated.

        Raises:
            ValueError: It was not, or the labels are none.
        """
        subset = run / "subset"
        try:
            scores = Scores.load(subset.read("scores.parquet"))
            rules = RULES.validate_json(subset.read("rules.json"))
            prior = tuple(json.loads(subset.read("label_model.json"))["prior"])
            config = tomllib.loads(run.read("config.toml").decode())
        except FileNotFoundError as error:
            raise ValueError(
                f"cuts: got {run.url}, expected the folder of a run that has a subset; start it "
                "with `thresher curate`"
            ) from error
        ensemble = TypeAdapter(Ensemble).validate_python(config.get("ensemble", {}))
        known = _labels(labels) if labels else {}
        return cls(scores, rules, ensemble, prior, int(config.get("seed", 0)), known)

    def shards(self, columns: Sequence[str]) -> Iterator[tuple[pl.DataFrame, NDArray[np.int64]]]:
        """Yield columns of good rows and their labels (-1 is none), shard after shard."""
        names = list(dict.fromkeys([*columns, "uid"]))
        for shard in range(len(self.scores)):
            frame = pl.DataFrame(self.scores.good(shard, names))
            label_n = np.full(len(frame), -1)
            if self.labels:
                label_n[:] = [self.labels.get(uid, -1) for uid in frame["uid"].to_list()]
            yield frame, label_n

    def numbers(self, column: str) -> Iterator[NDArray[np.float32]]:
        """Yield a column of good rows, an array per shard.

        Raises:
            ValueError: It is no number.
        """
        for shard in range(len(self.scores)):
            yield _numbers(pl.DataFrame(self.scores.good(shard, [column])), column)

    def fit(self) -> LabelModel:
        """Weigh the rules as the run did, or with these labels."""
        parts, known = [], []
        for frame, label_n in self.shards(_columns(self.rules)):
            votes_nM = _votes(frame, self.rules)
            parts.append(count(votes_nM))
            known.append((votes_nM[label_n >= 0], label_n[label_n >= 0]))
        return fit_label_model(
            merge(parts), model=self.ensemble.model, prior=self.prior, seed=self.seed,
            labelled=_labelled(known),
        )  # fmt: skip


def wanted(voted: Voted, *, rules: Sequence[str], columns: Sequence[str]) -> list[Wanted]:
    """Return the run's bands without a veto, or those that are named, and a band for each column.

    Raises:
        ValueError: A name is of no band, or there is nothing to cut.
    """
    bands = {rule.name: rule for rule in voted.rules if isinstance(rule, Band)}
    unknown = [name for name in rules if name not in bands]
    if unknown:
        raise ValueError(
            f"cuts: got rule {unknown[0]!r}, expected one of {', '.join(bands) or 'none'}: a rule "
            "that cuts one number; name a column with --column to have a new one"
        )
    taken = [column for column in columns if column in {rule.name for rule in voted.rules}]
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
    voted: Voted, wants: Sequence[Wanted], *, bins: int
) -> tuple[dict[str, Band], dict[str, Cuts]]:
    """Choose cut points of all that are wanted, each against the run's votes as they are.

    What a band is compared with are the votes of all rules that read none of its columns, weighed
    by the run's own label model. They are not chosen again with the votes that follow: rules that
    see much the same would confirm each other, and were measured to get worse with every round. A
    band of which nothing is found stays as it was, or out.

    Returns:
        Bands by name, and why they are cut so; the latter lacks those of which nothing was found.
    """
    histograms = _histograms(voted, wants, bins=bins)
    bands = {rule.name: rule for rule in voted.rules if isinstance(rule, Band)}
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


def _histograms(voted: Voted, wants: Sequence[Wanted], *, bins: int) -> dict[str, Histogram]:
    """Count each column jointly with what the rules say that do not read it."""
    rules, prior = voted.rules, voted.prior[-1]
    edges = {w.name: bin_edges(lambda w=w: voted.numbers(w.column), bins=bins) for w in wants}
    model = voted.fit()
    parts: dict[str, list[Histogram]] = {want.name: [] for want in wants}
    for frame, label_n in voted.shards([*_columns(rules), *(want.column for want in wants)]):
        votes_nM = _votes(frame, rules)
        for want in wants:
            others_nM = votes_nM.copy()
            others_nM[:, [want.column in rule.columns for rule in rules]] = ABSTAIN
            p_n = model.predict(others_nM)
            said_n = np.where((others_nM == ABSTAIN).all(axis=1), ABSTAIN, p_n > prior)
            value_n = _numbers(frame, want.column)
            part = Histogram.of(value_n, p_n, said_n, label_n, edges=edges[want.name])
            parts[want.name].append(part)
    return {name: add_up(found) for name, found in parts.items()}


def _columns(rules: Sequence[Primitive]) -> list[str]:
    return sorted({column for rule in rules for column in rule.columns})


def _votes(frame: pl.DataFrame, rules: Sequence[Primitive]) -> NDArray[np.int8]:
    columns = frame.to_dict()
    return np.stack([rule.vote(columns) for rule in rules], axis=1)


def _numbers(frame: pl.DataFrame, column: str) -> NDArray[np.float32]:
    if not frame[column].dtype.is_numeric():
        raise ValueError(f"cuts: got column {column!r}, which is no number, expected a number")
    return frame[column].cast(pl.Float32).fill_null(np.nan).to_numpy()


def _labelled(known: Sequence[tuple[NDArray[np.int8], NDArray[np.int64]]]) -> Labelled | None:
    label_n = np.concatenate([label_n for _, label_n in known])
    votes_nM = np.concatenate([votes_nM for votes_nM, _ in known])
    return count_labels(votes_nM, label_n) if len(label_n) else None


def _labels(place: str) -> dict[bytes, int]:
    """Read a Parquet file with `uid` (16 bytes) and `label` (0 or 1)."""
    table = read(place, ["uid", "label"])
    found = dict(zip(*(table.column(name).to_pylist() for name in ("uid", "label")), strict=True))
    if not set(found.values()) <= {0, 1} or not all(isinstance(uid, bytes) for uid in found):
        raise ValueError(
            f"labels: got {place}, expected uids of 16 bytes and labels 0 or 1; `thresher label "
            "RUN` writes such a file"
        )
    return found
