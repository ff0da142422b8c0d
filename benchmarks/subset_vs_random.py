"""Is the demo's subset worth its compute? Against as many random pairs, equal samples, seeds.

    python benchmarks/subset_vs_random.py --pool runs/demo/pool --out runs/seeds --seeds 0 1 2

Every seed fits its own alignment, makes its own subset, draws its own random pairs and trains both
from its own weights; scores are shared. Writes a Markdown table to standard output.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from heading import heading

METRICS = (
    "zeroshot:category/acc1", "zeroshot:category/acc5", "zeroshot:category/mean_per_class_recall",
    "retrieval/image_retrieval_recall@1", "retrieval/image_retrieval_recall@5",
    "retrieval/text_retrieval_recall@1", "retrieval/text_retrieval_recall@5",
)  # fmt: skip
CONFIG = Path(__file__).parents[1] / "configs" / "demo.toml"


def main() -> None:
    """Run the seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pool", type=Path, default=Path("runs/demo/pool"))
    parser.add_argument("--out", type=Path, default=Path("runs/seeds"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", dest="sets", action="append", default=[])
    arguments = parser.parse_args()
    found = [one_seed(arguments, seed) for seed in arguments.seeds]
    print(heading(f"seeds {arguments.seeds}, mean and (smallest to largest) over seeds") + "\n")
    print("| metric | subset | random pairs | difference |\n| --- | --- | --- | --- |")
    for metric in METRICS:
        print(row(metric, found))
    kept = [f["pairs_kept"] for f in found]
    print(f"\nPairs kept of {found[0]['pairs_in']}: {', '.join(map(str, kept))}.")


def one_seed(arguments: argparse.Namespace, seed: int) -> dict:
    """Train both encoders of a seed; return the run's summary."""
    pool = arguments.pool
    sets = [
        f"seed={seed}", f'data.shards=["{pool / "pool"}"]', f'data.heldout=["{pool / "heldout"}"]',
        f'data.truth="{pool / "truth.parquet"}"', *arguments.sets,
    ]  # fmt: skip
    flags = [part for override in sets for part in ("--set", override)]
    command = [sys.executable, "-m", "thresher", "train", str(CONFIG), "--out", str(arguments.out)]
    subprocess.run([*command, *flags], check=True, stdout=sys.stderr)
    return json.loads((arguments.out / "summary.json").read_text(encoding="utf-8"))


def row(metric: str, found: list[dict]) -> str:
    """Format one metric over the seeds."""
    subset, random = (
        [f["zero_shot"][name][metric] for f in found] for name in ("subset", "random")
    )
    difference = [a - b for a, b in zip(subset, random, strict=True)]
    return f"| {metric} | {spread(subset)} | {spread(random)} | {spread(difference, sign='+')} |"


def spread(values: list[float], sign: str = "") -> str:
    """Format mean and range."""
    low, high = min(values), max(values)
    return f"{statistics.mean(values):{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


if __name__ == "__main__":
    main()
