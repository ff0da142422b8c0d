"""`thresher evaluate`: a checkpoint judged on held-out shards; also under torchrun."""

import json
from typing import Annotated

import typer

from pipeline.folder import Folder


def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="Folder with an open_clip checkpoint.")],
    data: Annotated[list[str], typer.Option(help="Held-out shards, repeatable.")],
    tasks: Annotated[str, typer.Option()] = "zeroshot:category,retrieval",
    ignore_classes: Annotated[
        str, typer.Option(help="No classes, though the field says so; separated by commas.")
    ] = "",
    out: Annotated[str | None, typer.Option(help="Write eval_results.jsonl here.")] = None,
) -> None:
    """Zero-shot classification and retrieval, in DataComp's results format.

    Example: thresher evaluate runs/demo/train/subset-*/checkpoint --data runs/demo/pool/heldout
    """
    from training.evaluation.evaluate import evaluate as judge
    from training.evaluation.evaluate import heldout_of, write_results
    from training.runs.torchrun import joined

    names = tuple(tasks.split(","))
    ignored = tuple(name for name in ignore_classes.split(",") if name)
    heldout = heldout_of(data, names)
    with joined() as here:
        records = judge(
            Folder(checkpoint), heldout, tasks=names, ignore_classes=ignored, ranks=here.ranks
        )
        for record in records:
            typer.echo(json.dumps(record))  # of the first rank only
        if out is not None and here.ranks.is_first:
            write_results(out, records)
