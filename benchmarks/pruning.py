"""What does each way of pruning bring? Equal pairs, equal samples seen, held-out pictures, seeds.

    thresher pool build openclipart --out runs/demo/pool --limit 4000 --plant 0
    python benchmarks/pruning.py --pool runs/demo/pool --out runs/pruning --seeds 0 1 2

`configs/dbp.toml` says how many pairs are kept; every other row is the same pool, cut to as many.
Scores are shared; each seed fits its own alignment and clusters, and trains from its own weights.
Writes a Markdown table to standard output.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from heading import heading
from subset_vs_random import METRICS, spread

CONFIG = Path(__file__).parents[1] / "configs" / "dbp.toml"
NO_FILTER = ['ensemble.rank_by=""', "ensemble.budget=0.0", "ensemble.keep_above=0.0"]
NO_DEDUP = ["dedup.first=false", "dedup.keep=0.0"]
AT_RANDOM = ['concepts.by="size"', 'concepts.which="random"']
DEDUP, SCORE = "SemDeDup only", "score of picture and caption only"
METHODS = {  # overrides of the config; what is left above the wanted number goes at random
    "DBP: dedup, score, complexity": [],
    "SSP instead of complexity": ['concepts.by="ssp"'],
    "random instead of complexity": AT_RANDOM,
    SCORE: [*NO_DEDUP, "concepts.keep=1.0"],
    DEDUP: [*NO_FILTER, *AT_RANDOM],
}
RANDOM = "random pairs"


def main() -> None:
    """Run methods and seeds, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pool", type=Path, default=Path("runs/demo/pool"))
    parser.add_argument("--out", type=Path, default=Path("runs/pruning"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    found: dict[str, list[dict]] = {name: [] for name in (*METHODS, RANDOM)}
    for seed in arguments.seeds:
        pairs = 0
        for name, sets in METHODS.items():
            summary = train(arguments, seed, [*sets, *to_number(arguments, seed, name, pairs)])
            pairs = pairs or summary["pairs_kept"]
            assert summary["pairs_kept"] == pairs, (name, summary["pairs_kept"], pairs)
            found[name].append(summary["zero_shot"]["subset"])
        found[RANDOM].append(summary["zero_shot"]["random"])
    print(heading(f"seeds {arguments.seeds}, mean and (smallest to largest) over seeds") + "\n")
    print(f"{pairs} of {summary['pairs_in']} pairs in every row (last seed).\n")
    print(f"| metric | {' | '.join(found)} |\n|{' --- |' * (len(found) + 1)}")
    for metric in METRICS:
        cells = [spread([results[metric] for results in each]) for each in found.values()]
        print(f"| {metric} | {' | '.join(cells)} |")


def to_number(arguments: argparse.Namespace, seed: int, name: str, pairs: int) -> list[str]:
    """Return the settings that cut a method to so many pairs."""
    if name == SCORE:
        return [f"ensemble.budget={pairs}"]
    if name != DEDUP:
        return []
    total = curate(arguments, seed, [*METHODS[name], "concepts.keep=1.0"])["pairs_in"]
    share = f"dedup.keep={pairs / total + 0.01:.4f}"  # ties at the cut may cost a pair or two
    left = curate(arguments, seed, [*METHODS[name], share, "concepts.keep=1.0"])["pairs_kept"]
    return [share, f"concepts.keep={(pairs + 0.5) / left:.8f}"]


def train(arguments: argparse.Namespace, seed: int, sets: list[str]) -> dict:
    """Train on the subset of a config and on as many random pairs; return the run's summary."""
    return run("train", arguments, seed, sets)


def curate(arguments: argparse.Namespace, seed: int, sets: list[str]) -> dict:
    """Make the subset of a config; return the run's summary."""
    return run("curate", arguments, seed, sets)


def run(verb: str, arguments: argparse.Namespace, seed: int, sets: list[str]) -> dict:
    """Call the command line; return the summary of the run folder."""
    pool = arguments.pool
    where = [
        f"seed={seed}", f'data.shards=["{pool / "pool"}"]', f'data.heldout=["{pool / "heldout"}"]',
        f'data.truth="{pool / "truth.parquet"}"',
    ]  # fmt: skip
    flags = [part for override in [*where, *sets] for part in ("--set", override)]
    command = [sys.executable, "-m", "thresher", verb, str(CONFIG), "--out", str(arguments.out)]
    subprocess.run([*command, *flags], check=True, stdout=sys.stderr)
    return json.loads((arguments.out / "summary.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
