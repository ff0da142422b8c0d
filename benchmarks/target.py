"""Matching captions with entries, negCLIPLoss and NormSim: speed, and how close batches rank.

    python benchmarks/target.py > benchmarks/results/DATE-target.md

Ratios are against the authors' way on the same input in the same run: MetaCLIP's loop over entries,
pyahocorasick (which later MetaCLIP code uses; `pip install pyahocorasick`, or its row is skipped),
one dense matrix of all cosines. Contestants take turns; best and median of the rounds are told.

Embeddings are planted: pictures and captions share what they are about, concepts have sizes by
Zipf's law, a tenth of the captions belongs to other pictures. The ranking is measured against the
paper's random batches, whose own noise another such run shows.
"""

import argparse
import math
import resource
import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np
from heading import heading
from numpy.typing import NDArray
from scipy.stats import rankdata

from filters.concepts.metaclip import Matcher, spaced
from filters.concepts.neg_clip_loss import neg_clip_loss
from filters.concepts.normsim import gram, normsim_2, normsim_inf
from filters.derive import NegClipLoss

TEMPERATURE, TOP = 0.01, 0.3
SETTINGS = ((32_768, 1), (8192, 5), (8192, 1), (2048, 5), (512, 5))  # batch, repetitions
NAIVE = 10  # captions that the loop over all entries gets


def main() -> None:
    args = arguments()
    print(f"# Entries, references, targets\n\n{heading('numpy on one thread if you set it so')}\n")
    matching(args)
    scoring(args)
    ranking(args)


