"""`thresher pool`: embedded sources, hub data sets and own shards become a pool."""

from typing import Annotated

import typer

from pipeline.folder import Folder

pool_app = typer.Typer(no_args_is_help=True, help="Embedded pools as WebDataset shards.")


@pool_app.callback()
def group() -> None:
    """Keep `build` a subcommand though it is the only one."""


@pool_app.command()
def build(
    out: Annotated[str, typer.Option(help="Folder for pool/, heldout/ and pool.json.")],
    name: Annotated[str, typer.Argument(help="openclipart or tuxpaint.")] = "openclipart",
    limit: Annotated[int | None, typer.Option(help="Pairs in the pool.")] = None,
    source: Annotated[str, typer.Option("--from", help="hf:<dataset>, or own shards.")] = "",
    plant: Annotated[int | None, typer.Option(help="Seed of planted, labelled trouble.")] = None,
) -> None:
    """Turn an embedded source, a hub data set or your own shards into pool and held-out shards.

    Example: thresher pool build openclipart --out pool --limit 4000 --plant 0
    """
    from pipeline.pools.build import build_pool

    build_pool(source or name, out=Folder(out), limit=limit, plant=plant)
    print(Folder(out).read("pool.json").decode(), end="")
