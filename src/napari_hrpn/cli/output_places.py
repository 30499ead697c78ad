"""Where each slide's prediction goes."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from napari_hrpn.cli.messages import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def output_places(slides: Sequence[Path], output: Path) -> dict[Path, Path]:
    """Choose a place for the prediction of each slide.

    Parameters
    ----------
    slides : sequence of pathlib.Path
        The inputs.
    output : pathlib.Path
        A folder, or for a single slide a path that ends in .zarr.

    Returns
    -------
    dict of pathlib.Path to pathlib.Path
        Prediction of each slide.

    Raises
    ------
    CommandError
        If two would go to one place, or `output` is no such thing.
    """
    from napari_hrpn.slides import slide_name

    slides = _each_once(slides)
    if output.suffix.lower() == ".zarr":
        if len(slides) > 1:
            msg = f"{output} can hold the prediction of one slide but {len(slides)} are given; name a folder."
            raise CommandError(msg)
        return {slides[0]: output}
    if output.is_file():
        msg = f"{output} is a file; name a folder, or for one slide a path that ends in .ome.zarr."
        raise CommandError(msg)
    places: dict[str, set[Path]] = defaultdict(set)
    for slide in slides:
        places[slide_name(slide)].add(slide)
    for stem, those in places.items():
        if len(those) > 1:
            names = " and ".join(sorted(map(str, those)))
            msg = f"{names} would both be written to {stem}.predicted.ome.zarr; predict them into two folders."
            raise CommandError(msg)
    return {slide: output / f"{slide_name(slide)}.predicted.ome.zarr" for slide in slides}


def _each_once(slides: Sequence[Path]) -> list[Path]:
    first_names: dict[Path, Path] = {}
    for slide in slides:
        first_names.setdefault(slide.resolve(), slide)
    return list(first_names.values())
