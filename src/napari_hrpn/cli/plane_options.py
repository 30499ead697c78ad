"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

SeriesOption = Annotated[int, typer.Option("--series", metavar="N", help="Which image of a file with several.")]
ZOption = Annotated[
    int | None, typer.Option("--z", metavar="N", help="Which plane of a stack; the middle one if not given.")
]
TOption = Annotated[int | None, typer.Option("--t", metavar="N", help="Which point in time; the first if not given.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there already.")]
