"""``napari-hrpn info``: what is in a slide, for people or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_hrpn.cli.plane_options import PixelSizeOption, SeriesOption, TOption, ZOption, opening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_hrpn.slides import Location, SeriesInfo, Slide


def info(
    slide: Annotated[
        str, typer.Argument(metavar="SLIDE", help="An image file, an OME-Zarr or its address, or a folder of stains.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    series: SeriesOption = None,
    z: ZOption = None,
    t: TOption = None,
    pixel_size: PixelSizeOption = None,
) -> None:
    """Show what is in a slide: size, levels, channels and their roles, pixel size.

    \b
    Examples:
      napari-hrpn info slide.ome.tif
      napari-hrpn info scan.nd2 --series 1
      napari-hrpn info slide.ome.zarr --json | jq .channels
      napari-hrpn info https://host.org/slide.ome.zarr
    """  # noqa: D301
    from napari_hrpn.slides import list_series, open_slide

    opened = open_slide(slide, **opening(series, z, t, pixel_size))
    found = _slide_facts(opened, list_series(slide))
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for name, value in _table(found):
            typer.echo(f"{name + ':' if name else '':<13}{value}")


def _slide_facts(slide: Slide, series_list: tuple[SeriesInfo, ...]) -> dict[str, Any]:
    """Collect what there is to say about a slide."""
    from napari_hrpn.slides import contrast_limits

    roles = _role_names(slide)
    return {
        "path": str(slide.source),
        "format": _format(slide.source),
        "series": slide.series,
        "shape": list(slide.shape),
        "levels": [list(level.shape[1:]) for level in slide.levels],
        "stored_levels": slide.stored_levels,
        "channels": [
            {"index": index, "name": name, "role": roles.get(index), "contrast": list(contrast)}
            for index, (name, contrast) in enumerate(zip(slide.channel_names, contrast_limits(slide), strict=True))
        ],
        "pixel_size_um": None if slide.pixel_size_um is None else list(slide.pixel_size_um),
        "dtype": slide.dtype.name,
        "z": slide.z,
        "t": slide.t,
        "is_brightfield": slide.is_brightfield,
        "read_bytes": _read_bytes(slide),
        "series_list": [_series_facts(one) for one in series_list],
    }


def _format(path: Location) -> str:
    from napari_hrpn.slides.location import is_file

    if is_file(path / "zarr.json"):
        return "OME-Zarr 0.5"
    if not isinstance(path, Path):
        return "OME-Zarr 0.4"
    if path.is_dir():
        return "OME-Zarr 0.4" if (path / ".zattrs").is_file() else "folder of single-stain TIFFs"
    name = path.name.lower()
    if name.endswith((".ome.tif", ".ome.tiff", ".ome.btf")):
        return "OME-TIFF"
    return {"tif": "TIFF", "tiff": "TIFF", "btf": "TIFF"}.get(name.rpartition(".")[2], path.suffix[1:].upper())


def _role_names(slide: Slide) -> dict[int, str]:
    from napari_hrpn.slides import guess_roles

    roles = {} if slide.is_brightfield else vars(guess_roles(slide.channel_names))
    return {index: role for role, index in roles.items() if index is not None}


def _read_bytes(slide: Slide) -> int:
    """Memory that the smallest read at full resolution takes: one chunk."""
    pixels = 1
    for chunks in slide.levels[0].chunks:
        pixels *= max(chunks)
    return int(pixels * slide.dtype.itemsize)


def _series_facts(series: SeriesInfo) -> dict[str, Any]:
    return {
        "index": series.index,
        "name": series.name,
        "shape": list(series.shape),
        "pixel_size_um": None if series.pixel_size_um is None else list(series.pixel_size_um),
        "z_planes": series.z_planes,
        "timepoints": series.timepoints,
    }


def _table(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    height, width = found["shape"]
    yield "Slide", found["path"]
    yield "Format", found["format"]
    yield "Size", f"{width:,} x {height:,} px{_size_um(found)}"
    yield "Pixel size", _pixel_size(found["pixel_size_um"])
    yield "Pixel type", found["dtype"] + (" (colour photograph, not fluorescence)" if found["is_brightfield"] else "")
    yield "Levels", _levels(found)
    yield "One read", f"{found['read_bytes'] / 1e6:,.1f} MB of memory"
    for name in ("z", "t"):
        if found[name] is not None:
            yield name, str(found[name])
    for channel in found["channels"]:
        role = f"  {channel['role']}" if channel["role"] else ""
        low, high = channel["contrast"]
        heading = "" if channel["index"] else "Channels"
        yield heading, f"{channel['index']}  {channel['name']:<16}  contrast {low:.4g} to {high:.4g}{role}"
    if len(found["series_list"]) > 1:
        for series in found["series_list"]:
            yield "" if series["index"] else "Series", _series_line(series, found["series"])


def _size_um(found: dict[str, Any]) -> str:
    if found["pixel_size_um"] is None:
        return ""
    size_y, size_x = found["pixel_size_um"]
    return f" = {found['shape'][1] * size_x:,.0f} x {found['shape'][0] * size_y:,.0f} µm"


def _pixel_size(size: list[float] | None) -> str:
    if size is None:
        return "not said by the file"
    return f"{size[0]:.4g} µm" if abs(size[0] / size[1] - 1) < 1e-3 else f"{size[1]:.4g} x {size[0]:.4g} µm"


def _levels(found: dict[str, Any]) -> str:
    sizes = ", ".join(f"{width} x {height}" for height, width in found["levels"])
    computed = len(found["levels"]) - found["stored_levels"]
    words = f"{found['stored_levels']} stored" + (f", {computed} computed when read" if computed else "")
    return f"{len(found['levels'])} ({words}): {sizes}"


def _series_line(series: dict[str, Any], shown: int) -> str:
    channels, height, width = series["shape"]
    words = f"{series['index']}  {series['name'] or 'unnamed':<16}  {width} x {height} px, {channels} channels"
    words += f", {series['z_planes']} planes" if series["z_planes"] > 1 else ""
    words += f", {series['timepoints']} time points" if series["timepoints"] > 1 else ""
    return words + (" (shown)" if series["index"] == shown else "")
