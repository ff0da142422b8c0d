"""Does the ensemble rank clean pairs above planted trouble better than each filter and than a vote?

    python benchmarks/planted_pool.py RUN [RUN ...] > benchmarks/results/DATE-planted-pool.md

Every RUN has been curated from a pool with planted truth, one per seed. The score is the average
precision of clean pairs among those that were scored, by the step rule: equal scores are one step,
so no order among them counts. Contestants are the run's p(keep); the label model's alone, if there
is an end model after it; majority votes (of the same rules: Snorkel's, the share of keep votes,
keep votes less drop votes); each rule's votes, abstaining between keep and drop; and every number
that was scored as a ranking, null at its median, in the direction that does better by the truth
(which favours it); tables show the best of these. Vetoed pairs come last where the table says so.
"""

import argparse
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.types as kinds
from heading import heading
from numpy.typing import NDArray
from snorkel.labeling.model import MajorityLabelVoter

from filters.concepts import max_similarity_to_earlier
from filters.concepts.copies import near_copies
from filters.ensemble import fit_label_model, load_label_model
from pipeline.concepts.copies import PHASH
from pipeline.deciding.decisions import VOTE, undecided
from pipeline.folder import Folder
from pipeline.health import scores_of
from pipeline.planted import CLEAN
from pipeline.schema import Reason
from pipeline.scores import Scores
from pipeline.tables import read
from pipeline.voted import read_decisions

COPIES = ("exact_duplicate", "resized_duplicate", "natural_copy")
OURS, MODEL = "**p(keep) of the run**", "label model alone"
MAJORITY, COLUMN = "majority, ", "column "
SHOWN = 8  # columns that rank best; all take part


@dataclass(frozen=True)
class Pool:
    """What one run says of its pairs that were scored, and what they are.

    Attributes:
        ranking: Contestants by name, float [N], high is good.
        columns: Numbers that were scored, float [N], NaN is null.
        kind_N: What each pair is.
        vetoed_N: Whether a rule with a veto drops it.
        copy_N: Whether pruning takes it for a copy of a pair with a lower uid.
        stands_N: Whether it is clean, or stands for a clean pair that pruning takes for its copy.
    """

    ranking: Mapping[str, NDArray[np.float64]]
    columns: Mapping[str, NDArray[np.float64]]
    kind_N: NDArray[np.str_]
    vetoed_N: NDArray[np.bool_]
    copy_N: NDArray[np.bool_]
    stands_N: NDArray[np.bool_]


