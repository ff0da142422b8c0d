"""`thresher filters cuts`: where a run's bands should be cut."""

from typing import Annotated

import typer


def cuts(
    run: Annotated[str, typer.Argument(help="The folder of a run that has a subset.")],
    rule: Annotated[list[str] | None, typer.Option(help="A band to cut, repeatable.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="A new band's column.")] = None,
    labels: Annotated[str, typer.Option(help="Parquet with uid and label, 1 or 0.")] = "",
    bins: Annotated[int, typer.Option(min=2, help="Quantile bins of a column.")] = 64,
    write: Annotated[str, typer.Option(help="Write the rules to this file too.")] = "",
) -> None:
    """Cut points at which votes tell most, by the other rules or by labels, as [[rules]].

    Without --rule and --column all bands without a veto are cut. The run is left as it is: put the
    rules into a config, in the place of those of their names.

    Example: thresher filters cuts runs/demo --write cuts.toml
    """
    from pathlib import Path

    from pipeline.cuts.stored import Stored, fragment, tune, wanted
    from pipeline.folder import Folder

    stored = Stored.of(Folder(run), labels=labels)
    wants = wanted(stored, rules=rule or (), columns=column or ())
    text = fragment(wants, *tune(stored, wants, bins=bins))
    print(text, end="")
    if write:
        Path(write).write_text(text, encoding="utf-8")
