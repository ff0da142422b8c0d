"""Commands over what the pipeline knows; the front door adds them to its own."""

import posixpath
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import health
from pipeline.cuts.command import cuts
from pipeline.folder import Folder
from pipeline.labelling.command import label
from pipeline.pools.command import pool_app
from pipeline.relating.relation import Relation

RunFolder = Annotated[str, typer.Argument(help="The folder of a curated run.")]
Repair = Annotated[bool, typer.Option(help="Have the next run make what is wrong again.")]
LabelFile = Annotated[str, typer.Option("--labels", help="Parquet with uid and label, 1 or 0.")]
JsonFile = Annotated[str, typer.Option("--json", help="Write everything here too.")]
Extractors = Annotated[bool, typer.Option(help="What writes columns, and the columns, instead.")]


def add_commands(app: typer.Typer, *relations: type[Relation]) -> None:
    """Add what the pipeline knows to the front door; relations are those that only it knows."""
    app.add_typer(pool_app, name="pool")
    app.add_typer(filters_app(*relations), name="filters")
    for command in (label, status, verify, report):
        app.command()(command)


def status(folder: RunFolder) -> None:
    """Progress and errors of a run, from its ledger.

    Example: thresher status runs/demo
    """
    for stage in health.status(Folder(folder)):
        typer.echo(stage)


def verify(folder: RunFolder, repair: Repair = False) -> None:
    """Check digests and row counts of everything a run wrote; exit code 1 if something differs.

    Example: thresher verify runs/demo --repair
    """
    defects = list(health.verify(Folder(folder)))
    for defect, _ in defects:
        typer.echo(defect)
    if repair:
        health.strike(Folder(folder), [record for _, record in defects if record])
    if defects:
        raise typer.Exit(1)
    typer.echo("all tables are what the ledger says")


def report(folder: RunFolder) -> None:
    """Render the report of a run again.

    Example: thresher report runs/demo
    """
    from pipeline.report import write_report

    typer.echo(write_report(Folder(folder), health.scores_of(Folder(folder))))


def filters_app(*relations: type[Relation]) -> typer.Typer:
    """Return `thresher filters`; relations are those that the front door knows."""
    app = typer.Typer(no_args_is_help=True, help="What can be scored, and what can be voted on it.")

    @app.callback()
    def filters() -> None:
        """What can be scored, and what can be voted on it."""

    @app.command("list")
    def list_filters(extractors: Extractors = False) -> None:
        """Every rule with the columns it reads, what they cost, its defaults and its source.

        Example: thresher filters list --extractors
        """
        from pipeline.catalogue import rules, writers

        known = writers(relations)
        if extractors:
            heads = ("kind", "cost", "column", "dtype", "unit", "range", "meaning")
            rows = [
                (w.kind, w.cost, c.name, c.dtype, c.unit, c.range, c.meaning)
                for w in known
                for c in w.columns
            ]
            rows += [(w.kind, w.cost, "", "", "", "", w.does) for w in known if not w.columns]
        else:
            heads = ("rule", "does", "columns", "cost", "defaults", "source")
            rows = [
                (r.kind, r.does, ", ".join(r.columns), r.cost, r.defaults, r.source)
                for r in rules(known)
            ]
        print_table(heads, rows)

    app.command("analyze")(analyze)
    app.command("cuts")(cuts)
    app.command("wrench")(wrench)
    return app


def analyze(folder: RunFolder, labels: LabelFile = "", json: JsonFile = "") -> None:
    """What the votes of a run say of its rules, from stored votes and the label model.

    Coverage, overlaps, conflicts, agreement, what the model learned; with labels (by default those
    of `thresher label`) how often each rule is right.

    Example: thresher filters analyze runs/demo --json analysis.json
    """
    from pipeline.voted import analyse_run
    from pipeline.voted_tables import listings, to_json

    voted = analyse_run(Folder(folder), labels=labels)
    for number, listing in enumerate(listings(voted)):
        if number:
            typer.echo()
        typer.echo(f"# {listing.title}")
        print_table(listing.heads, listing.rows)
    if json:
        inside, name = posixpath.split(json)
        Folder(inside or ".").write(name, to_json(voted).encode())


def wrench(
    folder: Annotated[str, typer.Argument(help="Data set in WRENCH's layout.")],
    model: Annotated[list[str] | None, typer.Option(help="Kind; all without it.")] = None,
) -> None:
    """Accuracy and F1 of label models on a data set of the WRENCH benchmark, train to test.

    Example: thresher filters wrench youtube --model dawid_skene --model majority
    """
    from pipeline.wrench import measure

    rows = [
        (f.model, *(("", "") if f.why_not else (f"{f.accuracy:.4f}", f"{f.f1:.4f}")), f.why_not)
        for f in measure(Folder(folder), model or ())
    ]
    print_table(("model", "accuracy", "F1", "why not"), rows)


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that fits the terminal; elsewhere lines of cells with tabs between them."""
    console = Console()
    if not console.is_terminal:
        for row in (heads, *rows):
            typer.echo("\t".join(row))
        return
    table = Table(*heads, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
