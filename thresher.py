"""Thresher's front door: the whole story on one screen, and the command line.

shards -> scores -> votes -> p(keep) -> concepts -> subset -> encoder -> zero-shot -> student
"""

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
from pipeline.plan import plan as run_plan
from pipeline.progress import progress_bar
from pipeline.shards import list_shards
from pipeline.summary import headline, summarise, summarise_training
from pipeline.weights import model_file
from training.alignment.fit import Alignment
from training.evaluation.command import evaluate
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
        check_request(cfg, folder, until=until)
        folder.write("config.toml", dump_config(cfg).encode())
        with execute:
            if cfg.curates:
                curated.append(curate_pool(cfg, folder, execute=execute, clock=clock))
            if until != "curate" and cfg.train is not None:
                from training.shown import shown_of

                return shown_of(
                    cfg, cfg.train, [one.decisions.scores for one in curated], out=folder,
                    execute=execute,
                )  # fmt: skip
        return None

    with joined(cfg.train.device if cfg.train else "cpu") as here:
        shown = here.once(prepare)
        more: dict[str, Any] = {}
        if shown is not None:
            from training.trials import train_and_judge

            more = train_and_judge(
                cfg, shown, here=here, address=ray, out=folder, clock=clock,
                watched=watched_steps, until=until,
            )  # fmt: skip
        return here.first(lambda: conclude(cfg, curated, more, out=folder, clock=clock)) or {}


def curate_pool(cfg: Run, out: Folder, *, execute: Executor, clock: Clock) -> Curated:
    """Score, vote, ensemble, prune and balance; the subset is in `out/subset`."""
    with progress_bar("score") as bar:
        return curate(
            cfg, run=out, alignment=cfg.alignment, weights=model_file, execute=execute,
            progress=bar.shards, clock=clock,
        )  # fmt: skip


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

Config = Annotated[str, typer.Argument(help="A TOML file of configs/, or your own.")]
RunFolder = Annotated[str, typer.Argument(help="The folder of a run.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Override: a.b=c, repeatable.")]
Out = Annotated[str | None, typer.Option(help="Run folder; default runs/<name of the config>.")]
Errors = Annotated[str, typer.Option(help="Reason codes, separated by commas.")]
Nulls = Annotated[str, typer.Option(help="Columns without a value, separated by commas.")]
Ray = Annotated[str, typer.Option(help="off, local, auto, or the address of a Ray cluster.")]


def _run(config: str, sets: list[str] | None, out: str | None, ray: str, until: str) -> None:
    cfg = load_run(config, overrides=sets or [])
    out = out or f"runs/{Path(config).stem}"
    summary = run(cfg, out=out, execute=executor(ray), ray=ray, until=until)
    if not summary:  # one of torchrun's ranks, but not the first
        return
    if told := headline(summary):
        print(told)
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
        from training.plan import plan_of

        print(plan_of(cfg.train))
    if cfg.distill is not None:
        print(f"distill {cfg.distill.samples_seen} samples, {cfg.distill.model}")


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


# The other commands know no run as a whole.
app.command()(evaluate)
add_commands(app, Alignment)
app.add_typer(head_app, name="head")


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