def matching(args: argparse.Namespace) -> None:
    rng = np.random.default_rng(0)
    syllables = np.array([a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "un")])
    lengths = rng.integers(2, 5, args.entries // 2)
    words = list({"".join(rng.choice(syllables, n)) for n in lengths})
    entries = set(words)
    while len(entries) < args.entries:
        several = rng.integers(0, len(words), rng.integers(2, 4)).tolist()
        entries.add(" ".join(words[w] for w in several))
    frequent = (len(words) * rng.random((args.captions, 10)) ** 3).astype(int)
    captions = [" ".join(words[w] for w in row) for row in frequent]
    listed = sorted(entries)
    before, start = memory(), time.perf_counter()
    matcher = Matcher(listed)
    built, held = time.perf_counter() - start, memory() - before
    contestants: dict[str, tuple[Callable[[list[str]], int], int]] = {
        "ours": (lambda some: len(matcher.match(some)[0]), args.captions)
    }
    contestants |= pyahocorasick(listed, args.captions)
    padded = [f" {entry} " for entry in listed]
    contestants["loop over entries"] = (
        lambda some: sum(e in text for text in map(spaced, some) for e in padded), NAIVE,
    )  # fmt: skip
    agreed = {name: run(captions[:NAIVE]) for name, (run, _) in contestants.items()}
    assert len(set(agreed.values())) == 1, agreed
    times = turns({n: lambda r=r, c=c: r(captions[:c]) for n, (r, c) in contestants.items()}, args)
    print(f"\n## Captions of 10 words against {len(listed):,} entries\n")
    print(f"Built in {built:.1f} s, {held:.0f} MB.\n\n| | captions/s, best | median | ratio |")
    print("| --- | --- | --- | --- |")
    rates = {n: [contestants[n][1] / t for t in found] for n, found in times.items()}
    for name, found in rates.items():
        ratio = max(rates["ours"]) / max(found)
        print(f"| {name} | {max(found):,.0f} | {statistics.median(found):,.0f} | {ratio:,.2f} |")


def pyahocorasick(
    entries: list[str], captions: int
) -> dict[str, tuple[Callable[[list[str]], int], int]]:
    try:
        import ahocorasick
    except ImportError:
        return {}
    automaton = ahocorasick.Automaton(ahocorasick.STORE_INTS)
    for number, entry in enumerate(entries):
        automaton.add_word(f" {entry} ", number)
    automaton.make_automaton()

    def run(some: list[str]) -> int:
        return sum(len({e for _, e in automaton.iter(spaced(text))}) for text in some)

    return {"pyahocorasick": (run, captions)}


def scoring(args: argparse.Namespace) -> None:
    image, text = planted(4096, args.dim, seed=1)
    refer = {"reference_image_RD": image, "reference_text_RD": text, "excluded_N": np.arange(4096)}

    def dense() -> NDArray[np.float64]:
        scaled = image.astype(np.float64) @ text.astype(np.float64).T / TEMPERATURE
        most = [scaled.max(axis=a, keepdims=True) for a in (0, 1)]
        logs = [(np.log(np.exp(scaled - m).sum(axis=a)) + m.squeeze(a))
                for a, m in enumerate(most)]  # fmt: skip
        return TEMPERATURE * (scaled.diagonal() - sum(logs) / 2)

    def product() -> object:
        return image.astype(np.float32) @ text.astype(np.float32).T, text @ image.T[:, :1]

    off = np.abs(neg_clip_loss(image, text, **refer) - dense()).max()
    grams = gram(text)
    times = turns({
        "negCLIPLoss, ours": lambda: neg_clip_loss(image, text, **refer),
        "negCLIPLoss, dense float64": dense,
        "one float32 product of that size": product,
        "NormSim_2, by the D x D matrix": lambda: normsim_2(image, grams),
        "NormSim_inf": lambda: normsim_inf(image, text),
        "NormSim_2, by all cosines": lambda: np.linalg.norm(
            image.astype(np.float32) @ text.astype(np.float32).T, axis=1),
    }, args)  # fmt: skip
    print(f"\n## 4,096 pairs against 4,096, {args.dim} dimensions, float16\n")
    print(f"negCLIPLoss is at most {off:.1e} off the formula in float64.\n")
    print("| | best, ms | median, ms |\n| --- | --- | --- |")
    for name, found in times.items():
        print(f"| {name} | {1e3 * min(found):,.0f} | {1e3 * statistics.median(found):,.0f} |")


def ranking(args: argparse.Namespace) -> None:
    image, text = planted(args.pairs, args.dim, seed=2)
    paper, again = (random_batches(image, text, args, seed) for seed in (0, 1))
    cosine = (image.astype(np.float32) * text.astype(np.float32)).sum(axis=1)
    rows: dict[str, NDArray] = {f"random batches of {args.batch:,}, again": again}
    uid_N2 = np.stack([np.zeros(args.pairs, np.uint64), np.arange(args.pairs, dtype=np.uint64)], 1)
    columns = {"uid": uid_N2, "clip_image": image, "clip_text": text}
    seconds: dict[str, float] = {}
    for batch, repetitions in SETTINGS:
        if batch <= args.batch:
            what = NegClipLoss(batch=batch, repetitions=repetitions)
            name, start = f"ours, {batch:,} x {repetitions}", time.perf_counter()
            rows[name] = np.asarray(what.load({}, what.count(columns))(columns)["neg_clip_loss"])
            seconds[name] = time.perf_counter() - start
    rows["cosine"] = cosine
    print(f"\n## Ranking of {args.pairs:,} planted pairs, {args.dim} dimensions\n")
    print(f"Against random batches of {args.batch:,}, {args.repetitions} repetitions.\n")
    print("| | Spearman | of its best 30 %, also in theirs | pairs/s |\n| --- | --- | --- | --- |")
    for name, score in rows.items():
        correlation = np.corrcoef(rankdata(score), rankdata(paper))[0, 1]
        speed = f"{args.pairs / seconds[name]:,.0f}" if name in seconds else ""
        print(f"| {name} | {correlation:.4f} | {100 * shared(score, paper):.1f} % | {speed} |")


def random_batches(
    image: NDArray, text: NDArray, args: argparse.Namespace, seed: int
) -> NDArray[np.float64]:
    rng, score = np.random.default_rng(seed), np.zeros(len(image))
    for _ in range(args.repetitions):
        order = rng.permutation(len(image))
        for batch in np.split(order, range(args.batch, len(image), args.batch)):
            score[batch] += neg_clip_loss(
                image[batch], text[batch], reference_image_RD=image[batch],
                reference_text_RD=text[batch], excluded_N=np.arange(len(batch)),
            )  # fmt: skip
    return score


def shared(score: NDArray, paper: NDArray) -> float:
    most = math.ceil(TOP * len(score))
    best, theirs = (set(np.argsort(-s, kind="stable")[:most].tolist()) for s in (score, paper))
    return len(best & theirs) / most


def planted(pairs: int, dim: int, *, seed: int) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    rng = np.random.default_rng(seed)
    concept = rng.normal(size=(2000, dim))[np.minimum(rng.zipf(1.3, pairs), 2000) - 1]
    about = concept + rng.normal(size=(pairs, dim))
    towers = [rng.normal(size=dim) for _ in range(2)]  # the cones that CLIP's towers lie in
    vague = rng.uniform(0.8, 2.0, (2, pairs, 1))
    image, text = (
        about + cone + v * rng.normal(size=(pairs, dim))
        for cone, v in zip(towers, vague, strict=True)
    )
    wrong = rng.permutation(pairs)[: pairs // 10]
    text[wrong] = text[np.roll(wrong, 1)]
    image, text = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image, text))
    return image.astype(np.float16), text.astype(np.float16)


def turns(
    contestants: Mapping[str, Callable[[], object]], args: argparse.Namespace
) -> dict[str, list[float]]:
    """Let everyone run in every round; return their seconds."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(args.rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=500_000)
    parser.add_argument("--captions", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=65_536)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32_768, help="of the random batches")
    parser.add_argument("--repetitions", type=int, default=2, help="of the random batches")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
