"""Where each slide's prediction goes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from napari_hrpn.cli.messages import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.slides import Location


def output_places(slides: Sequence[Location], output: Location) -> dict[Location, Location]:
    """Choose a place for the prediction of each slide."""
    from napari_hrpn.slides import slide_name
    from napari_hrpn.slides.location import check_writable

    check_writable(output)
    slides = _each_once(slides)
    if output.suffix.lower() == ".zarr":
        if len(slides) > 1:
            msg = f"{output} can hold the prediction of one slide but {len(slides)} are given; name a folder."
            raise CommandError(msg)
        return {slides[0]: output}
    if isinstance(output, Path) and output.is_file():
        msg = f"{output} is a file; name a folder, or for one slide a path that ends in .ome.zarr."
        raise CommandError(msg)
    places: dict[str, set[Location]] = defaultdict(set)
    for slide in slides:
        places[slide_name(slide)].add(slide)
    for stem, those in places.items():
        if len(those) > 1:
            names = " and ".join(sorted(map(str, those)))
            msg = f"{names} would both be written to {stem}.predicted.ome.zarr; predict them into two folders."
            raise CommandError(msg)
    return {slide: output / f"{slide_name(slide)}.predicted.ome.zarr" for slide in slides}


def _each_once(slides: Sequence[Location]) -> list[Location]:
    first_names: dict[Location, Location] = {}
    for slide in slides:
        # links of this machine are followed; to resolve an address would ask the network
        first_names.setdefault(slide.resolve() if isinstance(slide, Path) else slide, slide)
    return list(first_names.values())
