"""Thresher's front door: the whole story on one screen, and the command line.

shards -> scores -> votes -> p(keep) -> concepts -> subset -> encoder -> zero-shot -> student
"""

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline import health
from pipeline.commands import add_commands
from pipeline.config import dump_config
from pipeline.executors import Executor, executor
from pipeline.flow import Clock, Curated, check, curate
from pipeline.folder import Folder
from pipeline.pairs import pairs_from_shards
from pipeline.plan import plan as run_plan
from pipeline.progress import progress_bar
from pipeline.shards import list_shards
from pipeline.summary import headline, summarise, summarise_training
from pipeline.weights import model_file
from training.alignment.fit import Alignment
from training.config import Train
from training.heads.command import head_app
from training.run import Run, check_request, load_run

HERE = Path(__file__).parent


def run(
    cfg: Run, *, out: str | Path, execute: Executor, ray: str = "off", until: str = "report"
) -> dict[str, Any]:
    """Curate, train, evaluate, distill, report; what is done already is not done again.

    Under torchrun all ranks come here; the first does alone what is done once.

    Args:
        cfg: The run.
        out: Its folder.
        execute: Where pairs are scored and chosen.
        ray: Address of the cluster for training with `workers`.
        until: The last stretch: `curate`, `train`, `distill` or `report`.

    Returns:
        The summary; empty on all ranks but the first.
    """
    from training.runs.torchrun import joined

    folder, clock = Folder(str(out)), Clock()
    curated: list[Curated] = []

    def prepare() -> Any:
        check_request(cfg, folder)
        folder.write("config.toml", dump_config(cfg).encode())
        with execute:
            if cfg.curates:
                curated.append(curate_pool(cfg, folder, execute=execute, clock=clock))
            if until != "curate" and cfg.train is not None:
                return show_pairs(cfg, cfg.train, curated, out=folder, execute=execute)
        return None

    with joined(cfg.train.device if cfg.train else "cpu") as here:
        shown = here.once(prepare)
        more: dict[str, Any] = {}
        if shown is not None:
            more = train_encoders(
                cfg, shown, here=here, ray=ray, out=folder, clock=clock, until=until
            )
        return here.first(lambda: conclude(cfg, curated, more, out=folder, clock=clock)) or {}


def curate_pool(cfg: Run, out: Folder, *, execute: Executor, clock: Clock) -> Curated:
    """Score, vote, ensemble, prune and balance; the subset is in `out/subset`."""
    with progress_bar("score") as bar:
        return curate(
            cfg, run=out, alignment=cfg.alignment, weights=model_file, execute=execute,
            progress=bar.shards, clock=clock,
        )  # fmt: skip


def show_pairs(
    cfg: Run, train: Train, curated: Sequence[Curated], *, out: Folder, execute: Executor
) -> Any:
    """Index what the encoders are shown: what was curated, or the shards as they are."""
    from training.shown import shown_of_scores, shown_of_shards

    home = out / "train"
    for one in curated:
        subset = (out / "subset").path("subset.npy")
        return shown_of_scores(
            train, one.decisions.scores, subset=subset, seed=cfg.seed, home=home, execute=execute
        )
    return shown_of_shards(train, cfg.data.shards, home=home, execute=execute)


def train_encoders(
    cfg: Run, shown: Any, *, here: Any, ray: str, out: Folder, clock: Clock, until: str
) -> dict[str, Any]:
    """Train, teach a student, and judge all of them; return what the summary has of it."""
    from training.trials import Trials, exam_of, judge

    exam = exam_of(cfg.evaluate, cfg.data.heldout)
    trials = Trials(
        out=out, seed=cfg.seed, here=here, address=ray, exam=exam, watched=watched_steps
    )
    assert cfg.train is not None
    with clock.stage("train"):
        runs = trials.train(cfg.train, shown)
    if until != "train" and cfg.distill is not None:
        with clock.stage("distill"):
            runs["student"] = trials.teach(cfg.distill, runs["subset"], shown.subset)
    with clock.stage("evaluate"):
        results = judge(exam, runs, out=out / "eval", ranks=here.ranks) if exam else {}
    places = {k: v.url.removeprefix(out.url).lstrip("/") for k, v in runs.items()}
    return {"runs": places, "zero_shot": results}


