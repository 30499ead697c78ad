"""``napari-hrpn calibrate``: a prediction calibrated by a few regions in which the probe was imaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_hrpn.cli.evaluate import known_roles, open_prediction, read_rois, read_tissue
from napari_hrpn.cli.options import ChannelOptions, Classes, PlaneOptions, SlideArgument, opening
from napari_hrpn.cli.terminal import follow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis import Calibration
    from napari_hrpn.slides import ChannelRoles, RegionMask, Slide


def calibrate(
    slide: SlideArgument,
    predicted: Annotated[str, typer.Argument(metavar="PREDICTED", help="A prediction of that slide.")],
    roi: Annotated[
        Path,
        typer.Option(metavar="ROIS.geojson", help="Regions in which the probe was imaged, as from QuPath."),
    ],
    channels: ChannelOptions,
    plane: PlaneOptions,
    mask: Annotated[
        Path | None,
        typer.Option(metavar="M", help="Tissue as GeoJSON or label image; found from the nuclei if not given."),
    ] = None,
    class_: Classes = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier calibration of the prediction.")
    ] = False,
) -> None:
    """Calibrate a prediction by regions in which the probe was imaged: real = offset + slope x predicted.

    The probe channel of SLIDE is used in the regions only; three or more are needed that do not overlap and cover
    half of the prediction's range. The line is shrunk towards the prediction as it is, and refused unless regions
    that are left out are predicted better. It is written beside the prediction, as PREDICTED.calibration.json; neither
    the prediction nor the checkpoint is changed.

    \b
    Examples:
      napari-hrpn calibrate slide.ome.tif slide.predicted.ome.zarr --roi imaged.geojson
      napari-hrpn evaluate slide.ome.tif slide.predicted.ome.zarr --calibrated -o evaluation
    """  # noqa: D301
    from napari_hrpn.analysis import (
        ProbeImage,
        calibrate_prediction,
        calibration_facts,
        calibration_path,
        save_calibration,
    )
    from napari_hrpn.analysis.rois.calibration_file import check_uncalibrated
    from napari_hrpn.reports.request import check_on_slide
    from napari_hrpn.slides import as_location, open_slide, warn_of_parts_beyond
    from napari_hrpn.slides.writers.output_path import check_output

    path = calibration_path(as_location(predicted))
    if not overwrite:
        check_uncalibrated(path)
    real = open_slide(slide, **opening(plane))
    roles, probe = known_roles(real, channels)
    prediction = open_prediction(as_location(predicted), "", real, real.channel_names[probe])
    rois = read_rois(roi, class_ or ())
    check_on_slide(rois, real, roi.name)
    warn_of_parts_beyond(rois, real.shape, roi.name)
    check_output(path, None, overwrite=overwrite)
    images = ProbeImage("real", real, probe), prediction
    steps = calibrate_prediction(*images, rois, _tissue(real, roles, mask, class_ or ()))
    found = follow(steps, f"Calibrating {prediction.slide.source.name}")
    save_calibration(found, prediction.slide.source, overwrite=overwrite)
    if as_json:
        typer.echo(json.dumps(calibration_facts(found), indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{_words(found)}\ncalibration {path}")


def _tissue(slide: Slide, roles: ChannelRoles, mask: Path | None, classes: Sequence[str]) -> RegionMask | None:
    from napari_hrpn.analysis import tissue_mask

    if mask is not None:
        return read_tissue(mask, slide, classes, is_alone=False)
    return None if roles.nuclei is None else tissue_mask(slide, roles.nuclei)


def _words(found: Calibration) -> str:
    low, high = found.regions_range
    return (
        f"{found.line.words}\n{len(found.regions)} regions, {sum(found.pixels):,} px, predicted {low:.4g} to "
        f"{high:.4g}, {found.covered:.0%} of the range on the tissue"
    )
