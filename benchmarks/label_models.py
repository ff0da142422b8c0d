"""Speed and memory of label models against Snorkel and FlyingSquid; 12.8 million rows of Parquet.

    python benchmarks/label_models.py > benchmarks/results/DATE-label-models.md
    python benchmarks/label_models.py --flyingsquid squid/bin/python

Both sides get the same votes, take turns round after round, each turn in a process of its own.
Loading imports and votes is not counted; memory is the most that a process had less what it had
before the call.

FlyingSquid wants an environment of its own, with an old pgmpy and NumPy 1:
`python3.11 -m venv squid && squid/bin/pip install flyingsquid "pgmpy==0.1.12" "numpy<2"`, then
`--flyingsquid squid/bin/python`; without it that table is skipped.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from heading import heading
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
JOB = ROOT / "benchmarks" / "peer_jobs" / "label_models.py"
PRIOR, EVEN = 0.6, 0.5  # FlyingSquid counts the prior twice, majority not at all: they get EVEN
MATRIX, TRIPLET = '{"kind": "snorkel"}', '{"kind": "triplet"}'
WINNERS = '{"kind": "majority", "ties": "winners"}'
TO_THE_LETTER = '{"kind": "triplet", "estimator": "mean"}'
ONE_JOB_S = 900
SQUID = (
    'skipped: make an environment with `pip install flyingsquid "pgmpy==0.1.12" "numpy<2"` and '
    "give its interpreter as --flyingsquid"
)
Told = dict[str, float]


def main() -> None:
    """Measure what was asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flyingsquid", metavar="PYTHON", help="an interpreter that has it")
    parser.add_argument("--only", default="abcde", help="letters of the tables, as printed")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of a and b; c has a tenth")
    parser.add_argument("--pool-rows", type=int, default=12_800_000)
    parser.add_argument("--pool-files", type=int, default=7)
    args = parser.parse_args()
    print(heading(f"Snorkel {version('snorkel')}, NumPy {np.__version__}, {args.rounds} rounds"))
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        votes_NM = planted(args.rows, rules=10, seed=0)
        np.save(at / "votes.npy", votes_NM)
        np.save(at / "tenth.npy", votes_NM[: len(votes_NM) // 10])
        if "a" in args.only:
            print(f"\n## a. Snorkel's objective, fit and posteriors, {args.rows:,} x 10\n")
            sides = {"Snorkel LabelModel": "snorkel", "Thresher": "thresher"}
            compare(sides, at / "votes.npy", MATRIX, args.rounds, prior=PRIOR)
        if "b" in args.only:
            print(f"\n## b. Majority vote, fit and posteriors, {args.rows:,} x 10\n")
            sides = {"Snorkel MajorityLabelVoter": "snorkel_majority", "Thresher": "thresher"}
            compare(sides, at / "votes.npy", WINNERS, args.rounds)
        if "c" in args.only:
            print(f"\n## c. Posteriors of a fitted triplet model, {args.rows // 10:,} x 10\n")
            if args.flyingsquid:
                sides = {"FlyingSquid": "flyingsquid", "Thresher": "thresher_predict"}
                squid = args.flyingsquid
                compare(sides, at / "tenth.npy", TO_THE_LETTER, args.rounds, peer_python=squid)
            else:
                print(SQUID)
        for letter, similar in (("d", 2), ("e", 1)):
            if letter in args.only:
                rounds = args.rounds if letter == "d" else 1
                whole_pool(at / letter, letter, args.pool_rows, args.pool_files, similar, rounds)


def planted(rows: int, *, rules: int, seed: int, similar: int = 2) -> NDArray[np.int8]:
    """Return votes on rows of which 6 of 10 are good, int8 [rows, rules].

    So many `similar` rules each cut one score that is higher for good rows, as filters do: they
    keep above one value, drop below another, abstain in between, and mostly go together.
    """
    rng = np.random.default_rng(seed)
    good_N = rng.random(rows) < PRIOR
    votes_MN = np.empty((rules, rows), np.int8)
    for m in range(rules):
        if m % similar == 0:
            score_N = rng.standard_normal(rows, np.float32) + (0.4 + m / rules) * good_N
        low, high = m % similar * 0.4 - 0.9, m % similar * 0.4 + 0.6
        votes_MN[m] = np.where(score_N > high, 1, np.where(score_N < low, 0, -1))
    return np.ascontiguousarray(votes_MN.T)


def compare(
    sides: dict[str, str],
    votes: Path,
    model: str,
    rounds: int,
    *,
    prior: float = EVEN,
    peer_python: str = sys.executable,
) -> None:
    """Let both sides take turns and print their table; the peer is the first of them."""
    told: dict[str, list[Told]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            python = sys.executable if side.startswith("thresher") else peer_python
            result = votes.parent / f"{side}.npy"
            told[name].append(job(python, side, votes, result, model, prior))
    print("| | s, median (best) | s of a core | times as fast, median (best) | MB | loss |")
    print("| --- | --- | --- | --- | --- | --- |")
    peer = next(iter(told.values()))
    for name, every in told.items():
        middle, best, cpu, memory, loss = (
            median(every, "seconds"), least(every, "seconds"), median(every, "cpu"),
            median(every, "megabytes"), every[0]["loss"],
        )  # fmt: skip
        ratio = f"{median(peer, 'seconds') / middle:.1f}x ({least(peer, 'seconds') / best:.1f}x)"
        print(
            f"| {name} | {middle:.3f} ({best:.3f}) | {cpu:.3f} | {ratio} | {memory:.0f} | "
            f"{'-' if np.isnan(loss) else f'{loss:.3g}'} |"
        )
    left, right = (np.load(votes.parent / f"{side}.npy")[:, 1] for side in sides.values())
    print(
        f"\nP(keep) differs by {np.abs(left - right).mean():.2g} on average, {differ(left, right)} "
        f"of {len(left):,} rows fall on the other side of 0.5."
    )


def differ(left_N: NDArray[np.float64], right_N: NDArray[np.float64]) -> int:
    """Count decisions that differ; what is within rounding of 0.5 decides nothing."""
    sign = [np.sign(np.round(p_N - 0.5, 6)) for p_N in (left_N, right_N)]
    return int((sign[0] * sign[1] < 0).sum())


def whole_pool(at: Path, letter: str, rows: int, files: int, similar: int, rounds: int) -> None:
    """Write a pool of votes, then fit, predict and write p(keep); print the table."""
    folder = at / "votes"
    folder.mkdir(parents=True)
    for i, part in enumerate(np.array_split(np.arange(rows), files)):
        votes_NM = planted(len(part), rules=20, seed=i + 1, similar=similar)
        columns = {f"rule_{m}": votes_NM[:, m] for m in range(20)}
        pq.write_table(pa.table(columns), folder / f"{i:03d}.parquet")
    told = [
        job(sys.executable, "pool", folder, at / "p_keep", TRIPLET, PRIOR) for _ in range(rounds)
    ]
    megabytes = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    patterns = told[0]["patterns"]
    kept = f"{patterns:,.0f} distinct patterns" if patterns >= 0 else "too many patterns: moments"
    print(f"\n## {letter}. {rows:,} rows x 20 rules from {files} Parquet files; {kept}\n")
    print("Votes are counted, a triplet model fitted, p(keep) written, file by file.\n")
    print("| | s, median (best) |\n| --- | --- |")
    for name, key in {
        "read and count": "count", "fit": "fit", "read, predict and write": "predict",
        "all": "seconds", "of a core": "cpu",
    }.items():  # fmt: skip
        print(f"| {name} | {median(told, key):.2f} ({least(told, key):.2f}) |")
    written = sum(pq.read_metadata(path).num_rows for path in (at / "p_keep").iterdir())
    peak = max(t["peak"] for t in told)
    print(f"\nPeak {peak:,.0f} MB, {megabytes:.0f} MB read twice, {written:,} rows written.")


def job(python: str, side: str, votes: Path, result: Path, model: str, prior: float) -> Told:
    """Run one side in a process of its own and return what it tells."""
    env = {**os.environ}
    if python == sys.executable:
        env["PYTHONPATH"] = str(ROOT)
    command = [python, str(JOB), side, str(votes), str(result), model, str(prior)]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=ONE_JOB_S, check=False
    )
    if done.returncode:
        raise SystemExit(f"{side}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def median(told: list[Told], key: str) -> float:
    """Return the median of one figure."""
    return statistics.median(t[key] for t in told)


def least(told: list[Told], key: str) -> float:
    """Return the best of one figure."""
    return min(t[key] for t in told)


if __name__ == "__main__":
    main()