@contextmanager
def watched_steps(title: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show the steps of a run while a `with` block trains."""
    with progress_bar(title) as bar:
        yield bar.step


def conclude(
    cfg: Run, curated: Sequence[Curated], more: dict[str, Any], *, out: Folder, clock: Clock
) -> dict[str, Any]:
    """Write the summary and, of a pool that was curated, the report."""
    for one in curated:
        summary = summarise(out, one, cfg=cfg, more=more, clock=clock)
        from pipeline.report import write_report

        with clock.stage("report"):
            write_report(out, one.scores)
        return summary
    return summarise_training(out, more=more, clock=clock)


app = typer.Typer(
    name="thresher", no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Curate image-text shards on Ray, then pretrain encoders on what is left.",
)  # fmt: skip
add_commands(app, Alignment)
app.add_typer(head_app, name="head")

Config = Annotated[str, typer.Argument(help="A TOML file of configs/, or your own.")]
RunFolder = Annotated[str, typer.Argument(help="The folder of a run.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Override: a.b=c, repeatable.")]
Out = Annotated[str | None, typer.Option(help="Run folder; default runs/<name of the config>.")]
Repair = Annotated[bool, typer.Option(help="Have the next run make what is wrong again.")]
Errors = Annotated[str, typer.Option(help="Reason codes, separated by commas.")]
Nulls = Annotated[str, typer.Option(help="Columns without a value, separated by commas.")]
Ray = Annotated[str, typer.Option(help="off, local, auto, or the address of a Ray cluster.")]


def _run(config: str, sets: list[str] | None, out: str | None, ray: str, until: str) -> None:
    cfg = load_run(config, overrides=sets or [])
    out = out or f"runs/{Path(config).stem}"
    summary = run(cfg, out=out, execute=executor(ray), ray=ray, until=until)
    if not summary:  # one of torchrun's ranks, but not the first
        return
    print(headline(summary))
    for name, folder in summary.get("runs", {}).items():
        print(f"{name}: {Folder(out).path(folder)}/checkpoint")
    if cfg.curates:
        print(f"report: {(Folder(out) / 'report').path('index.html')}")


@app.command("run")
def run_command(config: Config, sets: Sets = None, out: Out = None, ray: Ray = "local") -> None:
    """Everything in the config, from shards to report.

    Example: thresher run configs/demo.toml --set concepts.keep=0.9 --ray local
    """
    _run(config, sets, out, ray, "report")


@app.command("curate")
def curate_command(config: Config, sets: Sets = None, out: Out = None, ray: Ray = "local") -> None:
    """Shards to subset; a changed threshold reads no pixel.

    Example: thresher curate configs/demo.toml --set ensemble.keep_above=0.6
    """
    _run(config, sets, out, ray, "curate")


@app.command("train")
def train_command(config: Config, sets: Sets = None, out: Out = None, ray: Ray = "local") -> None:
    """Shards to encoder: curate if the config says how, train, evaluate.

    A config without [[extract]] trains on the shards as they are, or on train.sampling.subset.
    The ranks are this process, those of torchrun (with --ray off), or train.workers of Ray.

    Example: thresher train configs/pretrain/cpu-small.toml --set train.samples_seen=50000
    """
    _run(config, sets, out, ray, "train")


@app.command("distill")
def distill_command(config: Config, sets: Sets = None, out: Out = None, ray: Ray = "local") -> None:
    """Shards to student: everything before it if need be, then distillation and its evaluation.

    Example: thresher distill configs/demo.toml
    """
    _run(config, sets, out, ray, "distill")


@app.command()
def demo(
    out: Annotated[str, typer.Option(help="Run folder.")] = "runs/demo",
    ray: Ray = "local",
    limit: Annotated[int, typer.Option(help="Pairs in the pool.")] = 4000,
    sets: Sets = None,
) -> None:
    """The main job on the embedded pool: real pictures, real captions, report at the end.

    Example: thresher demo --out runs/demo
    """
    from pipeline.pools.build import build_pool

    pool = build_pool("openclipart", out=Folder(out) / "pool", limit=limit, plant=0)
    where = [
        f'data.shards=["{pool.pool}"]', f'data.heldout=["{pool.heldout}"]',
        f'data.truth="{pool.truth}"',
    ]  # fmt: skip
    _run(str(HERE / "configs" / "demo.toml"), [*where, *(sets or [])], out, ray, "report")


@app.command()
def plan(config: Config, sets: Sets = None, out: Out = None) -> None:
    """What a run would do, and what training costs; runs nothing and opens no shard.

    Example: thresher plan configs/demo.toml
    """
    cfg, folder = load_run(config, overrides=sets or []), Folder(out or f"runs/{Path(config).stem}")
    if cfg.curates:
        relations = (cfg.alignment, cfg.consensus)
        check(cfg, relations, model_file)
        todo = run_plan(cfg, relations, run=folder, weights=model_file)
        shards, derived, rules = len(list_shards(cfg.data.shards)), len(cfg.derive), len(cfg.rules)
        print(f"{shards} shards, {derived} derived columns, {rules} rules, run {folder.url}")
        print(todo)
    if cfg.train is not None:
        from training.plan import plan_training

        print(plan_training(cfg.train, pairs=None))
    if cfg.distill is not None:
        print(f"distill {cfg.distill.samples_seen} samples, {cfg.distill.model}")


@app.command()
def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="Folder with an open_clip checkpoint.")],
    data: Annotated[list[str], typer.Option(help="Held-out shards, repeatable.")],
    tasks: Annotated[str, typer.Option()] = "zeroshot:category,retrieval",
    out: Annotated[str | None, typer.Option(help="Write eval_results.jsonl here.")] = None,
) -> None:
    """Zero-shot classification and retrieval, in DataComp's results format.

    Example: thresher evaluate runs/demo/train/subset-*/checkpoint --data runs/demo/pool/heldout
    """
    from training.evaluation.evaluate import evaluate as judge
    from training.runs.torchrun import joined
    from training.trials import write_results

    names = tuple(tasks.split(","))
    fields = [name.partition(":")[2] for name in names if ":" in name]
    heldout = pairs_from_shards(list_shards(data), fields=fields)
    with joined() as here:
        records = judge(Folder(checkpoint), heldout, tasks=names, ranks=here.ranks)
        for record in records:
            print(json.dumps(record))  # of the first rank only
        if out is not None and here.ranks.is_first:
            write_results(out, records)


@app.command()
def status(folder: RunFolder) -> None:
    """Progress and errors of a run, from its ledger.

    Example: thresher status runs/demo
    """
    for stage in health.status(Folder(folder)):
        print(stage)


@app.command()
def verify(folder: RunFolder, repair: Repair = False) -> None:
    """Check digests and row counts of everything a run wrote; exit code 1 if something differs.

    Example: thresher verify runs/demo --repair
    """
    defects = list(health.verify(Folder(folder)))
    for defect, _ in defects:
        print(defect)
    if repair:
        health.strike(Folder(folder), [record for _, record in defects if record])
    if defects:
        raise typer.Exit(1)
    print("all tables are what the ledger says")


@app.command()
def retry(folder: RunFolder, errors: Errors = "", nulls: Nulls = "", ray: Ray = "local") -> None:
    """Score shards again that have rows with these errors, or without a value; then decide anew.

    Example: thresher retry runs/demo --errors=unreadable,timeout
    """
    where = Folder(folder)
    records = health.to_retry(where, errors=errors, nulls=nulls)
    health.strike(where, records)
    print(f"{len(records)} tables are made again")
    _run(where.path("config.toml"), [], folder, ray, "curate")


@app.command()
def report(folder: RunFolder) -> None:
    """Render the report of a run again.

    Example: thresher report runs/demo
    """
    from pipeline.report import write_report

    print(write_report(Folder(folder), health.scores_of(Folder(folder))))


def main() -> None:
    """Run the command line: 0 done, 1 the run failed, 2 the request was wrong."""
    code = _exit_code()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)  # threads of native libraries now and then abort a process that ends otherwise


def _exit_code() -> int:
    logging.basicConfig(level=logging.ERROR, format="%(name)s: %(message)s")
    for room in ("pipeline", "training"):
        logging.getLogger(room).setLevel(logging.WARNING)
    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except ValueError as error:
        print(f"thresher: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        if os.environ.get("THRESHER_DEBUG"):
            traceback.print_exc()
        what = str(error).strip().splitlines() or [""]
        kind = "" if isinstance(error, (RuntimeError, OSError)) else f"{type(error).__name__}: "
        print(f"thresher: {kind}{what[0]} (THRESHER_DEBUG=1 shows where)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    main()
