"""``napari-hrpn quality``: whether slides are fit to be predicted or learnt from."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_hrpn.cli.messages import CommandError, complain, is_for_the_user
from napari_hrpn.cli.plane_options import PixelSizeOption, SeriesOption, TOption, ZOption, opening
from napari_hrpn.cli.progress import Step, follow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_hrpn.analysis import SlideQuality
    from napari_hrpn.slides import ChannelRoles, Slide


def quality(
    slides: Annotated[
        list[Path], typer.Argument(metavar="SLIDE...", help="Image files, OME-Zarrs, folders of stains.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences.")] = False,
    nuclei: Annotated[
        str | None, typer.Option(metavar="NAME", help="Channel of the nuclei: its name or number.")
    ] = None,
    vessels: Annotated[str | None, typer.Option(metavar="NAME", help="Channel of the vessels.")] = None,
    probe: Annotated[str | None, typer.Option(metavar="NAME", help="Channel of the probe.")] = None,
    series: SeriesOption = None,
    z: ZOption = None,
    t: TOption = None,
    pixel_size: PixelSizeOption = None,
) -> None:
    """Check slides before predicting or training.

    Looks for saturation, zeros, bits that are not used, a missing pixel size, shifted channels, cross-talk and seams.
    A part of each slide is looked at, which takes seconds whatever its size. Lines with ! are worth doing something
    about first. The exit code is 0 whatever is found.

    \b
    Examples:
      napari-hrpn quality slide.ome.tif
      napari-hrpn quality *.ome.tif
      napari-hrpn quality scan.nd2 --nuclei 0 --vessels 2 --json | jq .findings
    """  # noqa: D301
    from napari_hrpn.slides import open_slide

    found: list[dict[str, Any]] = []
    failed = []
    for path in slides:
        try:
            slide = open_slide(path, **opening(series, z, t, pixel_size))
            roles = _roles(slide, nuclei, vessels, probe)
            checked = _checked(slide, roles)
        except Exception as error:
            if len(slides) == 1 or not is_for_the_user(error):
                raise
            complain(str(error))
            failed.append(path)
            continue
        if as_json:
            found.append(_quality_facts(path, checked))
        else:
            for line in _lines(path, checked):
                typer.echo(line)
    if as_json:
        # one slide gives an object, as `info` does, several give a list
        typer.echo(json.dumps(found[0] if len(slides) == 1 else found, indent=2, ensure_ascii=False))
    if failed:
        msg = f"{len(failed)} of {len(slides)} slides could not be checked; the reasons stand above."
        raise CommandError(msg)


def _quality_facts(path: Path, checked: SlideQuality) -> dict[str, Any]:
    """Collect what a quality check found."""
    return {name: _without_nan(value) for name, value in {"path": str(path), **asdict(checked)}.items()}


def _roles(slide: Slide, nuclei: str | None, vessels: str | None, probe: str | None) -> ChannelRoles:
    from napari_hrpn.slides import ChannelRoles, find_channel, guess_roles

    named = {
        role: find_channel(slide, name)
        for role, name in {"nuclei": nuclei, "vessels": vessels, "probe": probe}.items()
        if name is not None
    }
    guessed = vars(guess_roles(slide.channel_names))
    free = {role: index for role, index in guessed.items() if index not in named.values()}
    return ChannelRoles(**{**free, **named})


def _checked(slide: Slide, roles: ChannelRoles) -> SlideQuality:
    from napari_hrpn.analysis import slide_quality

    return follow(
        slide_quality(slide, roles),
        f"Checking {slide.source.name}",
        lambda report: Step(report.done, report.total, note=report.step),
    )


def _lines(path: Path, checked: SlideQuality) -> Iterator[str]:
    important = sum(finding.matters for finding in checked.findings)
    verdict = f"{important} that matter{'s' if important == 1 else ''}" if important else "nothing that matters"
    yield f"{path}: {verdict}; {checked.pixels / 1e6:.1f} million pixels looked at"
    for finding in checked.findings:
        yield f"  {'!' if finding.matters else '-'} {finding.sentence}"
    for sentence in checked.not_checked:
        yield f"  - {sentence}"


def _without_nan(value: object) -> object:
    """A value whose numbers JSON can hold."""
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
