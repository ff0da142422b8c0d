"""`thresher head`: fit what reads stored columns, from labels of a few pairs."""

from typing import Annotated

import typer

from pipeline.folder import Folder
from pipeline.health import scores_of
from pipeline.staging import split_url

head_app = typer.Typer(no_args_is_help=True, help="Heads on stored columns, from a few labels.")

RunFolder = Annotated[str, typer.Argument(help="The folder of a run.")]
LabelFile = Annotated[str, typer.Option("--labels", help="Parquet with uid and a target column.")]
Target = Annotated[str, typer.Option(help="Column of 0 and 1, or of any numbers.")]


@head_app.command("train")
def head_train(
    folder: RunFolder,
    labels: LabelFile,
    out: Annotated[str, typer.Option(help="File to write, .safetensors.")],
    target: Target = "label",
    column: Annotated[str, typer.Option(help="Embedding; stage_embedding with --stages.")] = "",
    hidden: Annotated[int, typer.Option(min=0, help="Units of a hidden layer.")] = 0,
    stages: Annotated[bool, typer.Option("--stages", help="Weigh the tower's stages.")] = False,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Fit a head on an embedding of a run; [[derive]] kind = "head" applies it.

    Example: thresher head train runs/demo --labels labels.parquet --out quality.safetensors
    """
    from filters.extract.stages import STAGE_DIMS, Stages
    from pipeline.labels import labelled_embeddings, read_labels
    from training.heads.fit import fit_head
    from training.heads.problem import Shape

    staged = Stages.columns[0].name
    column = column or (staged if stages else "image_embedding")
    if stages and column != staged:
        raise ValueError(
            f"head: got --stages for {column}, expected {staged}, which is made of stages; leave "
            "one of the two options out"
        )
    _require_suffix(out, ".safetensors")
    known = read_labels(labels, target=target)
    found = labelled_embeddings(scores_of(Folder(folder)), known, column=column)
    shape = Shape(hidden=hidden, stage_dims=STAGE_DIMS if stages else ())
    head = fit_head(
        found.values, found.target_N, shape=shape, seed=seed,
        about={"column": column, "dim": str(found.values.shape[1])},
    )  # fmt: skip
    _write(out, head.to_bytes())
    typer.echo(
        f"{len(found.target_N)} labels, {found.lacking} of broken pairs left out; {head.task}"
    )
    for l2, loss in head.curve.items():
        typer.echo(f"  l2 {l2:<7g} loss {loss:.4f}{'  <- chosen' if l2 == head.l2 else ''}")
    typer.echo("held out: " + ", ".join(f"{k} {v:.3f}" for k, v in head.heldout.items()))
    if stages:
        shares = ", ".join(f"{share:.2f}" for share in head.stage_shares)
        typer.echo(f"weights of the stages, finest first: {shares}")
    typer.echo(f"{out}: put it into [[derive]] as file, with column = {column!r}")


@head_app.command("combine")
def head_combine(
    folder: RunFolder,
    labels: LabelFile,
    scores: Annotated[str, typer.Option(help="Score columns, separated by commas.")],
    out: Annotated[str, typer.Option(help="File to write, .json.")],
    target: Target = "label",
) -> None:
    """Fit non-negative weights of several scores; [[derive]] kind = "combine" applies them.

    Example: thresher head combine runs/demo --labels labels.parquet --scores nsfw,x --out mix.json
    """
    import numpy as np

    from filters.derive.combine import fit_mixture
    from pipeline.labels import labelled_scores, read_labels
    from training.heads.fit import task_of
    from training.heads.metrics import judge

    _require_suffix(out, ".json")
    names = [name.strip() for name in scores.split(",") if name.strip()]
    known = read_labels(labels, target=target)
    found = labelled_scores(scores_of(Folder(folder)), known, columns=names)
    mixture = fit_mixture(found.values, found.target_N, names=names)
    _write(out, mixture.to_json().encode())
    predicted = found.values @ np.array(list(mixture.weights.values())) + mixture.bias
    metrics = judge(task_of(found.target_N), predicted, found.target_N)
    typer.echo(f"{len(found.target_N)} labels, {found.lacking} without every score left out")
    for name, weight in mixture.weights.items():
        typer.echo(f"  {name} {weight:.4f}")
    typer.echo("on these labels: " + ", ".join(f"{k} {v:.3f}" for k, v in metrics.items()))


def _require_suffix(out: str, suffix: str) -> None:
    if not out.endswith(suffix):
        raise ValueError(f"--out: got {out}, expected a name that ends in {suffix}; rename it")


def _write(out: str, data: bytes) -> None:
    folder, name = split_url(out)
    folder.write(name, data)