def main() -> None:
    """Score all contestants on all pools and print three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    arguments = parser.parse_args()
    pools = [pool_of(run) for run in arguments.runs]
    print(heading("average precision of clean pairs, a column per run"))
    is_seen = [~np.isin(pool.kind_N, COPIES) for pool in pools]
    all_of = [np.ones_like(seen) for seen in is_seen]
    no_copies = [np.zeros_like(pool.copy_N) for pool in pools]
    clean = [pool.kind_N == CLEAN for pool in pools]
    table("Pairs that a filter can judge: without planted and natural copies", pools, is_seen,
          clean, no_copies)  # fmt: skip
    table("All pairs; copies that pruning finds come after all others but vetoed ones", pools,
          all_of, [pool.stands_N for pool in pools], [pool.copy_N for pool in pools])  # fmt: skip
    table("All pairs, copies ranked like their originals", pools, all_of, clean, no_copies)


def pool_of(run: Path) -> Pool:
    """Read what a run decided, and the truth that its config names."""
    config = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
    table = read_decisions(Folder(str(run)), ["uid", "p_keep", "reason"]).table
    rules = [name for name in table.column_names if name.startswith(VOTE)]
    table = table.filter(pc.is_valid(table.column("p_keep")))
    votes_NM = np.stack([table.column(rule).to_numpy() for rule in rules], axis=1).astype(np.int8)
    truth = read(config["data"]["truth"], ["uid", "kind", "twin"]).to_pylist()
    kind = {row["uid"]: row["kind"] for row in truth}
    uid_N = [uid.hex() for uid in table.column("uid").to_pylist()]
    vetoed_N = pc.equal(table.column("reason"), str(Reason.VETO)).to_numpy()
    scores = undecided(scores_of(Folder(str(run))))
    ranking = {OURS: table.column("p_keep").to_numpy(), **majorities(votes_NM)}
    if (run / "subset" / "end_model.json").exists():
        text = (run / "subset" / "label_model.json").read_text(encoding="utf-8")
        ranking[MODEL] = load_label_model(text).predict(votes_NM)
    for rule, vote_N in zip(rules, votes_NM.T, strict=True):
        ranking[f"rule {rule.removeprefix(VOTE)}"] = np.where(vote_N < 0, 0.5, vote_N)
    kind_N = np.array([kind.get(uid, "") for uid in uid_N])
    copy_N = copies(scores, uid_N, vetoed_N, config["dedup"])
    twin = {row["uid"]: row["twin"] for row in truth if row["kind"] in COPIES}
    stands_N = stand_ins(uid_N, kind_N == CLEAN, twin, copy_N | vetoed_N)
    return Pool(ranking, numbers(scores), kind_N, vetoed_N, copy_N, stands_N)


def stand_ins(
    uid_N: list[str], clean_N: NDArray[np.bool_], twin: Mapping[str, str], out_N: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Let a copy that is left count as clean instead of its original, if that is out.

    Which of the two stands for the picture is a matter of taste; the one of lowest uid does.
    """
    stands_N, row_of = clean_N.copy(), {uid: row for row, uid in enumerate(uid_N)}
    for uid in sorted(twin):
        row, original = row_of.get(uid), row_of.get(twin[uid])
        if row is None or original is None or out_N[row] or not out_N[original]:
            continue
        stands_N[row], stands_N[original] = stands_N[original], False
    return stands_N


def majorities(votes_NM: NDArray[np.int8]) -> dict[str, NDArray[np.float64]]:
    """Return three ways of counting votes."""
    ours = fit_label_model(votes_NM, model="majority", prior=0.5, share_copies=False).predict(
        votes_NM
    )
    snorkel = MajorityLabelVoter(cardinality=2).predict_proba(votes_NM.astype(np.int64))[:, 1]
    net = (votes_NM == 1).sum(axis=1) - (votes_NM == 0).sum(axis=1)
    named = {"Snorkel's": snorkel, "share of keep votes": ours, "keep less drop votes": net}
    return {f"{MAJORITY}{name}": value_N.astype(np.float64) for name, value_N in named.items()}


def numbers(scores: Scores) -> dict[str, NDArray[np.float64]]:
    """Return every number of the good rows, float [N]; hashes are none."""
    schema = scores.read(0, scores.columns).schema
    names = [f.name for f in schema if kinds.is_floating(f.type) or kinds.is_signed_integer(f.type)]
    return {name: np.concatenate(list(scores.numbers(name))).astype(np.float64) for name in names}


def copies(
    scores: Scores, uid_N: list[str], vetoed_N: NDArray[np.bool_], dedup: Mapping[str, Any]
) -> NDArray[np.bool_]:
    """Tell which pairs that no veto hits are copies of one with a lower uid, whoever ranks them."""
    left = np.array(sorted(np.flatnonzero(~vetoed_N), key=lambda row: uid_N[row]))
    hash_N = np.concatenate(
        [scores.good(s, [PHASH]).column(PHASH).to_numpy() for s in range(len(scores))]
    )
    same = near_copies(hash_N[left], bits=dedup["copy_bits"]).earlier_N >= 0
    alike = max_similarity_to_earlier(scores.embeddings(dedup["embedding"])[left])
    copy_N = np.zeros(len(uid_N), bool)
    copy_N[left[same | (alike.similarity_N > dedup["similarity"])]] = True
    return copy_N


