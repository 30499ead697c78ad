"""``napari-hrpn info`` and ``cache``: facts about a slide, and the cached coarse levels of flat slides."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_hrpn.cli.models import card_facts
from napari_hrpn.cli.options import PlaneOptions, opening
from napari_hrpn.cli.terminal import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_hrpn.slides import Location, SeriesInfo, Slide


def info(
    plane: PlaneOptions,
    slide: Annotated[
        str | None,
        typer.Argument(metavar="SLIDE", help="An image file, an OME-Zarr or its address, or a folder of stains."),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKPOINT",
            help="Show the card of a file, or of a bundled checkpoint; with a slide, how far that is from the slides "
            "trained on.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show size, levels, channels with their roles, and pixel size of a slide; or the card of a checkpoint.

    \b
    Examples:
      napari-hrpn info slide.ome.tif
      napari-hrpn info --checkpoint run/checkpoint.safetensors
      napari-hrpn info slide.ome.tif --checkpoint run/checkpoint.safetensors
      napari-hrpn info scan.nd2 --series 1
      napari-hrpn info slide.ome.zarr --json | jq .channels
      napari-hrpn info https://host.org/slide.ome.zarr
    """  # noqa: D301
    from napari_hrpn.slides import list_series, open_slide

    if slide is None:
        if checkpoint is None:
            raise CommandError("there is nothing to show; expected a SLIDE, or --checkpoint CHECKPOINT.")
        _show_card(checkpoint, as_json=as_json)
        return
    opened = open_slide(slide, **opening(plane))
    facts = _slide_facts(opened, list_series(slide))
    if checkpoint is not None:
        facts["fit"] = _fit_facts(opened, checkpoint)
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        for name, value in _table(facts):
            typer.echo(f"{name + ':' if name else '':<13}{value}")


def _fit_facts(slide: Slide, name: str) -> dict[str, Any]:
    """How far a slide is from those that a checkpoint was trained on."""
    from napari_hrpn.inference import slide_fit
    from napari_hrpn.models import checkpoint_path, load_checkpoint

    return asdict(slide_fit(slide, load_checkpoint(checkpoint_path(name))))


def _show_card(name: str, *, as_json: bool) -> None:
    from napari_hrpn.models import checkpoint_path, load_checkpoint

    checkpoint = load_checkpoint(checkpoint_path(name))
    if as_json:
        typer.echo(json.dumps(card_facts(checkpoint), indent=2, ensure_ascii=False))
    else:
        typer.echo(checkpoint.card.summary())


def cache(clear: Annotated[bool, typer.Option("--clear", help="Delete the cache.")] = False) -> None:
    """Show path and size of the cache that holds the coarse levels of flat slides, or delete it.

    \b
    Examples:
      napari-hrpn cache
      napari-hrpn cache --clear
    """  # noqa: D301
    from napari_hrpn.slides import clear_pyramid_cache, pyramid_cache_bytes, pyramid_cache_folder

    folder = pyramid_cache_folder()
    count, freed = (clear_pyramid_cache(), "freed ") if clear else (pyramid_cache_bytes(), "")
    typer.echo(f"{freed}{count / 1e6:,.1f} MB in {folder}")


def _slide_facts(slide: Slide, series_list: tuple[SeriesInfo, ...]) -> dict[str, Any]:
    """Facts about a slide, as they are printed and as JSON has them."""
    from napari_hrpn.slides import contrast_limits, guess_roles

    finished = slide.finished
    # the red, green and blue of a photograph are no stains
    guessed = {} if slide.is_brightfield else vars(guess_roles(slide.channel_names))
    roles = {index: role for role, index in guessed.items()}
    return {
        "path": str(slide.source),
        "format": _format(slide.source),
        "series": slide.series,
        "shape": slide.shape,
        "levels": [level.shape[1:] for level in slide.levels],
        "stored_levels": slide.stored_levels,
        "channels": [
            {"index": index, "name": name, "role": roles.get(index), "contrast": contrast}
            for index, (name, contrast) in enumerate(zip(slide.channel_names, contrast_limits(slide), strict=True))
        ],
        "pixel_size_um": slide.pixel_size_um,
        "dtype": slide.dtype.name,
        "z": slide.z,
        "t": slide.t,
        # only a prediction that is not complete has them
        "tiles": None if finished is None else {"finished": finished.number, "total": finished.total},
        "is_brightfield": slide.is_brightfield,
        # the smallest read at full resolution: one chunk
        "read_bytes": math.prod(slide.levels[0].chunksize) * slide.dtype.itemsize,
        "series_list": [asdict(series) for series in series_list],
    }


def _format(path: Location) -> str:
    from napari_hrpn.slides.location import is_file

    if is_file(path / "zarr.json"):
        return "OME-Zarr 0.5"
    if not isinstance(path, Path) or (path / ".zattrs").is_file():
        return "OME-Zarr 0.4"
    if path.is_dir():
        return "folder of single-stain TIFFs"
    if path.suffix.lower() in (".tif", ".tiff", ".btf"):
        return "OME-TIFF" if path.stem.lower().endswith(".ome") else "TIFF"
    return path.suffix[1:].upper()


def _table(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    (height, width), size = facts["shape"], facts["pixel_size_um"]
    in_um = f" = {width * size[1]:,.0f} x {height * size[0]:,.0f} µm" if size else ""
    levels, computed = facts["levels"], len(facts["levels"]) - facts["stored_levels"]
    kinds = f"{facts['stored_levels']} stored" + (f", {computed} computed when read" if computed else "")
    yield "Slide", facts["path"]
    yield "Format", facts["format"]
    yield "Size", f"{width:,} x {height:,} px{in_um}"
    yield "Pixel size", _pixel_size(size)
    yield "Pixel type", facts["dtype"] + (" (colour photograph, not fluorescence)" if facts["is_brightfield"] else "")
    yield "Levels", f"{len(levels)} ({kinds}): {', '.join(f'{x} x {y}' for y, x in levels)}"
    yield "One read", f"{facts['read_bytes'] / 1e6:,.1f} MB of memory"
    if "fit" in facts:
        yield "Fit", facts["fit"]["sentence"]
    if facts["tiles"]:
        yield "Predicted", "{finished:,} of {total:,} tiles; not finished".format(**facts["tiles"])
    for name in ("z", "t"):
        if facts[name] is not None:
            yield name, str(facts[name])
    for channel in facts["channels"]:
        role = f"  {channel['role']}" if channel["role"] else ""
        low, high = channel["contrast"]
        heading = "" if channel["index"] else "Channels"
        yield heading, f"{channel['index']}  {channel['name']:<16}  contrast {low:.4g} to {high:.4g}{role}"
    if len(facts["series_list"]) > 1:
        for series in facts["series_list"]:
            yield "" if series["index"] else "Series", _series_line(series, facts["series"])


def _pixel_size(size: tuple[float, float] | None) -> str:
    if size is None:
        return "not stated in the file"
    return f"{size[0]:.4g} µm" if abs(size[0] / size[1] - 1) < 1e-3 else f"{size[1]:.4g} x {size[0]:.4g} µm"


def _series_line(series: dict[str, Any], shown: int) -> str:
    channels, height, width = series["shape"]
    line = f"{series['index']}  {series['name'] or 'unnamed':<16}  {width} x {height} px, {channels} channels"
    for count, noun in ((series["z_planes"], "planes"), (series["timepoints"], "time points")):
        line += f", {count} {noun}" if count > 1 else ""
    return line + (" (shown)" if series["index"] == shown else "")
