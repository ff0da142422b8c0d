"""Thresher's front door: the whole story on one screen, and the command line.

shards -> scores -> votes -> p(keep) -> concepts -> subset -> encoder -> zero-shot -> student
"""

import json
import logging
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline import health
from pipeline.commands import add_commands
from pipeline.config import dump_config
from pipeline.deciding.subset import pairs_of, read_subset
from pipeline.executors import Executor, executor
from pipeline.flow import Clock, Curated, check, curate
from pipeline.folder import Folder
from pipeline.pairs import pairs_from_shards, select
from pipeline.plan import plan as run_plan
from pipeline.progress import progress_bar
from pipeline.shards import list_shards
from pipeline.summary import headline, summarise
from pipeline.weights import model_file
from training.alignment.fit import Alignment
from training.config import Train
from training.heads.command import head_app
from training.run import Run, check_request, load_run

HERE = Path(__file__).parent


def run(cfg: Run, *, out: str | Path, execute: Executor, until: str = "report") -> dict[str, Any]:
    """Curate, train, evaluate, distill, report; what is done already is not done again."""
    folder, clock = Folder(str(out)), Clock()
    check_request(cfg, folder)
    folder.write("config.toml", dump_config(cfg).encode())
    with progress_bar("score") as bar, execute:
        curated = curate(
            cfg, run=folder, alignment=cfg.alignment, weights=model_file, execute=execute,
            progress=bar.shards, clock=clock,
        )  # fmt: skip
    more: dict[str, Any] = {}
    if until != "curate" and cfg.train is not None:
        from training.trials import judge

        runs = train_encoders(cfg, cfg.train, curated, out=folder, clock=clock, until=until)
        with clock.stage("evaluate"):
            results = judge(cfg.evaluate, runs, cfg.data.heldout, out=folder / "eval")
        places = {k: v.url.removeprefix(folder.url).lstrip("/") for k, v in runs.items()}
        more = {"runs": places, "zero_shot": results}
    summary = summarise(folder, curated, cfg=cfg, more=more, clock=clock)
    from pipeline.report import write_report

    with clock.stage("report"):
        write_report(folder, curated.scores)
    return summary


def train_encoders(
    cfg: Run, train: Train, curated: Curated, *, out: Folder, clock: Clock, until: str
) -> dict[str, Folder]:
    """Train on the subset and on as many random pairs, then teach a student; name -> folder."""
    from training.trials import teach_student, train_on_random, train_on_subset

    pool = pairs_of(curated.decisions.scores)
    subset, seed = read_subset(out / "subset"), cfg.seed
    runs: dict[str, Folder] = {}
    with clock.stage("train subset"), progress_bar("train on subset") as bar:
        runs["subset"] = train_on_subset(
            train, pool, subset, out=out / "train", seed=seed, on_step=bar.step
        )
    with clock.stage("train random"), progress_bar("train on random pairs") as bar:
        runs["random"] = train_on_random(
            train, pool, pairs=len(subset), out=out / "train", seed=seed, on_step=bar.step
        )
    if until != "train" and cfg.distill is not None:
        shown = select(pool, subset)
        with clock.stage("distill"), progress_bar("teach the student") as bar:
            runs["student"] = teach_student(
                cfg.distill, runs["subset"], shown, out=out / "student", seed=seed, on_step=bar.step
            )
    return runs


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
    summary = run(cfg, out=out, execute=executor(ray), until=until)
    print(headline(summary))
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
    """Shards to encoder: curate if need be, train on the subset and on random pairs, evaluate.

    Example: thresher train configs/demo.toml --set train.samples_seen=50000
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
    """What a run would do; runs nothing and opens no shard.

    Example: thresher plan configs/demo.toml
    """
    cfg, folder = load_run(config, overrides=sets or []), Folder(out or f"runs/{Path(config).stem}")
    relations = (cfg.alignment, cfg.consensus)
    check(cfg, relations, model_file)
    todo = run_plan(cfg, relations, run=folder, weights=model_file)
    shards, derived, rules = len(list_shards(cfg.data.shards)), len(cfg.derive), len(cfg.rules)
    print(f"{shards} shards, {derived} derived columns, {rules} rules, run {folder.url}")
    print(todo)
    for name, part in (("train", cfg.train), ("distill", cfg.distill)):
        if part is not None:
            print(f"{name:6} {part.samples_seen} samples, {part.model}")


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
    from training.trials import write_results

    names = tuple(tasks.split(","))
    fields = [name.partition(":")[2] for name in names if ":" in name]
    heldout = pairs_from_shards(list_shards(data), fields=fields)
    records = judge(Folder(checkpoint), heldout, tasks=names)
    for record in records:
        print(json.dumps(record))
    if out is not None:
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
    logging.getLogger("pipeline").setLevel(logging.WARNING)
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