def table(
    title: str,
    pools: list[Pool],
    some: list[NDArray[np.bool_]],
    clean: list[NDArray[np.bool_]],
    copies_last: list[NDArray[np.bool_]],
) -> None:
    """Print the contestants over some of the pairs, of columns the best, and who wins."""
    sets = list(zip(pools, some, clean, copies_last, strict=True))
    plain = [ranked(p, rows, clean_N, np.zeros(len(rows))) for p, rows, clean_N, _ in sets]
    last = [
        ranked(p, rows, clean_N, np.where(p.vetoed_N, -2.0, np.where(copy_N, -1.0, 0.0)))
        for p, rows, clean_N, copy_N in sets
    ]
    share = [clean_N[rows].mean() for _, rows, clean_N, _ in sets]
    print(f"\n## {title}\n\nClean: {cells(share)}.\n")
    print("| contestant |" + " as it is |" * len(pools) + " vetoed last |" * len(pools))
    print("| --- |" + " --- |" * 2 * len(pools))
    shown = [n for n in plain[0] if not n.startswith(COLUMN)]
    for found in (plain, last):
        columns = [n for n in plain[0] if n.startswith(COLUMN)]
        shown += sorted(columns, key=lambda n: -mean(found, n))[:SHOWN]
    for name in sorted(set(shown), key=lambda n: (-mean(last, n), n)):
        print(f"| {name} | {cells([f[name] for f in plain], ' | ')} "
              f"| {cells([f[name] for f in last], ' | ')} |")  # fmt: skip
    rivals = [n for n in plain[0] if n not in (OURS, MODEL)]
    ours = [found[OURS] for found in last]
    best = [max(found[n] for n in rivals) for found in plain]
    voted = [max(found[n] for n in rivals if n.startswith(MAJORITY)) for found in last]
    any_last = [max(found[n] for n in rivals) for found in last]
    print(f"\np(keep), vetoed last, less the best rival as it is: {cells(minus(ours, best))}; less "
          f"the best majority vote, vetoed last: {cells(minus(ours, voted))}; less the best rival "
          f"with all other rules' vetoes: {cells(minus(ours, any_last))}.")  # fmt: skip


def mean(found: list[dict[str, float]], name: str) -> float:
    """Return a contestant's mean over pools."""
    return float(np.mean([of_pool[name] for of_pool in found]))


def ranked(
    pool: Pool,
    some_N: NDArray[np.bool_],
    clean_N: NDArray[np.bool_],
    place_N: NDArray[np.float64],
) -> dict[str, float]:
    """Return the average precision of every contestant; rows of lower place come after."""
    clean_n, place_n = clean_N[some_N], place_N[some_N]
    found = {
        name: average_precision(clean_n, place_n, value_N[some_N])
        for name, value_N in pool.ranking.items()
    }
    for name, value_N in pool.columns.items():
        filled_n = np.where(np.isnan(value_N), np.nanmedian(value_N), value_N)[some_N]
        found[f"{COLUMN}{name}"] = max(
            average_precision(clean_n, place_n, sign * filled_n) for sign in (1, -1)
        )
    return found


def average_precision(
    clean_n: NDArray[np.bool_], place_n: NDArray[np.float64], value_n: NDArray[np.float64]
) -> float:
    """Sum precision times the gain in recall over distinct scores, from the best down."""
    order = np.lexsort((-value_n, -place_n))
    hits_n = np.cumsum(clean_n[order])
    is_last_n = np.append(
        (np.diff(value_n[order]) != 0) | (np.diff(place_n[order]) != 0), True
    )  # the last of its equals
    hits_k = hits_n[is_last_n]
    precision_k = hits_k / (np.flatnonzero(is_last_n) + 1)
    return float((np.diff(hits_k, prepend=0) / hits_n[-1] * precision_k).sum())


def cells(values: list[float], between: str = ", ") -> str:
    """Format numbers."""
    return between.join(f"{value:.4f}" for value in values)


def minus(ours: list[float], theirs: list[float]) -> list[float]:
    """Return the differences."""
    return [a - b for a, b in zip(ours, theirs, strict=True)]


if __name__ == "__main__":
    main()
