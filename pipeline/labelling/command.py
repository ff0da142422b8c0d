"""`thresher label`: a page on this machine to label a few pairs of a run."""

from typing import Annotated

import typer

RunFolder = Annotated[str, typer.Argument(help="The folder of a curated run.")]


def label(
    folder: RunFolder,
    count: Annotated[int, typer.Option(min=1, help="Pairs to label.")] = 200,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any that is free.")] = 0,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the random half.")] = 0,
    out: Annotated[str, typer.Option(help="File; default labels.parquet in the run.")] = "",
) -> None:
    """Label pairs by eye, one at a time, in a browser on this machine; Ctrl-C ends it.

    Half are random, so that shares among them hold for the pool, half are those that the rules are
    least sure of. Every answer is saved at once; started again, it goes on where it was.

    Example: thresher label runs/demo --count 200
    """
    from pipeline.labelling.sitting import begin, next_step, serve, told

    sitting = begin(folder, count=count, seed=seed, out=out, port=port)
    typer.echo(f"open {sitting.url} (this machine only; Ctrl-C ends it)")
    serve(sitting)
    typer.echo(told(sitting.show.session))
    typer.echo(next_step(folder, sitting.show.session), nl=False)
