"""``napari-hrpn quality``: image quality of slides, before a prediction or a training."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_hrpn.cli.options import ChannelOptions, PlaneOptions, opening
from napari_hrpn.cli.terminal import CommandError, complain, follow, is_for_the_user

if TYPE_CHECKING:
    from napari_hrpn.analysis import SlideQuality


def quality(
    slides: Annotated[
        list[Path], typer.Argument(metavar="SLIDE...", help="Image files, OME-Zarrs, folders of stains.")
    ],
    channels: ChannelOptions,
    plane: PlaneOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences.")] = False,
) -> None:
    """Check slides before predicting or training.

    Checks for saturation, zeros, unused bits, a missing pixel size, shifted channels, cross-talk and seams. Only a
    part of each slide is read, which takes seconds for any size. Lines with ! name problems that should be solved
    first. The exit code is 0 whatever is found.

    \b
    Examples:
      napari-hrpn quality slide.ome.tif
      napari-hrpn quality *.ome.tif
      napari-hrpn quality scan.nd2 --nuclei 0 --vessels 2 --json | jq .findings
    """  # noqa: D301
    from napari_hrpn.analysis import slide_quality
    from napari_hrpn.reports import roles_around
    from napari_hrpn.reports.serialization import finite
    from napari_hrpn.slides import find_channel, open_slide

    records: list[object] = []
    failed = 0
    for path in slides:
        try:
            slide = open_slide(path, **opening(plane))
            roles = roles_around(slide, {role: find_channel(slide, name) for role, name in channels.items()})
            checked = follow(slide_quality(slide, roles), f"Checking {slide.source.name}")
        except Exception as error:
            if len(slides) == 1 or not is_for_the_user(error):
                raise
            complain(str(error))
            failed += 1
            continue
        if as_json:
            records.append(finite({"path": str(path), **asdict(checked)}))
        else:
            _print_findings(path, checked)
    if as_json:
        # one slide gives an object, as `info` does, several give a list
        typer.echo(json.dumps(records[0] if len(slides) == 1 else records, indent=2, ensure_ascii=False))
    if failed:
        msg = f"{failed} of {len(slides)} slides could not be checked; see the errors above."
        raise CommandError(msg)


def _print_findings(path: Path, checked: SlideQuality) -> None:
    important = sum(finding.matters for finding in checked.findings)
    verdict = f"{important} that matter{'s' if important == 1 else ''}" if important else "nothing that matters"
    typer.echo(f"{path}: {verdict}; {checked.pixels / 1e6:.1f} million pixels checked")
    for finding in checked.findings:
        typer.echo(f"  {'!' if finding.matters else '-'} {finding.sentence}")
    for sentence in checked.not_checked:
        typer.echo(f"  - {sentence}")
