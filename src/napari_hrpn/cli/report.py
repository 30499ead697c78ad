"""``napari-hrpn report``: evaluations of several slides as one cohort, a row per tumour."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from napari_hrpn.cli.options import OutputFolder, Overwrite


def report(
    evaluations: Annotated[
        list[Path], typer.Argument(metavar="EVALUATION_DIR...", help="Folders that `evaluate` has completed.")
    ],
    output: OutputFolder,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Combine evaluations of several slides: mean, SD and interval over tumours.

    Slides of one tumour (`evaluate --tumour`) are averaged first: the tumour is the unit. Predictions are matched by
    their names. Writes into DIR: cohort.html, cohort.json, tables/ and figures/.

    \b
    Examples:
      napari-hrpn report evaluations/* -o cohort
      napari-hrpn report T1 T2 T3 T4 T5 -o cohort
    """  # noqa: D301
    from napari_hrpn.reports import write_cohort

    written = write_cohort(evaluations, output, overwrite=overwrite)
    if as_json:
        facts = {"tumours": written.tumours, "page": str(written.page), "numbers": str(written.json)}
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    word = "tumour" if written.tumours == 1 else "tumours"
    typer.echo(f"{written.tumours} {word}: {written.page}\nnumbers     {written.json}")
