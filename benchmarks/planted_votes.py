"""Votes with a known truth: are label models right where something is wrong with the rules?

    python benchmarks/planted_votes.py > benchmarks/results/DATE-planted-votes.md

Accuracy at p(keep) = 0.5, mean over seeds; a p of exactly 0.5 is half right. References as their
users get them, and with the true prior handed to them; ours with its default settings, which are
told nothing; "refused" where the votes do not tell the prior. The last column knows the parameters
that the votes were drawn with.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from heading import heading
from numpy.typing import NDArray
from planted_rules import CASES, Case
from snorkel.labeling.model import LabelModel as Snorkel
from snorkel.labeling.model import MajorityLabelVoter

from filters.ensemble import Triplet, count, fit_label_model

ROWS, SEEDS = 20_000, 5
UNIFORM = CUT = 0.5
TIE = 1e-9
OFFICIAL = """
import sys, numpy as np
np.product = np.prod
from flyingsquid.label_model import LabelModel
given = np.load(sys.argv[1])
votes, prior = given["votes"], float(given["prior"])
model = LabelModel(votes.shape[1])
model.fit(votes, class_balance=np.array([1 - prior, prior]))
np.save(sys.argv[2], model.predict_proba(votes)[:, 1])
"""  # its votes are -1 drop, 0 abstain, 1 keep
Votes = NDArray[np.int8]
Probability = NDArray[np.float64]
Fit = Callable[[Votes, float], Probability]


def main() -> None:
    """Fit every model on every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flyingsquid", help="a Python that has the official package")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    fits: dict[str, Fit] = {"Snorkel": snorkel, "FlyingSquid": letter}
    if arguments.flyingsquid:
        fits["FlyingSquid's package"] = official(arguments.flyingsquid)
    print(heading(f"{arguments.rows} rows, {arguments.seeds} seeds"))
    columns = ["majority", *fits, *[f"{fit}, told the prior" for fit in fits]]
    columns += ["Thresher", "Thresher, told the prior", "optimal"]
    print(f"\n| case | {' | '.join(columns)} |\n| --- |{' --- |' * len(columns)}")
    spread = []
    for name, case in CASES.items():
        seeds = range(arguments.seeds)
        right = np.array([one_seed(case, [*fits.values()], arguments.rows, seed) for seed in seeds])
        spread.append(right.std(axis=0))
        print(f"| {name} | {' | '.join(map(_cell, right.mean(axis=0)))} |", flush=True)
    print(f"\nStandard deviation over seeds: at most {np.nanmax(spread):.4f}.")


def one_seed(case: Case, fits: Sequence[Fit], rows: int, seed: int) -> list[float]:
    """Return the accuracy of every model on votes of one seed, and of the best there can be."""
    good, votes = case.draw(rows, np.random.default_rng(seed))
    found = [
        MajorityLabelVoter().predict_proba(votes)[:, 1],
        *[fit(votes, UNIFORM) for fit in fits],
        *[fit(votes, case.prior) for fit in fits],
        ours(votes, case, prior="estimated"),
        ours(votes, case, prior=case.prior),
        case.optimal(votes),
    ]
    return [accuracy(p, good) for p in found]


def accuracy(p_N: Probability, good_N: NDArray[np.bool_]) -> float:
    """Return the share of rows that are right; NaN if there are no probabilities."""
    if np.isnan(p_N).any():
        return float("nan")
    return float(np.where(np.abs(p_N - CUT) < TIE, 0.5, (p_N > CUT) == good_N).mean())


def snorkel(votes: Votes, prior: float) -> Probability:
    """Fit Snorkel's label model with its default settings."""
    model = Snorkel(cardinality=2, verbose=False)
    model.fit(votes, class_balance=[1 - prior, prior], seed=0, progress_bar=False)
    return model.predict_proba(votes)[:, 1]


def letter(votes: Votes, prior: float) -> Probability:
    """Fit our transcription of FlyingSquid; rows without votes get the prior, the package's 0.5."""
    triplet = Triplet(estimator="mean")
    model = fit_label_model(count(votes), model=triplet, prior=prior, share_copies=False)
    return model.predict(votes)


def official(python: str) -> Fit:
    """Return the official package, run by a Python that has it."""

    def fit(votes: Votes, prior: float) -> Probability:
        with tempfile.TemporaryDirectory() as folder:
            given, found = Path(folder) / "votes.npz", Path(folder) / "p.npy"
            np.savez(given, votes=np.where(votes < 0, 0, 2 * votes.astype(int) - 1), prior=prior)
            command = [python, "-c", OFFICIAL, str(given), str(found)]
            subprocess.run(command, check=True, capture_output=True)
            return np.load(found)

    return fit


def ours(votes: Votes, case: Case, *, prior: float | str) -> Probability:
    """Fit ours with its default settings, NaN where it asks for a prior."""
    columns = case.columns if case.told else ()
    try:
        return fit_label_model(count(votes), prior=prior, columns=columns).predict(votes)
    except ValueError:
        return np.full(len(votes), np.nan)


def _cell(mean: float) -> str:
    return "refused" if np.isnan(mean) else f"{mean:.4f}"


if __name__ == "__main__":
    main()
