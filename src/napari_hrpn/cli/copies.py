"""Places of predictions, and their copies for other programs (``napari-hrpn predict --copy``)."""

from __future__ import annotations

import mimetypes
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from napari_hrpn.cli.convert import check_slide_name, write_slide
from napari_hrpn.cli.terminal import CommandError
from napari_hrpn.core.errors import PredictionWarning
from napari_hrpn.core.plain_text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_hrpn.slides import Location, Slide

_ENDINGS = (".zarr", ".tif", ".tiff")


def output_places(
    slides: Sequence[Location], output: Location, endings: Sequence[str] = (".zarr",)
) -> dict[Location, Location]:
    """Path or address of each slide's prediction, by slide; `endings` are those of an output of one slide."""
    from napari_hrpn.recipes import predicted_place
    from napari_hrpn.slides import slide_name
    from napari_hrpn.slides.location import check_writable

    check_writable(output)
    # a slide that is named twice is predicted once; links are followed for paths, not for addresses
    distinct: dict[Location, Location] = {}
    for slide in slides:
        distinct.setdefault(slide.resolve() if isinstance(slide, Path) else slide, slide)
    slides = list(distinct.values())
    if output.suffix.lower() in endings:
        if len(slides) > 1:
            msg = f"{output} can hold the prediction of one slide but {len(slides)} are given; name a folder."
            raise CommandError(msg)
        return {slides[0]: output}
    _check_folder(output, endings)
    # some file systems do not distinguish upper and lower case
    stem, count = Counter(slide_name(slide).casefold() for slide in slides).most_common(1)[0]
    if count > 1:
        alike = sorted((slide for slide in slides if slide_name(slide).casefold() == stem), key=str)
        case = ", as upper and lower case are the same on some systems" * (len(set(map(slide_name, alike))) > 1)
        names, name = " and ".join(map(str, alike)), slide_name(alike[0])
        msg = f"{names} would both be written to {name}.predicted.ome.zarr{case}; predict them into two folders."
        raise CommandError(msg)
    return {slide: predicted_place(slide, output) for slide in slides}


def _check_folder(output: Location, endings: Sequence[str]) -> None:
    """Refuse a file, and a new folder with the name of an image, which is not what the user wants."""
    from napari_hrpn.slides.formats import FILE_SUFFIXES

    if isinstance(output, Path) and output.is_dir():
        return
    is_image = (mimetypes.guess_type(output.name)[0] or "").startswith("image/")
    is_file = isinstance(output, Path) and output.is_file()
    if is_file or is_image or output.suffix.lower() in FILE_SUFFIXES:
        what = "is a file" if is_file else "is the name of an image that cannot be written here"
        names = " or ".join(f".ome{ending}" for ending in endings[:2])
        msg = f"{output} {what}; name a folder, or for one slide a path that ends in {names}."
        raise CommandError(msg)


def copy_places(
    stores: Mapping[Location, Location], place: str | None, ome_zarr: str | None, *, overwrite: bool
) -> dict[Location, Path]:
    """Path of each copy that is to be written, by slide; what cannot be written later is refused."""
    from napari_hrpn.slides import local_path
    from napari_hrpn.slides.writers.output_path import check_output

    if place is None and ome_zarr is not None:
        msg = "--ome-zarr is about copies, since predictions themselves are 0.5; give it together with --copy."
        raise CommandError(msg)
    if place is None:
        return {}
    places = output_places(list(stores), local_path(place), _ENDINGS)
    copies = {slide: copy for slide, copy in places.items() if isinstance(copy, Path)}
    for slide, copy in copies.items():
        store = stores[slide]
        if isinstance(store, Path) and copy.resolve() == store.resolve():
            msg = f"{copy} is the prediction itself; give --copy another place."
            raise CommandError(msg)
        check_slide_name(copy, ome_zarr)
        for source in (*stores, store):
            check_output(copy, source, overwrite=True)
    there = {slide for slide, copy in copies.items() if copy.exists() and not overwrite}
    for slide in there:
        if not _is_copy(copies[slide], stores[slide], ome_zarr):
            msg = f"{copies[slide]} exists already and is no copy of {stores[slide]} as it is now; choose another place"
            raise CommandError(f"{msg} for --copy, or --overwrite it.")
    return {slide: copy for slide, copy in copies.items() if slide not in there}


def _is_copy(copy: Path, store: Location, ome_zarr: str | None) -> bool:
    """Whether a file holds what would be written: all pixels, names and pixel size of a complete prediction."""
    from napari_hrpn.slides import SlideError, SlideWarning, open_slide, prediction_record
    from napari_hrpn.slides.metadata import OLDER_VERSION
    from napari_hrpn.slides.zarr_arrays import read_metadata

    record = prediction_record(store)
    if record is None or not record.complete:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SlideWarning)
        try:
            is_older = copy.suffix.lower() == ".zarr" and read_metadata(copy / "zarr.json") is None
            found, expected = open_slide(copy), open_slide(store)
            if is_older != (ome_zarr == OLDER_VERSION):
                return False
            return _facts(found) == _facts(expected) and bool((found.levels[0] == expected.levels[0]).all().compute())
        except SlideError:
            return False


def _facts(slide: Slide) -> tuple[object, ...]:
    return slide.levels[0].shape, slide.dtype, [*map(printable, slide.channel_names)], slide.pixel_size_um


def write_copies(
    stores: Mapping[Location, Location],
    copies: Mapping[Location, Path],
    rows: Sequence[dict[str, Any]],
    ome_zarr: str | None,
    *,
    overwrite: bool,
    is_quiet: bool,
) -> None:
    """Write the copies of predictions that are complete."""
    from napari_hrpn.slides import open_slide

    complete = {row["slide"] for row in rows if row["complete"]}
    failed = {row["slide"] for row in rows if row["error"]}
    for slide, copy in copies.items():
        if str(slide) in failed:
            continue
        if str(slide) not in complete:
            warnings.warn(f"The prediction of {slide.name} is not complete, so it is not copied.", PredictionWarning, 2)
            continue
        written = write_slide(open_slide(stores[slide]), copy, overwrite=overwrite, ome_zarr=ome_zarr)
        if not is_quiet:
            typer.echo(f"wrote {written}")
